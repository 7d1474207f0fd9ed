"""Why a model is what it is, on one screen: its numbers beside others', what the gate said, data and code."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from fieldmark.tracking import ledger
from fieldmark.tracking.registry import CHAMPION, Version


class Card(TypedDict):
    """What ``register`` writes beside a model for people."""

    about: str  # one sentence
    data: str  # one sentence
    commit: str
    models: list[str]  # this one first, then the baseline and the controls
    metrics: list[str]  # the headline ones, in order
    rows: list[dict[str, Any]]  # of the leaderboard: model, metric, mean, low, high, ...


def render(version: Version, card: Card, decisions: Sequence[Mapping[str, Any]]) -> str:
    """Return the story of a version as text.

    Args:
        version: as resolved.
        card: as written by ``register``.
        decisions: the ledger; the last one about this version counts.
    """
    aliases = f" ({', '.join(version.aliases)})" if version.aliases else ""
    about = [one for one in decisions if (one["model"], one["challenger"]) == (version.name, version.version)]
    mind = ledger.astray(decisions, version.name, version.version) if CHAMPION in version.aliases else []
    return "\n".join(
        [
            f"{version.name} {version.version}{aliases}",
            f"  what     {card['about']}",
            f"  data     {card['data']}",
            f"  code     commit {card['commit']}",
            f"  run      {version.run_id}",
            *(_gate(about[-1]) if about else ["  gate     never judged"]),
            *(f"  MIND     {problem}" for problem in mind),
            "",
            *_table(card),
        ]
    )


def _gate(decision: Mapping[str, Any]) -> list[str]:
    against = f"against version {decision['champion']}" if decision["champion"] else "no champion before it"
    return [f"  gate     {decision['verdict']}, {against}, {decision['time']}", *map(_reason, decision["reasons"])]


def _reason(one: Mapping[str, Any]) -> str:
    mark = "yes" if one["passed"] else "no "
    return f"             {mark} {one['check']}: {_found(one['found'])} (needed: {one['needed']})"


def _found(found: Any) -> str:
    return _interval(found) if isinstance(found, Mapping) else str(found)


def _table(card: Card) -> list[str]:
    cells = {(row["model"], row["metric"]): _interval(row) for row in card["rows"]}
    lines = [
        ["", *card["metrics"]],
        *([model, *(cells.get((model, metric), "unknown") for metric in card["metrics"])] for model in card["models"]),
    ]
    widths = [max(map(len, column)) + 2 for column in zip(*lines, strict=True)]
    return [
        "  " + "".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    ]


def _interval(row: Mapping[str, Any]) -> str:
    """Return ``0.912 [0.880, 0.931]``; null is unknown.

    >>> _interval({"mean": 0.5, "low": None, "high": 0.75})
    '0.500 [unknown, 0.750]'
    """
    mean, low, high = ("unknown" if row[key] is None else f"{row[key]:.3f}" for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"
