"""The gate: may a challenger replace the champion? Pure; "not enough evidence" is an answer."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from fieldmark.core.contracts import Interval

PROMOTE, KEEP, UNSURE = "promote", "keep", "not enough evidence"


class Decision(NamedTuple):
    """A verdict and every check behind it: ``{"check", "found", "needed", "passed"}``."""

    verdict: str  # PROMOTE | KEEP | UNSURE
    reasons: list[dict[str, Any]]


def decide(difference: Interval, *, smallest_group: int, minimum_group: int, comparable: bool) -> Decision:
    """Judge a challenger by its worst-group accuracy on validation minus the champion's, paired.

    Args:
        difference: interval of challenger minus champion, as a fraction.
        smallest_group: examples in the smallest group of validation.
        minimum_group: examples it must have.
        comparable: whether both were measured on the same examples.

    Returns:
        PROMOTE if the interval lies wholly above 0, KEEP if it lies wholly at or below 0, otherwise UNSURE; UNSURE also
        if groups are too small, splits differ or the interval is unknown (NaN).

    >>> from types import SimpleNamespace as I
    >>> decide(I(mean=.1, low=.02, high=.2), smallest_group=100, minimum_group=50, comparable=True).verdict
    'promote'
    >>> decide(I(mean=.1, low=-.02, high=.2), smallest_group=100, minimum_group=50, comparable=True).verdict
    'not enough evidence'
    """
    low, high = difference.low, difference.high
    reasons = [
        _reason("same validation examples", "same" if comparable else "different", "same", comparable),
        _reason("smallest group", smallest_group, f"at least {minimum_group}", smallest_group >= minimum_group),
        _reason(
            "worst-group accuracy on validation, challenger minus champion",
            {"mean": difference.mean, "low": low, "high": high},
            "interval wholly above 0",
            low > 0,
        ),
    ]
    if not all(reason["passed"] for reason in reasons[:2]) or math.isnan(low) or math.isnan(high):
        return Decision(UNSURE, reasons)
    return Decision(PROMOTE if low > 0 else KEEP if high <= 0 else UNSURE, reasons)


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


def _reason(check: str, found: Any, needed: str, passed: bool) -> dict[str, Any]:
    return {"check": check, "found": found, "needed": needed, "passed": bool(passed)}
