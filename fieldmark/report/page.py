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
    drawings: Sequence[Drawing],
    provenance: Provenance,
    gate: Gate | None,
    meanings: Mapping[str, str],
    about: Mapping[str, About] | None = None,
    compared: Sequence[pictures.Picture] = (),
    said: Sequence[str] = (),
    comparisons: Comparisons | None = None,
    strips: Sequence[Strip] = (),
    failures: Mapping[str, pictures.Failures] | None = None,
) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        title: its heading.
        rows: the leaderboard; what is unknown is NaN or None.
        models: what each model is, in one sentence, in the order to show them.
        level: of the intervals, such as 0.95.
        claims: the ledger, from ``claims.ledger``.
        groups: accuracy per model and group: ``{"model", "group", "mean", "low", "high", "n"}``.
        gallery: example pictures, in the order to show them.
        drawings: the plots, from ``plots.drawings``.
        provenance: where the numbers come from.
        gate: the newest decisions; None if there was none yet.
        meanings: metric -> the sentence that says what it measures.
        about: kind, supervision and cost of every model, where known.
        compared: what every model makes of the same few examples.
        said: of an audit, the findings in sentences; they stand in place of champion, claims and gate.
        comparisons: every model against the baseline; None if there are none.
        strips: the same objects on other backgrounds, and what every model says of them.
        failures: how each model fails.
    """
    order, about = list(models), about or {}
    meanings = {**leaderboard.MEANINGS, **meanings}
    shown = leaderboard.metrics(rows)
    html = template("report.html", found=found, photos=photos, variant=heading).render(
        title=title,
        verdict=verdict(gate),
        said=said,
        models=models,
        level=f"{level * 100:g} %",
        chance_of_error=1 - level,
        order=order,
        about=about,
        costs=tables.costs(about, order),
        sections=sections(order, about),
        panels=panels(order, about),
        ends=any(one.end for one in about.values()),
        families=FAMILIES,
        headline=leaderboard.headline(rows),
        measures=[tables.measure(rows, order, metric, meanings) for metric in shown],
        claims=claims,
        papers=by_paper(claims),
        groups=tables.groups(groups),
        group_names=list(dict.fromkeys(row["group"] for row in groups)),
        gallery={model: [picture for picture in gallery if picture.model == model] for model in order},
        compared={model: [picture for picture in compared if picture.model == model] for model in order},
        drawings=drawings,
        strips=strips,
        failures=failures or {},
        provenance=provenance,
        comparisons=comparisons,
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
