"""The report as one file of HTML: nothing is loaded from anywhere, and equal results give equal bytes."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fieldmark.core.store import atomic
from fieldmark.report import leaderboard, pictures, plots
from fieldmark.report._canvas import Drawing
from fieldmark.report.claims import evidence, tally
from fieldmark.report.leaderboard import Row


class Gate(NamedTuple):
    """Who is champion and how it came to be: the newest decisions of the gate."""

    champion: str
    decisions: Sequence[Mapping[str, Any]]  # {"challenger", "champion", "verdict", "reasons"}, of tracking's gate


class Provenance(NamedTuple):
    """Where the numbers come from."""

    facts: Mapping[str, str]  # of everything: git commit, sha256 of dvc.lock, of the source index, ...
    cells: Sequence[Mapping[str, str]]  # a line per cell, the same keys in each: cell, run, outputs, ...


def write(
    path: Path,
    *,
    title: str,
    rows: Sequence[Row],
    models: Mapping[str, str],
    level: float,
    claims: Sequence[Mapping[str, Any]],
    groups: Sequence[Row],
    gallery: Sequence[pictures.Picture],
    curves: Sequence[plots.Curve],
    provenance: Provenance,
    gate: Gate | None,
    meanings: Mapping[str, str],
) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        title: its heading.
        rows: the leaderboard; what is unknown is NaN or None.
        models: what each model is, in one sentence, in the order to show them.
        level: of the intervals, such as 0.95.
        claims: the ledger, from ``claims.judged``.
        groups: accuracy per model and group: ``{"model", "group", "mean", "low", "high", "n"}``.
        gallery: example pictures, in the order to show them.
        curves: training curves.
        provenance: where the numbers come from.
        gate: the newest decisions; None if there was none yet.
        meanings: metric -> the sentence that says what it measures.
    """
    order = list(models)
    html = _template().render(
        title=title,
        verdict=verdict(gate),
        models=models,
        level=f"{level * 100:g} %",
        order=order,
        headline=[metric for metric in leaderboard.HEADLINE if metric in leaderboard.metrics(rows)],
        measures=[_measure(rows, order, metric, meanings) for metric in leaderboard.metrics(rows)],
        claims=claims,
        groups=_groups(groups),
        gallery={model: [p for p in gallery if p.model == model] for model in order},
        drawings=plots.drawings(rows, order, curves),
        provenance=provenance,
        gate=gate,
    )
    with atomic(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def verdict(gate: Gate | None) -> str:
    """Return who is champion and why, in one sentence.

    >>> verdict(None)
    'No champion yet: nothing has been put before the gate.'
    """
    if gate is None:
        return "No champion yet: nothing has been put before the gate."
    judged = [_judged(decision) for decision in gate.decisions]
    return f"The champion is {gate.champion}{': ' if judged else ''}{'; '.join(judged)}."


def _judged(decision: Mapping[str, Any]) -> str:
    """Say what became of one challenger, and the check that settled it: the last one passed, or all that failed."""
    reasons, challenger, champion = decision["reasons"], decision["challenger"], decision["champion"]
    failed = [reason for reason in reasons if not reason["passed"]]
    settled = ", ".join(f"{reason['check']}: {found(reason['found'])}" for reason in failed or reasons[-1:])
    settled = settled.replace("challenger minus champion", f"{challenger} minus {champion}")  # a difference needs names
    outcome = {"promote": "was promoted", "keep": "was turned down"}.get(decision["verdict"], "stays a challenger")
    why = f"{decision['verdict']}: " if outcome == "stays a challenger" else ""
    return f"{challenger} {outcome} ({why}{settled})"


def found(value: Any) -> str:
    """Return what a check found as text; an interval is a dict of mean, low and high.

    >>> found({"mean": 0.04, "low": 0.01, "high": 0.07}), found(120)
    ('0.040 [0.010, 0.070]', '120')
    """
    return leaderboard.interval(value) if isinstance(value, dict) else str(value)


def _measure(rows: Sequence[Row], order: Sequence[str], metric: str, meanings: Mapping[str, str]) -> dict[str, Any]:
    """Return all there is to say of one metric: a line of the big table."""
    cells = {model: leaderboard.find(rows, model, metric) for model in order}
    known = [row for row in cells.values() if row and leaderboard.figure(row["mean"]) != "unknown"]
    higher = next(row for row in rows if row["metric"] == metric)["higher_is_better"]
    best = (max if higher else min)((row["mean"] for row in known), default=None)
    chances = {leaderboard.figure(row["chance"]) for row in cells.values() if row}
    return {
        "metric": metric,
        "meaning": meanings.get(metric, ""),
        "direction": leaderboard.UNRANKED.get(metric, "higher is better" if higher else "lower is better"),
        "best": None if metric in leaderboard.UNRANKED else best,
        "chance": chances.pop() if len(chances) == 1 else "by model",  # its own random ranking, in deletion
        "cells": cells,
        "examples": max((row["n"] for row in known), default=0),
    }


def _groups(groups: Sequence[Row]) -> dict[str, dict[str, Row]]:
    """Return group -> model -> row, in the order they come."""
    table: dict[str, dict[str, Row]] = {}
    for row in groups:
        table.setdefault(row["group"], {})[row["model"]] = row
    return table


def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("fieldmark.report"),
        autoescape=True,
        undefined=StrictUndefined,  # a misspelt name is an error, not a gap in the page
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        figure=leaderboard.figure,
        interval=leaderboard.interval,
        title=leaderboard.title,
        evidence=evidence,
        tally=tally,
        found=found,
        source=_source,
        photo=pictures.photo,
        seen=pictures.seen,
    )
    return environment.get_template("report.html")


def _source(drawing: Drawing) -> str:
    """Return an SVG as a data URI: as a picture of its own, so that ids of two plots can't meet."""
    return "data:image/svg+xml;base64," + base64.b64encode(drawing.svg.encode()).decode()
