"""Intervals: distributions derived by hand, coverage where the truth is known, and the same ones from disk."""

import numpy as np
import pandas as pd
import pytest
from observations import HOW, TWO_WAY, clustered, observed

from fieldmark.core import store
from fieldmark.core.contracts import Score
from fieldmark.stats import Interval, Observed, describe, from_table, interval, to_table


def bounds(per_seed, level, **how) -> tuple[float, float]:
    found = interval(per_seed, **HOW | {"level": level} | how)
    return found.low, found.high


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
