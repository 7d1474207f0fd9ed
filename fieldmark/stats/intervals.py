"""From draws to an interval and to the p-value of the test that goes with it.

Intervals are bias-corrected percentile intervals (Efron 1981, doi 10.2307/3314608; Efron & Tibshirani 1993, section
14.3, acceleration 0): like percentile intervals they stay within what the draws reach and need no formula for a spread,
but they are moved by twice the distance, in normal quantiles, between the estimate and the middle of its draws. A
minimum needs that: the worst of several groups lies too low in a sample and lower still in samples of the sample, so
that plain percentiles miss it where groups are alike (``bench/coverage.py`` shows both).
"""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_NORMAL = NormalDist()
_EQUAL = 1e-12  # sums in another order differ by less


class Interval(NamedTuple):
    """An estimate with its bounds; all NaN when a cell it needs is empty."""

    mean: float  # over seeds
    low: float
    high: float
    n: int  # known observations, over all seeds
    seeds: int
    lost: int = 0  # draws left out because a cell they need came out empty


def verdict(found: Interval, higher_is_better: bool) -> str:
    """Say of a difference "a is better than b": supported, refuted, or inconclusive when the interval covers zero.

    >>> verdict(Interval(0.1, 0.02, 0.2, 400, 3), higher_is_better=True)
    'supported'
    >>> verdict(Interval(0.1, 0.02, 0.2, 400, 3), higher_is_better=False)
    'refuted'
    >>> verdict(Interval(0.1, -0.01, 0.2, 400, 3), higher_is_better=True)
    'inconclusive'
    """
    low, high = (found.low, found.high) if higher_is_better else (-found.high, -found.low)
    if low > 0:
        return "supported"
    return "refuted" if high < 0 else "inconclusive"  # NaN compares false: what is unknown is inconclusive


def summary(values_E: Floats, level: float, n: int, seeds: int) -> Interval:
    """Return an estimate with the interval of its known draws, unknown when most are; it never leaves the estimate out.

    Args:
        values_E: the estimate, then each draw (1 + D,); NaN = unknown.
        level: of the interval.
        n: known observations.
        seeds: how many.

    >>> found = summary(np.concatenate([[0.5], np.linspace(0, 1, 1001)]), 0.9, n=7, seeds=1)
    >>> round(found.low, 3), round(found.high, 3)
    (0.05, 0.95)
    """
    mean, known, lost = _split(values_E)
    if known is None:
        return Interval(mean, float("nan"), float("nan"), n, seeds, lost)
    moved, reach = 2 * _shift(mean, known), _NORMAL.inv_cdf((1 + level) / 2)
    low, high = np.quantile(known, [_NORMAL.cdf(moved - reach), _NORMAL.cdf(moved + reach)])
    return Interval(mean, min(float(low), mean), max(float(high), mean), n, seeds, lost)


def p_value(values_E: Floats) -> float:
    """Return the two-sided p-value of "the truth is 0": 1 minus the level of the widest interval that leaves 0 out.

    The test is the interval turned round, so that the two never disagree, and it needs no more than the interval does.
    A permutation test would be exact, but of another question: that two models are alike on every source. Models that
    fail at different pictures and have equal worst groups are not. A draw at 0 counts on both sides, and one draw is
    added to each (Davison & Hinkley 1997, section 4.2); p is at least 2 / (D + 2), for D draws can't tell more.

    Args:
        values_E: the estimated difference, then each draw (1 + D,); NaN is left out, and where most are p is NaN.

    >>> p_value(np.array([0.0] + [-1.0, 1.0] * 500)), round(p_value(np.array([1.0, *np.linspace(-0.01, 2.01, 102)])), 2)
    (1.0, 0.04)
    """
    mean, known, _ = _split(values_E)
    if known is None:
        return float("nan")
    moved, size = 2 * _shift(mean, known), len(known) + 2
    at_most, at_least = (known <= _EQUAL).sum() + 1, (known >= -_EQUAL).sum() + 1
    below = _NORMAL.cdf(_NORMAL.inv_cdf(at_most / size) - moved)
    above = _NORMAL.cdf(_NORMAL.inv_cdf(at_least / size) + moved)
    return min(1.0, max(2 / size, 2 * min(below, above)))


def spread(values_E: Floats) -> float:
    """Return the standard error of the estimate: the standard deviation of its known draws; NaN when most are not."""
    _, known, _ = _split(values_E)
    return float("nan") if known is None else float(known.std())


def _split(values_E: Floats) -> tuple[float, Floats | None, int]:
    """Return estimate, known draws and number of lost ones; None where most are lost, or the estimate is unknown."""
    mean, values_D = float(values_E[0]), values_E[1:]
    if np.isnan(mean):
        return mean, None, len(values_D)
    lost = int(np.isnan(values_D).sum())
    return mean, None if lost > len(values_D) / 2 else values_D[~np.isnan(values_D)], lost


def _shift(mean: float, known_D: Floats) -> float:
    """Return at which normal quantile of its draws the estimate lies; 0 is the middle, equal draws count half."""
    apart_D = known_D - mean
    below = (apart_D < -_EQUAL).sum() + (np.abs(apart_D) <= _EQUAL).sum() / 2
    return _NORMAL.inv_cdf((below + 0.5) / (len(known_D) + 1))
