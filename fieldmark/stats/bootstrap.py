"""Intervals by a bootstrap that redraws what would differ in another study: seeds, and the sources behind examples.

A hundred sources stand behind any number of composites, so composites are no independent observations: sources are
redrawn whole (Field & Welsh 2007, doi 10.1111/j.1467-9868.2007.00593.x). With two columns of sources each is redrawn on
its own, and an observation weighs the product of its multiplicities: the pigeonhole bootstrap (Owen 2007, arXiv
0712.1111).

Intervals are percentile intervals: they stay within the range of the measure and need no estimate of its spread. The
worst of several groups is redrawn as a whole; its draws lean low, as a minimum does. Redrawing S seeds understates the
spread between seeds by the factor sqrt((S - 1) / S).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from fieldmark.core.contracts import COMBINE, Score
from fieldmark.stats.observations import Observed

Floats = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """An estimate with its bounds; all NaN when a cell it needs is empty."""

    mean: float  # over seeds
    low: float
    high: float
    n: int  # known observations, over all seeds
    seeds: int
    lost: int = 0  # draws left out because a cell they need came out empty


def interval(
    per_seed: Sequence[Observed], *, draws: int, level: float, cluster: Sequence[str], seed: int = 0
) -> Interval:
    """Return the mean of a measure over seeds with its percentile interval.

    Args:
        per_seed: one measure, observed once per seed.
        draws: how many times seeds and sources are redrawn; a source counts the same in all seeds of a draw.
        level: of the interval, such as 0.95.
        cluster: columns of ``sources`` whose values are redrawn whole, one or two.
        seed: of the draws; the same seed gives the same interval.
    """
    mean, n = _estimate(per_seed), _known(per_seed)
    if np.isnan(mean):
        return Interval(mean, mean, mean, n, len(per_seed), lost=draws)
    (values_D,) = _redraw([per_seed], draws, cluster, seed)
    return _summary(mean, values_D, level, n, len(per_seed))


def difference(
    per_seed_a: Sequence[Observed],
    per_seed_b: Sequence[Observed],
    *,
    draws: int,
    level: float,
    cluster: Sequence[str],
    seed: int = 0,
) -> Interval:
    """Return the mean of a − b with its interval, paired: each draw takes the same seeds and sources for both.

    Args are those of ``interval``; position i of both sequences is the same seed. ``n`` is that of the sparser side.

    Raises:
        ValueError: the two sides do not have the same number of seeds.
    """
    if len(per_seed_a) != len(per_seed_b):
        raise ValueError(f"a paired difference needs the same seeds: {len(per_seed_a)} against {len(per_seed_b)}")
    mean, n = _estimate(per_seed_a) - _estimate(per_seed_b), min(_known(per_seed_a), _known(per_seed_b))
    if np.isnan(mean):
        return Interval(mean, mean, mean, n, len(per_seed_a), lost=draws)
    a_D, b_D = _redraw([per_seed_a, per_seed_b], draws, cluster, seed)
    return _summary(mean, a_D - b_D, level, n, len(per_seed_a))


def share_of_gap(
    per_seed: Sequence[Observed],
    low: Sequence[Observed],
    high: Sequence[Observed],
    *,
    draws: int,
    level: float,
    cluster: Sequence[str],
    seed: int = 0,
) -> Interval:
    """Return which share of the way from ``low`` to ``high`` a measure comes, 0 being ``low`` and 1 ``high``.

    Args are those of ``interval``; all three sides are redrawn together. The estimate is a ratio of means over seeds,
    not a mean of ratios. A draw without a gap has no share and is lost. Where more draws are lost than an interval
    leaves out on one side, the gap itself may be nothing, and no finite interval holds the share (Fieller 1954): its
    ends are unknown.

    Raises:
        ValueError: the three sides do not have the same number of seeds.
    """
    sides = [per_seed, low, high]
    if len({len(side) for side in sides}) > 1:
        raise ValueError(f"a share of a gap needs the same seeds: {', '.join(str(len(side)) for side in sides)}")
    reached, bottom, top = (_estimate(side) for side in sides)
    mean, n = (reached - bottom) / (top - bottom) if top > bottom else float("nan"), min(map(_known, sides))
    if np.isnan(mean):
        return Interval(mean, mean, mean, n, len(per_seed), lost=draws)
    reached_D, bottom_D, top_D = _redraw(sides, draws, cluster, seed)
    gap_D = top_D - bottom_D
    share_D = np.divide(reached_D - bottom_D, gap_D, out=np.full(draws, np.nan), where=gap_D > 0)
    found = _summary(mean, share_D, level, n, len(per_seed))
    if found.lost > draws * (1 - level) / 2:
        return found._replace(low=float("nan"), high=float("nan"))
    return found


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


def _redraw(sides: Sequence[Sequence[Observed]], draws: int, cluster: Sequence[str], seed: int) -> list[Floats]:
    """Return each side's measure in each draw (D,); all sides see the same draws."""
    rng = np.random.default_rng(seed)
    sums = [[_sums(observed, cluster) for observed in side] for side in sides]
    times_DS = _multiplicities(rng, draws, len(sides[0]))
    times = {}
    for column in cluster:
        sources = np.unique(np.concatenate([table[column] for tables in sums for table in tables]).astype(np.str_))
        times[column] = pd.DataFrame(_multiplicities(rng, draws, len(sources)), columns=sources)
    values = []
    for side, tables in zip(sides, sums, strict=True):
        values_SD = [_recompute(observed.score, table, times) for observed, table in zip(side, tables, strict=True)]
        values_DS = np.where(times_DS > 0, np.stack(values_SD, axis=1) * times_DS, 0)  # an undrawn seed's NaN is none
        values.append(values_DS.sum(1) / len(side))
    return values


