"""Tests and power: the test is the interval turned round, and the rest as by hand or in a textbook."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from observations import HOW, observed
from scipy.stats import norm

from fieldmark.stats import difference
from fieldmark.stats.comparisons import compare, holm
from fieldmark.stats.intervals import p_value, summary


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
