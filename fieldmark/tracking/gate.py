"""The gate: may a challenger replace the champion? Pure; "not enough evidence" is an answer.

Every measure is judged by its whole interval, on validation. A check holds if the interval lies wholly on the right
side, fails if it lies wholly on the wrong one, and is open in between, where the estimate may be luck. One failed check
keeps a challenger out however well it does elsewhere; one open check leaves it a challenger.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fieldmark.core.contracts import Interval

PROMOTE, KEEP, UNSURE = "promote", "keep", "not enough evidence"


class Decision(NamedTuple):
    """A verdict and every check behind it: ``{"check", "found", "needed", "passed"}``."""

    verdict: str  # PROMOTE | KEEP | UNSURE
    reasons: list[dict[str, Any]]


class Limit(NamedTuple):
    """What a challenger has to stay below, or above, whatever the champion does."""

    check: str  # what people call the measure
    found: Interval | None  # of the challenger; None: nothing it claims is measured by it
    bound: float
    at_most: bool

    def verdict(self) -> str:
        """Return PROMOTE, KEEP or UNSURE, as this check alone would have it.

        >>> from types import SimpleNamespace as I
        >>> Limit("BG-Gap", I(mean=.05, low=.02, high=.08), .1, at_most=True).verdict()
        'promote'
        >>> Limit("BG-Gap", I(mean=.05, low=-.01, high=.11), .1, at_most=True).verdict()
        'not enough evidence'
        >>> Limit("mask AUC", I(mean=.5, low=.48, high=.52), .55, at_most=False).verdict()
        'keep'
        """
        if self.found is None:
            return PROMOTE
        sign = -1 if self.at_most else 1
        low, high = sorted((sign * (self.found.low - self.bound), sign * (self.found.high - self.bound)))
        if math.isnan(low) or math.isnan(high):
            return UNSURE
        return PROMOTE if low >= 0 else KEEP if high < 0 else UNSURE


def decide(
    difference: Interval, *, smallest_group: int, minimum_group: int, comparable: bool, limits: Sequence[Limit] = ()
) -> Decision:
    """Judge a challenger by its worst-group accuracy on validation minus the champion's, paired, and by limits.

    Args:
        difference: interval of challenger minus champion, as a fraction.
        smallest_group: examples in the smallest group of validation.
        minimum_group: examples it must have.
        comparable: whether both were measured on the same examples.
        limits: ceilings and floors of other measures.

    Returns:
        PROMOTE if the interval lies wholly above 0 and every limit holds; KEEP if it lies wholly at or below 0 or a
        limit is broken; otherwise UNSURE. UNSURE also if groups are too small, splits differ or the interval is unknown
        (NaN): then nothing is known of either.

    >>> from types import SimpleNamespace as I
    >>> decide(I(mean=.1, low=.02, high=.2), smallest_group=100, minimum_group=50, comparable=True).verdict
    'promote'
    >>> decide(I(mean=.1, low=-.02, high=.2), smallest_group=100, minimum_group=50, comparable=True).verdict
    'not enough evidence'
    """
    low, high = difference.low, difference.high
    verdicts = [PROMOTE if low > 0 else KEEP if high <= 0 else UNSURE, *(limit.verdict() for limit in limits)]
    reasons = [
        _reason("same validation examples", "same" if comparable else "different", "same", comparable),
        _reason("smallest group", smallest_group, f"at least {minimum_group}", smallest_group >= minimum_group),
        _reason(
            "worst-group accuracy on validation, challenger minus champion",
            _ends(difference),
            "interval wholly above 0",
            low > 0,
        ),
        *(_limited(limit, verdict) for limit, verdict in zip(limits, verdicts[1:], strict=True)),
    ]
    if not all(reason["passed"] for reason in reasons[:2]) or math.isnan(low) or math.isnan(high):
        return Decision(UNSURE, reasons)
    return Decision(KEEP if KEEP in verdicts else UNSURE if UNSURE in verdicts else PROMOTE, reasons)


def first(baseline: str) -> Decision:
    """Return the decision that makes the declared baseline the first champion."""
    check = "first champion: the baseline, nothing to compare with"
    return Decision(PROMOTE, [_reason(check, baseline, "no champion yet", True)])


def winner(judged: Mapping[str, tuple[Decision, float]]) -> str | None:
    """Return which of the promoted challengers is best on validation; None when none is promoted.

    Args:
        judged: challenger -> (decision, its score on validation, higher is better); equal scores go by name.
    """
    promoted = {name: score for name, (decision, score) in judged.items() if decision.verdict == PROMOTE}
    return min(promoted, key=lambda name: (-promoted[name], name), default=None)


def _limited(limit: Limit, verdict: str) -> dict[str, Any]:
    side = "at most" if limit.at_most else "at least"
    found = "claims no mask" if limit.found is None else _ends(limit.found)
    return _reason(f"{limit.check} on validation", found, f"whole interval {side} {limit.bound:g}", verdict == PROMOTE)


def _ends(found: Interval) -> dict[str, float]:
    return {"mean": found.mean, "low": found.low, "high": found.high}


def _reason(check: str, found: Any, needed: str, passed: bool) -> dict[str, Any]:
    return {"check": check, "found": found, "needed": needed, "passed": bool(passed)}