def _multiplicities(rng: np.random.Generator, draws: int, n: int) -> npt.NDArray[np.int64]:
    """Return how often each of ``n`` things is drawn in ``n`` draws with replacement (draws, n)."""
    return rng.multinomial(n, np.full(n, 1 / n), size=draws)


def _sums(observed: Observed, cluster: Sequence[str]) -> pd.DataFrame:
    """Return sum and size per sources and cell: observations that share these have the same weight in every draw."""
    score = observed.score
    table = observed.sources[[*cluster]].iloc[score.rows].assign(cell=score.cells, value=score.values)
    known = table[table["value"].notna()]
    return known.groupby([*cluster, "cell"])["value"].agg(["sum", "size"]).reset_index()


def _recompute(score: Score, sums: pd.DataFrame, times: dict[str, pd.DataFrame]) -> Floats:
    """Return the whole measure (D,) from cell means weighted by how often their sources were drawn."""
    weight_DM = np.prod([drawn[sums[column]].to_numpy() for column, drawn in times.items()], axis=0)
    cells = list(score.means())
    place_MK = sums["cell"].to_numpy()[:, None] == np.array(cells, object)
    total_DK, count_DK = (weight_DM @ (place_MK * sums[name].to_numpy()[:, None]) for name in ("sum", "size"))
    means_DK = np.divide(total_DK, count_DK, out=np.full(total_DK.shape, np.nan), where=count_DK > 0)
    weights = score.weights or dict.fromkeys(cells, 1.0)
    return np.asarray(COMBINE[score.combine](means_DK, np.array([weights[cell] for cell in cells])))


def _summary(mean: float, values_D: Floats, level: float, n: int, seeds: int) -> Interval:
    """Return the percentile interval of the known draws; unknown when most draws are."""
    lost = int(np.isnan(values_D).sum())
    if lost > len(values_D) / 2:
        return Interval(mean, float("nan"), float("nan"), n, seeds, lost)
    low, high = np.nanquantile(values_D, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high), n, seeds, lost)


def _estimate(per_seed: Sequence[Observed]) -> float:
    return float(np.mean([observed.score.value for observed in per_seed]))


def _known(per_seed: Sequence[Observed]) -> int:
    return sum(int((~np.isnan(observed.score.values)).sum()) for observed in per_seed)
