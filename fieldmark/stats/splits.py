"""What another split of the same sources would say: narrower than ``bootstrap``, and about less.

Seeds draw splits independently, so that what one seed measures tells nothing of another's chance, whichever sources
they share: given the sources at hand, measures of several seeds are independent and alike. Of other objects, or other
scenes, such an interval says nothing.
"""

from collections.abc import Sequence

import numpy as np

from fieldmark.stats.bootstrap import known
from fieldmark.stats.intervals import Interval
from fieldmark.stats.observations import Observed


def share_over_splits(
    per_seed: Sequence[Observed], low: Sequence[Observed], high: Sequence[Observed], *, level: float
) -> Interval:
    """Return which share of the way from ``low`` to ``high`` a measure comes, whatever the split.

    The estimate is that of ``bootstrap.share_of_gap``: a ratio of means over seeds. Its interval holds each share r for
    which a t-test over seeds allows (measure - low) - r (high - low) = 0 on average (Fieller 1954): exact where these
    are normal, and unknown where the gap may be none.

    Args:
        per_seed: one measure, observed once per seed.
        low: where the way begins; the same seeds.
        high: where it ends; the same seeds.
        level: of the interval, such as 0.95.

    Raises:
        ValueError: the three sides do not have the same number of seeds.
    """
    from scipy.stats import t  # a second to import

    bottom_S, top_S, reached_S = (np.array([one.score.value for one in side]) for side in (low, high, per_seed))
    if len({len(bottom_S), len(top_S), len(reached_S)}) > 1:
        raise ValueError(f"a share needs the same seeds: {len(reached_S)}, {len(bottom_S)}, {len(top_S)}")
    seeds, unknown = len(bottom_S), float("nan")
    part_S, gap_S = reached_S - bottom_S, top_S - bottom_S
    part, gap = part_S.mean(), gap_S.mean()
    n = min(map(known, (per_seed, low, high)))
    share = float(part / gap) if gap > 0 else unknown
    if seeds < 2 or np.isnan(share):
        return Interval(share, unknown, unknown, n, seeds)
    spread = t.ppf((1 + level) / 2, seeds - 1) ** 2 * np.cov(part_S, gap_S) / seeds
    # (part - r gap)^2 <= t^2 var(part - r gap), a quadratic in r: square r^2 - 2 middle r + rest <= 0
    square, middle, rest = gap**2 - spread[1, 1], part * gap - spread[0, 1], part**2 - spread[0, 0]
    if square <= 0:
        return Interval(share, unknown, unknown, n, seeds)
    reach = np.sqrt(max(0.0, middle**2 - square * rest))
    return Interval(share, float((middle - reach) / square), float((middle + reach) / square), n, seeds)
