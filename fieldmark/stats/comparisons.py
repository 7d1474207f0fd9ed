"""Is one model better than another, by how much, and could this test have seen less?"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fieldmark.stats.bootstrap import known, redraw
from fieldmark.stats.intervals import Interval, p_value, spread, summary
from fieldmark.stats.observations import Observed
from fieldmark.stats.power import detectable


class Comparison(NamedTuple):
    """A paired difference, tested; what is unknown is NaN."""

    difference: Interval
    p: float  # two-sided, of this comparison alone
    effect: float  # Cohen's h; NaN unless the measure is a share of right answers
    detectable: float  # the smallest true difference that such a test finds with 80 % probability


def compare(
    per_seed_a: Sequence[Observed],
    per_seed_b: Sequence[Observed],
    *,
    draws: int,
    level: float,
    cluster: Sequence[str],
    seed: int = 0,
) -> Comparison:
    """Return the mean of a − b, tested by the very draws that its interval comes from: those of ``difference``.

    Raises:
        ValueError: the two sides do not have the same number of seeds.
    """
    sides = [per_seed_a, per_seed_b]
    a_E, b_E = redraw(sides, draws=draws, cluster=cluster, seed=seed)
    apart_E = a_E - b_E
    found = summary(apart_E, level, min(map(known, sides)), len(per_seed_a))
    effect = cohens_h(a_E[0], b_E[0]) if all(_is_share(one) for side in sides for one in side) else float("nan")
    return Comparison(found, p_value(apart_E), effect, detectable(spread(apart_E), level))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return adjusted p-values: with probability 1 − a, none of those below a is a false find (Holm 1979).

    The k-th smallest of m is multiplied by m − k + 1 and may not fall below the one before. It holds however the tests
    depend on each other, as those against one baseline do. An unknown p stays unknown and counts for none.

    >>> holm([0.01, 0.04, 0.03, 0.005]), holm([0.5, float("nan"), 0.02])
    ([0.03, 0.06, 0.06, 0.02], [0.5, nan, 0.04])
    """
    ranked = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    adjusted, so_far = [float("nan")] * len(p_values), 0.0
    for rank, (p, place) in enumerate(ranked):
        so_far = max(so_far, min(1.0, p * (len(ranked) - rank)))
        adjusted[place] = so_far
    return adjusted


def cohens_h(a: float, b: float) -> float:
    """Return how far apart two shares are, 2 asin √a − 2 asin √b (Cohen 1988, chapter 6), in [−π, π].

    Unlike a difference in points it means the same at 0.5 and at 0.95: 0.2 is small, 0.5 medium, 0.8 large.

    >>> round(cohens_h(1, 0), 4), round(cohens_h(0.75, 0.25), 4), cohens_h(0.3, 0.3)
    (3.1416, 1.0472, 0.0)
    """
    return 2 * math.asin(math.sqrt(a)) - 2 * math.asin(math.sqrt(b)) if not math.isnan(a + b) else float("nan")


def _is_share(observed: Observed) -> bool:
    """Return whether a measure is a share of right answers, over all examples or in the worst group."""
    values = observed.score.values
    return observed.score.combine in ("mean", "worst") and bool(np.isin(values[~np.isnan(values)], (0, 1)).all())
