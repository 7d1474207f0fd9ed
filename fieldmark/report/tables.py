"""What the page's tables say, line by line."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fieldmark.report import leaderboard
from fieldmark.report.about import About, count, relative
from fieldmark.report.leaderboard import Row
from fieldmark.report.strips import gone, heading

GROUP_MEANS = ("acc_trainprior", "acc_groupmean")  # means over groups of the pictures as they are, no variant


def measure(rows: Sequence[Row], order: Sequence[str], metric: str, meanings: Mapping[str, str]) -> dict[str, Any]:
    """Return all there is to say of one metric: a line of the big table."""
    cells = {model: leaderboard.find(rows, model, metric) for model in order}
    known = {model: row for model, row in cells.items() if row and leaderboard.figure(row["mean"]) != "unknown"}
    direction = _direction(metric, next(row for row in rows if row["metric"] == metric)["higher_is_better"])
    pick = {"higher is better": max, "lower is better": min}.get(direction)
    best = pick((row["mean"] for row in known.values()), default=None) if pick else None
    chances = {leaderboard.figure(row["chance"]) for row in cells.values() if row}
    variant = metric.removeprefix("acc_") if metric.startswith("acc_") and metric not in GROUP_MEANS else ""
    return {
        "metric": metric,
        "meaning": meanings.get(metric, ""),
        "direction": direction,
        "ideal": {"higher is better": "1", "lower is better": "0"}.get(direction, "none"),
        "best": best,
        "leaders": [model for model, row in known.items() if row["mean"] == best],
        "chance": chances.pop() if len(chances) == 1 else "by model",  # its own random ranking, in deletion
        "cells": cells,
        "measured": [model for model, row in cells.items() if row],
        "examples": max((row["n"] for row in known.values()), default=0),
        "variant": heading(variant) if variant else "",
        "gone": gone(variant),
    }


def _direction(metric: str, higher_is_better: bool | None) -> str:
    if metric in leaderboard.UNRANKED:
        return leaderboard.UNRANKED[metric]
    if higher_is_better is None:
        return "neither is better"
    return "higher is better" if higher_is_better else "lower is better"


def groups(rows: Iterable[Row]) -> dict[str, dict[str, Row]]:
    """Return model -> group -> row, in the order they come."""
    table: dict[str, dict[str, Row]] = {}
    for row in rows:
        table.setdefault(row["model"], {})[row["group"]] = row
    return table


class Cost(NamedTuple):
    """A cell of a column of costs."""

    value: float | None  # to sort by
    own: str
    times: str  # the plain network's


def costs(about: Mapping[str, About], order: Sequence[str]) -> dict[str, dict[str, Cost]]:
    """Return column -> model -> cost; columns of which nothing is known are left out.

    >>> about = {"erm": About("", "", {"macs": 2e8}), "zoom": About("", "", {"macs": 5e8})}
    >>> costs(about, ["erm", "zoom"])["multiply-adds"]["zoom"]
    Cost(value=500000000.0, own='500 M', times='2.50 ×')
    """
    columns = {
        "parameters": ("parameters", True),
        "multiply-adds": ("macs", True),
        "answers a second": ("answering", False),  # seconds are a machine's own
        "trained a second": ("learning", False),
    }
    told = {
        name: {model: _cost(about, model, what, absolute) for model in order}
        for name, (what, absolute) in columns.items()
    }
    return {name: cells for name, cells in told.items() if any(cell.value is not None for cell in cells.values())}


def _cost(about: Mapping[str, About], model: str, what: str, absolute: bool) -> Cost:
    times = relative(about, model, what)
    own = about[model].cost.get(what) if model in about else None
    return Cost(own, count(own) if absolute else "", "" if times is None else f"{times:.2f} ×")
