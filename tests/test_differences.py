"""Differences of two models and shares of a gap between two others, derived by hand, and what they decide."""

import numpy as np
import pytest
from observations import HOW, TWO_WAY, clustered, observed
from scipy.stats import ttest_1samp

from fieldmark.stats import Interval, Observed, difference, share_of_gap, share_over_splits, verdict


def width(found: Interval) -> float:
    return found.high - found.low


def test_equal_models_differ_by_exactly_nothing():
    per_seed = [clustered(np.random.default_rng(seed)) for seed in range(3)]
    assert difference(per_seed, per_seed, **TWO_WAY) == Interval(0, 0, 0, n=720, seeds=3)


def test_a_difference_is_paired_by_seed():
    low, high = [observed([v, v], ["a", "b"]) for v in (0, 0.5)], [observed([v, v], ["a", "b"]) for v in (0.25, 0.75)]
    assert difference(high, low, **HOW) == Interval(0.25, 0.25, 0.25, n=4, seeds=2)


def test_pairing_by_source_narrows_the_difference_of_correlated_models():
    rng = np.random.default_rng(0)
    one = clustered(rng)
    better = Observed(one.score._replace(values=one.score.values + rng.normal(0.05, 0.05, 240)), one.sources)
    strangers = Observed(better.score, better.sources.map(lambda source: f"other {source}"))
    paired, unpaired = difference([better], [one], **HOW), difference([strangers], [one], **HOW)
    assert paired.mean == unpaired.mean
    assert 3 * width(paired) < width(unpaired)
    assert verdict(paired, higher_is_better=True) == "supported"
    assert verdict(unpaired, higher_is_better=True) == "inconclusive"


def test_a_difference_needs_the_same_seeds():
    one = observed([1], ["a"])
    with pytest.raises(ValueError, match="the same seeds: 1, 2"):
        difference([one], [one, one], **HOW)


def test_a_share_of_a_gap_is_drawn_as_by_hand():
    # aa: (0.3 - 0.2) / (0.6 - 0.2) = 1/4; bb: (0.5 - 0.1) / (0.9 - 0.1) = 1/2; ab: 0.25 / 0.6. One draw for all three.
    low, some, high = ([observed(v, ["a", "b"])] for v in ([0.2, 0.1], [0.3, 0.5], [0.6, 0.9]))
    found = share_of_gap(some, low, high, **HOW)
    assert found[:3] == pytest.approx((0.25 / 0.6, 0.25, 0.5))
    assert found[3:] == (2, 1, 0)


def test_the_ends_of_a_gap_close_none_and_all_of_it_without_doubt():
    low, high = ([clustered(np.random.default_rng(s), truth=t) for s in range(3)] for t in (0.6, 0.9))
    assert share_of_gap(low, low, high, **HOW)[:3] == (0, 0, 0)
    assert share_of_gap(high, low, high, **HOW)[:3] == (1, 1, 1)


def test_a_share_of_what_may_be_no_gap_is_unknown():
    # Drawing b twice (1/4 of draws) turns the gap round; the estimate stands, its interval does not.
    low, high = [observed([0.2, 0.5], ["a", "b"])], [observed([0.8, 0.4], ["a", "b"])]
    found = share_of_gap(high, low, high, **HOW)
    assert found.mean == 1
    assert np.isnan([found.low, found.high]).all()
    assert 400 < found.lost < 600
    assert np.isnan(share_of_gap(low, high, low, **HOW)[:3]).all()  # no gap at all


def seeds(*values) -> list[Observed]:
    return [observed([value], ["a"]) for value in values]


def test_the_share_over_splits_is_every_share_that_a_t_test_allows():
    low, some, high = seeds(0.61, 0.64, 0.68, 0.76), seeds(0.91, 0.93, 0.91, 0.95), seeds(0.85, 0.92, 0.96, 0.93)
    found = share_over_splits(some, low, high, level=0.9)
    assert found.mean == share_of_gap(some, low, high, **HOW).mean and found[3:] == (4, 4, 0)
    bottom, reached, top = (np.array([one.score.value for one in side]) for side in (low, some, high))
    for end in (found.low, found.high):
        rest = reached - bottom - end * (top - bottom)
        assert ttest_1samp(rest, 0).pvalue == pytest.approx(0.1)


def test_the_share_over_splits_of_a_gap_that_is_always_the_same_is_a_t_interval():
    # Shares 1/4, 1/2, 3/4: mean 1/2, deviation 1/4, and t = 4.303 for three seeds.
    found = share_over_splits(seeds(0.5, 0.6, 0.7), seeds(0.4, 0.4, 0.4), seeds(0.8, 0.8, 0.8), level=0.95)
    assert found[:3] == pytest.approx((0.5, 0.5 - 4.3027 / 4 / 3**0.5, 0.5 + 4.3027 / 4 / 3**0.5), abs=1e-4)
    low, high = seeds(0.4, 0.5, 0.5), seeds(0.8, 0.9, 0.8)
    assert share_over_splits(high, low, high, level=0.95)[:3] == (1, 1, 1)
    assert share_over_splits(low, low, high, level=0.95)[:3] == (0, 0, 0)


def test_the_share_over_splits_is_unknown_where_there_may_be_no_gap():
    low, high = seeds(0.5, 0.6, 0.7), seeds(0.9, 0.5, 0.8)  # 0.4, -0.1, 0.1
    found = share_over_splits(high, low, high, level=0.95)
    assert found.mean == 1 and np.isnan([found.low, found.high]).all()
    assert np.isnan(share_over_splits(low, high, low, level=0.95).mean)
    alone = share_over_splits(low[:1], low[:1], high[:1], level=0.95)
    assert alone.mean == 0 and np.isnan(alone.low)  # one split says nothing of others
    with pytest.raises(ValueError, match="the same seeds: 1, 3, 3"):
        share_over_splits(low[:1], low, high, level=0.95)


def test_a_share_needs_the_same_seeds():
    one = observed([1], ["a"])
    with pytest.raises(ValueError, match="the same seeds: 1, 1, 2"):
        share_of_gap([one], [one], [one, one], **HOW)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.1, 0.2, "supported"),
        (-0.2, -0.1, "refuted"),
        (-0.1, 0.2, "inconclusive"),
        (0.0, 0.2, "inconclusive"),
        (-0.2, 0.0, "inconclusive"),
        (np.nan, np.nan, "inconclusive"),
    ],
)
def test_an_interval_that_covers_zero_decides_nothing(low, high, expected):
    assert verdict(Interval(0.5, low, high, 9, 3), higher_is_better=True) == expected
    assert verdict(Interval(-0.5, -high, -low, 9, 3), higher_is_better=False) == expected
