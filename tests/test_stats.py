"""Intervals: distributions derived by hand, and coverage on data whose truth is known."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, ttest_1samp

from fieldmark.core import store
from fieldmark.core.contracts import Score
from fieldmark.stats import (
    Interval,
    Observed,
    describe,
    difference,
    from_table,
    interval,
    share_of_gap,
    share_over_splits,
    to_table,
    verdict,
)
from fieldmark.stats.comparisons import compare, holm
from fieldmark.stats.intervals import p_value, summary

HOW = {"draws": 2000, "level": 0.95, "cluster": ["fg_source"]}
TWO_WAY = HOW | {"cluster": ["fg_source", "bg_source"]}


def observed(values, fg, *, bg="scene", cells="all", combine="mean", weights=None) -> Observed:
    values, size = np.array(values, float), len(values)
    score = Score(values, np.broadcast_to(cells, size).astype(str), np.arange(size), combine, weights=weights)
    sources = {"fg_source": np.broadcast_to(fg, size), "bg_source": np.broadcast_to(bg, size)}
    return Observed(score, pd.DataFrame(sources).astype("str"))


def clustered(rng, *, truth=0.7, sources=30, each=8) -> Observed:
    """Values that lie around ``truth`` with one common error per source, much larger than their own."""
    fg = np.repeat(np.arange(sources), each)
    return observed(truth + rng.normal(0, 0.15, sources)[fg] + rng.normal(0, 0.05, len(fg)), fg)


def bounds(per_seed, level, **how) -> tuple[float, float]:
    found = interval(per_seed, **HOW | {"level": level} | how)
    return found.low, found.high


def width(found: Interval) -> float:
    return found.high - found.low


def test_a_constant_has_an_interval_without_width():
    one = observed([0.5] * 6, ["a", "a", "b", "b", "c", "c"])
    assert interval([one] * 3, **HOW) == Interval(0.5, 0.5, 0.5, n=18, seeds=3)


def test_two_sources_are_drawn_as_by_hand():
    # aa, ab or ba, bb: the mean is 0, 1/4, 1 with probability 1/4, 1/2, 1/4, because a stands for three observations.
    one = [observed([0, 0, 0, 1], ["a", "a", "a", "b"])]
    assert bounds(one, 0.6) == (0, 1)
    assert bounds(one, 0.4) == (0.25, 0.25)


def test_two_seeds_are_drawn_as_by_hand():
    per_seed = [observed([0, 0], ["a", "b"]), observed([1, 1], ["a", "b"])]  # 0, 1/2, 1: 1/4, 1/2, 1/4
    assert bounds(per_seed, 0.6) == (0, 1)
    assert bounds(per_seed, 0.4) == (0.5, 0.5)


def test_a_source_counts_the_same_in_all_seeds_of_a_draw():
    # Where both seeds are drawn their errors cancel: 3/4 of draws are 1/2. Redrawn per seed, 28 % would be 1/4 or less.
    per_seed = [observed([0, 1], ["a", "b"]), observed([1, 0], ["a", "b"])]
    assert bounds(per_seed, 0.5) == (0.5, 0.5)


def test_two_ways_weigh_the_product():
    # Only (a, p) is 1: the mean is w_a w_p / 4 with w in {0, 1, 2}; it is 1 in 1/16 of draws and 0 in 7/16.
    one = [observed([1, 0, 0, 0], ["a", "a", "b", "b"], bg=["p", "q", "p", "q"])]
    assert bounds(one, 0.9, cluster=TWO_WAY["cluster"]) == (0, 1)
    # The estimate 1/4 has 9/16 of the draws below it, ties halved: ends move up, and 3/4 reaches what 0.77 would.
    assert bounds(one, 0.75, cluster=TWO_WAY["cluster"]) == (0, 0.5)
    assert bounds(one, 0.80, cluster=TWO_WAY["cluster"]) == (0, 1)
    assert bounds(one, 0.9) == (0, 0.5)  # one way: w_a / 4


def test_the_worst_group_is_redrawn_as_a_whole():
    # aa: x = 0, y = 1; bb: the reverse; ab: both 1/2. The minimum is 0 or 1/2; that of one group alone would reach 1.
    one = [observed([0, 1, 1, 0], ["a", "a", "b", "b"], cells=["x", "y", "x", "y"], combine="worst")]
    assert interval(one, **HOW)[:3] == (0.5, 0, 0.5)


def test_a_contrast_of_cells_moves_with_their_common_source():
    # b's values are a's plus 1/2 in both cells, so the contrast is 1/4 in every draw though each cell's mean varies.
    cells, weights = ["x", "y", "x", "y"], {"x": -1.0, "y": 1.0}
    one = observed([0, 0.25, 0.5, 0.75], ["a", "a", "b", "b"], cells=cells, combine="contrast", weights=weights)
    assert interval([one], **HOW)[:3] == (0.25, 0.25, 0.25)


def test_more_observations_of_the_same_sources_narrow_nothing():
    values, fg = [0.1, 0.4, 0.9, 0.7], ["a", "b", "c", "d"]
    few, many = observed(values, fg), observed(values * 25, fg * 25)
    assert interval([many], **HOW)[:3] == pytest.approx(interval([few], **HOW)[:3])
    assert interval([many], **HOW).n == 100


def test_draws_with_an_empty_cell_are_left_out_and_counted():
    one = observed([1, 0, 0], ["a", "a", "b"], cells=["x", "y", "y"], combine="worst")
    found = interval([one], **HOW)  # bb has no x: a quarter of the draws
    assert found[:4] == (0, 0, 0, 3)
    assert 400 < found.lost < 600


def test_an_interval_of_mostly_unknown_draws_is_unknown():
    one = observed([1, 1, 1], ["a", "b", "c"], cells=["x", "y", "z"])  # abc in any order: 6 draws of 27 are known
    found = interval([one], **HOW)
    assert found.mean == 1
    assert np.isnan([found.low, found.high]).all()
    assert found.lost == pytest.approx(2000 * 21 / 27, rel=0.05)


@pytest.mark.parametrize("values", [[0.5, np.nan], [0.5, 0.5]])
def test_an_empty_expected_cell_is_unknown_not_zero(values):
    one = observed(values, ["a", "b"], cells=["x", "y"], weights={"x": 1, "y": 1, "z": 1})
    found = interval([one], **HOW)
    assert np.isnan(found[:3]).all()
    assert found.n == np.isfinite(values).sum()


def test_unknown_values_are_left_out_of_their_cell():
    with_nan, without = observed([0.2, np.nan, 0.8], ["a", "a", "b"]), observed([0.2, 0.8], ["a", "b"])
    assert interval([with_nan], **HOW) == interval([without], **HOW)


def test_the_same_seed_gives_the_same_interval():
    one = clustered(np.random.default_rng(0))
    assert interval([one], **HOW) == interval([one], **HOW)
    assert interval([one], **HOW, seed=1) != interval([one], **HOW)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    by_source, by_row = [], []
    for _ in range(200):
        one = clustered(rng)
        as_rows = Observed(one.score, one.sources.assign(fg_source=np.arange(240).astype(str)))
        for covered, data in [(by_source, one), (by_row, as_rows)]:
            found = interval([data], draws=300, level=0.9, cluster=["fg_source"])
            covered.append(found.low <= 0.7 <= found.high)
    assert 0.83 <= np.mean(by_source) <= 0.95
    assert np.mean(by_row) < 0.6  # what taking composites for independent observations would do


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


def test_observations_come_back_from_disk(tmp_path):
    recipes = pd.DataFrame({"fg_source": ["a", "b", "a"], "bg_source": ["p", "q", "q"]}).assign(example_id="e")
    cells, rows, signs = np.array(["x", "y", "y"]), np.array([2, 1, 0]), {"x": 1.0, "y": -1.0}
    scores = {
        "worst": Score(np.array([1, 0, np.nan]), cells, rows, "worst", chance=0.5),
        "gap": Score(np.array([1.0, 0.0]), cells[:2], rows[:2], "contrast", weights=signs),
        "empty": Score(np.array([]), np.array([], str), np.array([], int), weights=signs),
    }
    store.write_table(tmp_path / "t.parquet", to_table(scores, recipes))
    store.write_json(tmp_path / "t.json", {metric: describe(score) for metric, score in scores.items()})
    back = from_table(store.read_table(tmp_path / "t.parquet"), store.read_json(tmp_path / "t.json"))
    assert list(back["worst"].sources["fg_source"]) == ["a", "b", "a"]
    assert list(back["worst"].sources["bg_source"]) == ["q", "q", "p"]
    assert back["worst"].score.chance == 0.5
    assert np.isnan(back["gap"].score.chance)
    for metric, score in scores.items():
        before, after = interval([Observed(score, recipes)], **HOW), interval([back[metric]], **HOW)
        np.testing.assert_equal(tuple(after), tuple(before))


# Tests and power


def estimates(mean: float, draws: list[float]) -> np.ndarray:
    return np.array([mean, *draws])


def test_ends_move_twice_as_far_as_the_estimate_lies_from_the_middle_of_its_draws():
    # 0, 1, ..., 9999: the estimate lies at the normal quantile 1/2, so the ends of 68.27 % lie at 1 - 1 and 1 + 1.
    draws = np.arange(10_000.0)
    found = summary(estimates(np.quantile(draws, norm.cdf(0.5)), draws), 2 * norm.cdf(1) - 1, n=1, seeds=1)
    assert found[1:3] == pytest.approx((4999.5, np.quantile(draws, norm.cdf(2))), abs=3)


def test_an_interval_holds_its_estimate_even_where_no_draw_does():
    assert summary(estimates(2.0, [0.0, 1.0] * 50), 0.9, n=1, seeds=1)[:3] == (2, 1, 2)


def test_p_counts_draws_on_the_far_side_twice():
    draws = [-1.0] * 19 + [0.0] * 10 + [1.0] * 461 + [3.0] * 510  # 29 of 1000 are not above 0
    middle = estimates(2.0, draws)  # no draw equals it, 490 lie below: nearly the middle
    moved = 2 * norm.ppf(490.5 / 1001)
    assert p_value(middle) == pytest.approx(2 * norm.cdf(norm.ppf(30 / 1002) - moved))
    assert p_value(-middle) == pytest.approx(p_value(middle))
    assert p_value(estimates(0.0, [0.0] * 100)) == 1
    assert p_value(estimates(1.0, [1.0] * 100)) == pytest.approx(2 / 102)  # never less than the draws can tell
    assert np.isnan(p_value(estimates(1.0, [np.nan] * 60 + [1.0] * 40)))
    assert np.isnan(p_value(estimates(np.nan, [1.0])))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(-2, 2))
def test_the_test_is_the_interval_turned_round(seed, mean):
    rng = np.random.default_rng(seed)
    values = np.concatenate([[mean], rng.normal(mean, 1, 999)])
    found, p = summary(values, 0.95, n=1, seeds=1), p_value(values)
    if abs(p - 0.05) > 0.005:  # between two draws
        assert (p < 0.05) == (found.low > 0 or found.high < 0)


def test_holm_as_by_hand():
    # Ranked 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 = 0.04, 0.06, 0.06, 0.04; none below the one before; at most 1.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []
    np.testing.assert_equal(holm([np.nan, 0.02, np.nan]), [np.nan, 0.02, np.nan])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_monotone_and_between_the_raw_p_and_bonferroni(values):
    adjusted = holm(values)
    for raw, one in zip(values, adjusted, strict=True):
        assert raw <= one <= min(1, raw * len(values)) + 1e-12
    assert [one for _, one in sorted(zip(values, adjusted, strict=True))] == sorted(adjusted)


def test_a_comparison_is_the_difference_with_its_test():
    rng = np.random.default_rng(0)
    fg = np.repeat(np.arange(40), 10)
    wrong = rng.random(400)
    worse, better = ([observed((wrong < share).astype(float), fg)] * 2 for share in (0.6, 0.8))
    found = compare(better, worse, **HOW)
    assert found.difference == difference(better, worse, **HOW)
    assert found.p == pytest.approx(2 / 2002, rel=0.5)
    shares = [side[0].score.value for side in (better, worse)]
    assert found.effect == pytest.approx(2 * np.arcsin(np.sqrt(shares[0])) - 2 * np.arcsin(np.sqrt(shares[1])))
    np.testing.assert_equal(compare(worse, worse, **HOW)[1:], (1, 0, np.nan))  # the same model: nothing to measure by


def test_an_effect_size_of_shares_is_only_known_of_shares():
    cells, weights = ["x", "y", "x", "y"], {"x": -1.0, "y": 1.0}
    gap = [observed([0, 1, 1, 1], ["a", "a", "b", "b"], cells=cells, combine="contrast", weights=weights)]
    level = [observed([0.25, 0.5, 0.5, 0.25], ["a", "a", "b", "b"])]
    assert np.isnan([compare(gap, gap, **HOW).effect, compare(level, level, **HOW).effect]).all()


def test_what_could_have_been_seen_is_what_a_textbook_says():
    # n sources with independent differences of variance s²: (1.96 + 0.84) s / √n.
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.3, 400)
    one, other = ([observed(values, np.arange(400))] for values in (noise, np.zeros(400)))
    assert compare(one, other, **HOW).detectable == pytest.approx(2.8016 * noise.std() / 20, rel=0.05)
