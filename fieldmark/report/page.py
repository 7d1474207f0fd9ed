"""The report as one file of HTML: nothing is loaded from anywhere, and equal results give equal bytes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fieldmark.core.store import atomic
from fieldmark.report import leaderboard, pictures, tables
from fieldmark.report._canvas import Drawing
from fieldmark.report._template import template
from fieldmark.report.about import FAMILIES, About, panels, sections
from fieldmark.report.claims import by_paper
from fieldmark.report.leaderboard import Row
from fieldmark.report.strips import Strip, heading, photos


class Gate(NamedTuple):
    """Who is champion and how it came to be: the newest decisions of the gate."""

    champion: str
    decisions: Sequence[Mapping[str, Any]]  # {"challenger", "champion", "verdict", "reasons"}, of tracking's gate


class Comparisons(NamedTuple):
    """Every model against the baseline, tested; and what these tests could have seen."""

    rows: Sequence[Row]  # of data/report/comparisons.json
    notes: Sequence[str]  # sentences


class Provenance(NamedTuple):
    """Where the numbers come from."""

    facts: Mapping[str, str]  # of everything: git commit, sha256 of dvc.lock, of the source index, ...
    cells: Sequence[Mapping[str, str]]  # a line per cell, the same keys in each: cell, run, outputs, ...


class Content(NamedTuple):
    """What a page shows."""

    title: str  # its heading
    rows: Sequence[Row]  # the leaderboard; what is unknown is NaN or None
    models: Mapping[str, str]  # what each model is, in one sentence, in the order to show them
    level: float  # of the intervals, such as 0.95
    claims: Sequence[Mapping[str, Any]]  # the ledger, from ``claims.ledger``
    groups: Sequence[Row]  # accuracy per model and group: {"model", "group", "mean", "low", "high", "n"}
    gallery: Sequence[pictures.Picture]  # examples, in the order to show them
    drawings: Sequence[Drawing]  # the plots, from ``plots.drawings``
    provenance: Provenance
    gate: Gate | None  # None if it decided nothing yet
    meanings: Mapping[str, str]  # metric -> the sentence that says what it measures
    about: Mapping[str, About] = {}  # kind, supervision and cost of every model, where known
    compared: Sequence[pictures.Picture] = ()  # what every model makes of the same few examples
    said: Sequence[str] = ()  # the findings of an audit, in sentences: they stand in place of champion, claims and gate
    comparisons: Comparisons | None = None
    strips: Sequence[Strip] = ()  # the same objects on other backgrounds, and what every model says of them
    failures: Mapping[str, pictures.Failures] = {}  # how each model fails


def write(path: Path, content: Content) -> None:
    """Write the page to an HTML file, whole or not at all."""
    html = template("report.html", found=found, photos=photos, variant=heading).render(**_named(content))
    with atomic(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def _named(content: Content) -> dict[str, Any]:
    """Return all that the template names: the content, and what follows from it."""
    order, rows, about = list(content.models), content.rows, content.about
    meanings = {**leaderboard.MEANINGS, **content.meanings}
    return content._asdict() | {
        "verdict": verdict(content.gate),
        "level": f"{content.level * 100:g} %",
        "chance_of_error": 1 - content.level,
        "order": order,
        "costs": tables.costs(about, order),
        "sections": sections(order, about),
        "panels": panels(order, about),
        "ends": any(one.end for one in about.values()),
        "families": FAMILIES,
        "headline": leaderboard.headline(rows),
        "measures": [tables.measure(rows, order, metric, meanings) for metric in leaderboard.metrics(rows)],
        "papers": by_paper(content.claims),
        "groups": tables.groups(content.groups),
        "group_names": list(dict.fromkeys(row["group"] for row in content.groups)),
        "gallery": _by_model(content.gallery, order),
        "compared": _by_model(content.compared, order),
    }


def _by_model(shown: Sequence[pictures.Picture], order: Sequence[str]) -> dict[str, list[pictures.Picture]]:
    return {model: [picture for picture in shown if picture.model == model] for model in order}


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
    """Say what became of one challenger, and what settled it: how much better it is, or all checks that failed."""
    reasons, challenger, champion = decision["reasons"], decision["challenger"], decision["champion"]
    failed = [reason for reason in reasons if not reason["passed"]]
    better = [reason for reason in reasons if "challenger minus champion" in reason["check"]]
    settled = ", ".join(f"{reason['check']}: {found(reason['found'])}" for reason in failed or better or reasons[-1:])
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
