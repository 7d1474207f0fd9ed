"""The claim ledger: sentences that the numbers may contradict, each with the difference that decides it.

The sentences themselves stand in ``claimed/``, a file for each paper.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

from fieldmark.core.contracts import Interval
from fieldmark.report._claim import Claim, Key, Side, candidates, needed
from fieldmark.report.claimed import amt, anchornet, benchmark, ersm, ifam, two_stage, two_stage_causes
from fieldmark.report.leaderboard import figure, title
from fieldmark.report.verdicts import INCONCLUSIVE, NOT_RUN, PARTLY, REFUTED, SUPPORTED, Bar, verdict

#: Paired by seed and source; decided on the test part.
PAPERS: dict[str, tuple[Claim, ...]] = {
    "The benchmark": benchmark.CLAIMS,
    "Looking twice": two_stage.CLAIMS + two_stage_causes.CLAIMS,
    "Energy-regularised spatial masking": ersm.CLAIMS,
    "Attention masks and their transformation": amt.CLAIMS,
    "AnchorNet": anchornet.CLAIMS,
    "iFAM": ifam.CLAIMS,
}
CLAIMS = tuple(claim for claims in PAPERS.values() for claim in claims)


class Results(Protocol):
    """What the ledger asks of the results."""

    @property
    def observed(self) -> Collection[Key]:
        """What was measured."""

    def row(self, key: Key) -> Mapping[str, Any]:
        """Return an estimate: ``{"mean": ...}``."""

    def difference(self, plus: Key, minus: Key | None) -> Interval:
        """Return plus minus minus, paired; or plus alone."""

    def share_of_gap(self, key: Key, low: Key, high: Key, *, here: bool) -> Interval:
        """Return the share of the way from ``low`` to ``high`` that ``key`` comes; ``here``: on these sources alone."""


def ledger(results: Results, claims: Sequence[Claim] = CLAIMS) -> list[dict[str, Any]]:
    """Return every claim with its verdict; one whose models were not run says which are missing."""
    return [entry(claim, results) for claim in claims]


def entry(claim: Claim, results: Results) -> dict[str, Any]:
    """Return one claim as it goes into the ledger."""
    missing = [key for key in needed(claim) if key not in results.observed]
    if missing:
        return unjudged(claim, missing)
    keys = [_chosen(side, results) for side in claim.sides()]
    if claim.full:
        found = results.share_of_gap(keys[0], keys[1], keys[2], here=claim.here)
    else:
        found = results.difference(keys[0], keys[1] if claim.minus else None)
    return judged(claim, found, [model for model, _, _ in keys])


def _chosen(side: Side, results: Results) -> Key:
    """Return the side on the test part; of several models the best on validation, the first of equals."""
    metric = side[1]
    best = max(candidates(side), key=lambda model: _order(results, (model, metric, "val")), default="")
    return best, metric, "test"


def _order(results: Results, key: Key) -> float:
    if key not in results.observed:
        return 0.0  # the only candidate: there is nothing to choose
    mean = results.row(key)["mean"]
    return -math.inf if math.isnan(mean) else float(mean)


def judged(claim: Claim, found: Interval, models: Sequence[str] = ()) -> dict[str, Any]:
    """Return a claim with its verdict, as it goes into the ledger; ``models``: those chosen, one for each side."""
    models = models or [candidates(side)[0] for side in claim.sides()]
    bar = Bar(claim.threshold, claim.floor, claim.at_most)
    return {
        **_said(claim),
        "models": list(models),
        "compared": _compared(claim, models),
        "difference": {"mean": found.mean, "low": found.low, "high": found.high},
        "threshold": claim.threshold,
        "wanted": str(bar),
        "verdict": verdict(found, *bar),
        "needs": [],
    }


def unjudged(claim: Claim, missing: Sequence[Key]) -> dict[str, Any]:
    """Return a claim that these numbers can't decide, with what it would take."""
    return {
        **_said(claim),
        "models": list(dict.fromkeys(model for side in claim.sides() for model in candidates(side))),
        "compared": "",
        "difference": None,
        "threshold": claim.threshold,
        "wanted": str(Bar(claim.threshold, claim.floor, claim.at_most)),
        "verdict": NOT_RUN,
        "needs": list(_needs(missing)),
    }


def _said(claim: Claim) -> dict[str, str]:
    paper = next((paper for paper, claims in PAPERS.items() if claim in claims), "")
    told = {"name": claim.name, "claim": claim.claim, "source": claim.source, "about": claim.about}
    return {"paper": paper, **told, "metric": claim.plus[1]}


def _needs(missing: Sequence[Key]) -> Iterator[str]:
    for model, metric, part in missing:
        yield f"{metric} of {model}" + (" on validation" if part == "val" else "")


def _compared(claim: Claim, models: Sequence[str]) -> str:
    """Say what was computed."""
    names = [f"{title(side[1])} of {model}" for model, side in zip(models, claim.sides(), strict=True)]
    if claim.full:
        where = ", on these sources" if claim.here else ""
        return f"{names[0]}: share of the way from {models[1]} to {models[2]}{where}"
    chosen = [model for model, side in zip(models, claim.sides(), strict=True) if len(candidates(side)) > 1]
    return " minus ".join(names) + (f" ({', '.join(chosen)}: best on validation)" if chosen else "")


def tally(ledger: Sequence[Mapping[str, Any]], about: str) -> str:
    """Return how the claims about something fared, in a few words.

    >>> tally([{"about": "method", "verdict": v} for v in (SUPPORTED, INCONCLUSIVE, SUPPORTED, NOT_RUN)], "method")
    '2 of 3 claims supported, 1 inconclusive; 1 not run'
    """
    verdicts = [entry["verdict"] for entry in ledger if entry["about"] == about]
    run = [verdict for verdict in verdicts if verdict != NOT_RUN]
    others = [f"{run.count(other)} {other}" for other in (PARTLY, REFUTED, INCONCLUSIVE) if other in run]
    left = f"; {len(verdicts) - len(run)} not run" if len(run) < len(verdicts) else ""
    return ", ".join([f"{run.count(SUPPORTED)} of {len(run)} claims supported", *others]) + left


def by_paper(ledger: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the claims about methods by the paper that they are of, in their order.

    >>> list(by_paper([{"paper": "iFAM", "about": "method"}, {"paper": "The benchmark", "about": "benchmark"}]))
    ['iFAM']
    """
    papers: dict[str, list[Mapping[str, Any]]] = {}
    for entry in ledger:
        if entry["about"] == "method":
            papers.setdefault(entry["paper"], []).append(entry)
    return papers


def evidence(entry: Mapping[str, Any]) -> str:
    """Return the numbers behind a verdict as one phrase, or what is missing.

    >>> difference = {"mean": 0.18, "low": 0.12, "high": 0.24}
    >>> said = {"compared": "worst group of a minus worst group of b", "difference": difference, "wanted": "above 0"}
    >>> evidence(said)
    'worst group of a minus worst group of b: 0.180 [0.120, 0.240], claimed: above 0'
    >>> evidence({"difference": None, "needs": ["worst_group of zoom"], "wanted": "above 0"})
    'claimed: above 0; it takes worst_group of zoom'
    """
    if entry["difference"] is None:
        return f"claimed: {entry['wanted']}; it takes {', '.join(entry['needs'])}"
    difference = entry["difference"]
    ends = ", ".join(figure(difference[end]) for end in ("low", "high"))
    return f"{entry['compared']}: {figure(difference['mean'])} [{ends}], claimed: {entry['wanted']}"
