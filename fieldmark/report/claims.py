"""The claim ledger: sentences that the numbers may contradict, each with the difference that decides it."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from fieldmark.core.contracts import Interval
from fieldmark.report.leaderboard import figure, title

SUPPORTED, PARTLY, REFUTED, INCONCLUSIVE = "supported", "partly", "refuted", "inconclusive"


class Claim(NamedTuple):
    """That ``plus`` exceeds ``minus`` (or 0, where there is none) by at least ``threshold``; both are (model, metric).

    A threshold below 0 claims that hardly anything is lost.
    """

    claim: str
    about: str  # "benchmark": whether the data test what they should; "method": whether a model does what is said of it
    plus: tuple[str, str]
    minus: tuple[str, str] | None
    threshold: float


#: Paired by seed and source; decided on the test part.
CLAIMS = (
    Claim(
        "The benchmark is valid: training without the shortcut raises worst-group accuracy by at least 10 points.",
        "benchmark",
        ("erm_unbiased", "worst_group"),
        ("erm", "worst_group"),
        0.10,
    ),
    Claim(
        "It is the background that misleads: the plain network is at least 8 points better where the background is"
        " the usual one.",
        "benchmark",
        ("erm", "alignment_gap"),
        None,
        0.08,
    ),
    Claim(
        "An object without its background is enough: the true mask raises worst-group accuracy.",
        "benchmark",
        ("oracle_mask", "worst_group"),
        ("erm", "worst_group"),
        0.0,
    ),
    Claim(
        "ERSM raises worst-group accuracy over the plain network.",
        "method",
        ("ersm", "worst_group"),
        ("erm", "worst_group"),
        0.0,
    ),
    Claim(
        "What ERSM gains is not mere regularisation: it beats a random mask of the object's area in the worst group.",
        "method",
        ("ersm", "worst_group"),
        ("random_mask", "worst_group"),
        0.0,
    ),
    Claim(
        "ERSM preserves accuracy: it loses at most 1 point on average (arXiv 2604.06893).",
        "method",
        ("ersm", "average"),
        ("erm", "average"),
        -0.01,
    ),
    Claim(
        "ERSM's masks isolate the object: they rank its tokens higher than a random mask does (arXiv 2604.06893).",
        "method",
        ("ersm", "token_auc"),
        ("random_mask", "token_auc"),
        0.0,
    ),
    Claim(
        "ERSM's energy ranks tokens better than their magnitude does, in deletion (arXiv 2604.06893).",
        "method",
        ("ersm", "deletion_own"),
        ("ersm", "deletion_magnitude"),
        0.0,
    ),
)


def applicable(measured: Collection[tuple[str, str]]) -> list[Claim]:
    """Return the claims whose (model, metric) pairs were all measured."""
    return [claim for claim in CLAIMS if all(side in measured for side in (claim.plus, claim.minus) if side)]


def judged(claim: Claim, difference: Interval) -> dict[str, Any]:
    """Return a claim with its verdict, as it goes into the ledger."""
    return {
        "claim": claim.claim,
        "about": claim.about,
        "metric": claim.plus[1],
        "models": [side[0] for side in (claim.plus, claim.minus) if side],
        "compared": " minus ".join(f"{title(metric)} of {model}" for model, metric in filter(None, claim[2:4])),
        "difference": {"mean": difference.mean, "low": difference.low, "high": difference.high},
        "threshold": claim.threshold,
        "verdict": verdict(difference, claim.threshold),
    }


def verdict(difference: Interval, threshold: float) -> str:
    """Judge "at least ``threshold``" by an interval.

    What must be excluded is 0, or the threshold itself when the claim is that little is lost. Inconclusive whenever the
    interval covers it; partly, if the direction is right but the estimate stays below the threshold.

    >>> from types import SimpleNamespace as I
    >>> verdict(I(mean=0.18, low=0.12, high=0.24), 0.10), verdict(I(mean=0.06, low=0.02, high=0.12), 0.10)
    ('supported', 'partly')
    >>> verdict(I(mean=0.02, low=-0.01, high=0.05), 0.0), verdict(I(mean=0.0, low=-0.008, high=0.01), -0.01)
    ('inconclusive', 'supported')
    """
    bar = min(threshold, 0.0)
    if math.isnan(difference.low) or math.isnan(difference.high) or difference.low <= bar <= difference.high:
        return INCONCLUSIVE
    if difference.high < bar:
        return REFUTED
    return SUPPORTED if difference.mean >= threshold else PARTLY


def tally(ledger: Sequence[Mapping[str, Any]], about: str) -> str:
    """Return how the claims about something fared, in a few words.

    >>> tally([{"about": "method", "verdict": v} for v in (SUPPORTED, INCONCLUSIVE, SUPPORTED)], "method")
    '2 of 3 claims supported, 1 inconclusive'
    """
    verdicts = [entry["verdict"] for entry in ledger if entry["about"] == about]
    others = [f"{verdicts.count(other)} {other}" for other in (PARTLY, REFUTED, INCONCLUSIVE) if other in verdicts]
    return ", ".join([f"{verdicts.count(SUPPORTED)} of {len(verdicts)} claims supported", *others])


def evidence(entry: dict[str, Any]) -> str:
    """Return the numbers behind a verdict as one phrase.

    >>> difference = {"mean": 0.18, "low": 0.12, "high": 0.24}
    >>> evidence({"compared": "worst group of a minus worst group of b", "difference": difference, "threshold": 0.1})
    'worst group of a minus worst group of b: 0.180 [0.120, 0.240], claimed: at least 0.100'
    """
    difference, threshold = entry["difference"], entry["threshold"]
    ends = ", ".join(figure(difference[end]) for end in ("low", "high"))
    wanted = f"at least {figure(threshold)}" if threshold else "above 0"
    return f"{entry['compared']}: {figure(difference['mean'])} [{ends}], claimed: {wanted}"
