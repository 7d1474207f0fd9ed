"""Intervals by a bootstrap that redraws what would differ in another study: seeds, and the sources behind examples.

A hundred sources stand behind any number of composites, so composites are no independent observations: sources are
redrawn whole (Field & Welsh 2007, doi 10.1111/j.1467-9868.2007.00593.x). With two columns of sources each is redrawn on
its own, and an observation weighs the product of its multiplicities: the pigeonhole bootstrap (Owen 2007, arXiv
0712.1111).

What an interval is about: the mean over all seeds that could have been drawn of the measure on all sources that could
have stood behind the examples (without ``bg_source`` in ``cluster``, on the scenes at hand); of a worst group, the mean
over seeds of the smallest of the groups' accuracies on all sources. How often it holds that, ``bench/coverage.py``
measures. With 3 or 5 seeds and studies as large and as clustered as ours an interval of 95 % does in 94 to 99 %: on the
safe side, for most sources are tested in one seed only, so that redrawing seeds redraws them twice (Owen 2007,
section 3). It falls short for the worst of groups that are alike with 5 seeds (89 %), where trainings differ more than
objects do (85 to 95 %), for redrawing S seeds understates their spread by the factor sqrt((S - 1) / S), and with one
seed, which tells nothing of others (83 to 96 %; where trainings differ 53 to 71 %).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from fieldmark.core.contracts import COMBINE, Score
from fieldmark.stats.intervals import Floats, Interval, summary
from fieldmark.stats.observations import Observed


def interval(
    per_seed: Sequence[Observed], *, draws: int, level: float, cluster: Sequence[str], seed: int = 0
) -> Interval:
    """Return the mean of a measure over seeds with its interval (``stats.intervals``).

    Args:
        per_seed: one measure, observed once per seed.
        draws: how many times seeds and sources are redrawn; a source counts the same in all seeds of a draw.
        level: of the interval, such as 0.95.
        cluster: columns of ``sources`` whose values are redrawn whole, one or two.
        seed: of the draws; the same seed gives the same interval.
    """
    (values_E,) = redraw([per_seed], draws=draws, cluster=cluster, seed=seed)
    return summary(values_E, level, known(per_seed), len(per_seed))


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
    a_E, b_E = redraw([per_seed_a, per_seed_b], draws=draws, cluster=cluster, seed=seed)
    return summary(a_E - b_E, level, min(known(per_seed_a), known(per_seed_b)), len(per_seed_a))


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
    reached_E, bottom_E, top_E = redraw(sides, draws=draws, cluster=cluster, seed=seed)
    gap_E = top_E - bottom_E
    share_E = np.divide(reached_E - bottom_E, gap_E, out=np.full(1 + draws, np.nan), where=gap_E > 0)
    found = summary(share_E, level, min(map(known, sides)), len(per_seed))
    if found.lost > draws * (1 - level) / 2:
        return found._replace(low=float("nan"), high=float("nan"))
    return found


def redraw(sides: Sequence[Sequence[Observed]], *, draws: int, cluster: Sequence[str], seed: int = 0) -> list[Floats]:
    """Return each side's measure as it is and then in each draw (E = 1 + D,); all sides see the same draws.

    Raises:
        ValueError: the sides do not have the same number of seeds.
    """
    if len({len(side) for side in sides}) > 1:
        raise ValueError(f"paired measures need the same seeds: {', '.join(str(len(side)) for side in sides)}")
    rng = np.random.default_rng(seed)
    sums = [[_sums(observed, cluster) for observed in side] for side in sides]
    times_ES = _multiplicities(rng, draws, len(sides[0]))
    times = []
    for number in range(len(cluster)):
        names = pd.Index(np.unique(np.concatenate([one.sources[number] for side in sums for one in side])))
        times.append((names, _multiplicities(rng, draws, len(names))))
    values = []
    for side in sums:
        values_ES = np.stack([_recompute(one, times) for one in side], axis=1) * times_ES
        values.append(np.where(times_ES > 0, values_ES, 0).sum(1) / len(side))  # an undrawn seed's NaN is none
    return values


def _multiplicities(rng: np.random.Generator, draws: int, n: int) -> npt.NDArray[np.int64]:
    """Return how often each of ``n`` things counts (1 + draws, n): once, then as drawn ``n`` times with replacement."""
    once = np.ones((1, n), np.int64)
    return np.vstack([once, rng.multinomial(n, np.full(n, 1 / n), size=draws)]) if n else once.repeat(1 + draws, 0)


class _Sums(NamedTuple):
    """Observations that share sources and cell: they have the same weight in every draw."""

    score: Score
    sources: list[npt.NDArray[np.str_]]  # of each sum, by column
    cells: npt.NDArray[np.str_]  # (M,)
    totals: Floats  # (M,)
    sizes: Floats  # (M,)


def _sums(observed: Observed, cluster: Sequence[str]) -> _Sums:
    score = observed.score
    seen = ~np.isnan(score.values)
    columns = [observed.sources[column].to_numpy()[score.rows[seen]] for column in cluster]
    codes, names = zip(*(pd.factorize(column) for column in [*columns, score.cells[seen].astype(object)]), strict=True)
    shape = tuple(max(1, len(name)) for name in names)
    places, sum_N = np.unique(np.ravel_multi_index(codes, shape), return_inverse=True)
    *sources, cells = (
        name[code].astype(np.str_) for name, code in zip(names, np.unravel_index(places, shape), strict=True)
    )
    known_N = score.values[seen]
    totals, sizes = (np.bincount(sum_N, of_N, len(places)).astype(float) for of_N in (known_N, np.ones_like(known_N)))
    return _Sums(score, sources, cells, totals, sizes)


def _recompute(sums: _Sums, times: Sequence[tuple[Any, npt.NDArray[np.int64]]]) -> Floats:
    """Return the whole measure (E,) from cell means weighted by how often their sources were drawn."""
    drawn = [times_EN[:, names.get_indexer(own)] for own, (names, times_EN) in zip(sums.sources, times, strict=True)]
    weight_EM = np.prod(drawn, axis=0, dtype=np.float64)
    weights = sums.score.weights or dict.fromkeys(np.unique(sums.score.cells).tolist(), 1.0)
    cells = sorted(weights)
    place_MK = sums.cells[:, None] == np.array(cells, np.str_)
    total_EK, count_EK = (weight_EM @ (place_MK * column[:, None]) for column in (sums.totals, sums.sizes))
    means_EK = np.divide(total_EK, count_EK, out=np.full(total_EK.shape, np.nan), where=count_EK > 0)
    return np.asarray(COMBINE[sums.score.combine](means_EK, np.array([weights[cell] for cell in cells])))


def known(per_seed: Sequence[Observed]) -> int:
    """Return how many known observations there are, over all seeds."""
    return sum(int((~np.isnan(observed.score.values)).sum()) for observed in per_seed)
