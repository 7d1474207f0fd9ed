"""Intervals hold the truth about as often as they say, on data clustered as wildstamps is (``bench/coverage.py``)."""

import numpy as np
import pytest
from scipy.stats import norm

from bench.coverage import WORLDS, Found, Truth, missed, studies, truth

NUMBER, LEVEL = 70, 0.95
Studied = list[tuple[Truth, list[Found]]]


def at_least(share: float, number: int) -> float:
    """Return what a share that is truly ``share`` stays above in ``number`` studies, but for one chance in 700."""
    return share - 3 * float(np.sqrt(share * (1 - share) / number))


@pytest.fixture(scope="module")
def studied() -> Studied:
    cases = [("one group worse", "test", 5), ("one group worse", "val", 3), ("groups alike", "test", 3)]
    return [
        (
            truth(WORLDS[name]),
            list(studies(WORLDS[name], part=part, seeds=seeds, number=NUMBER, draws=200, level=LEVEL)),
        )
        for name, part, seeds in cases
    ]


@pytest.mark.parametrize("measure", Truth._fields)
def test_intervals_hold_the_truth(studied: Studied, measure: str) -> None:
    sides = np.mean(
        [missed([one[measure] for one in found], getattr(true, measure)) for true, found in studied], axis=0
    )
    assert 1 - sides.sum() >= at_least(LEVEL, NUMBER * len(studied))
    assert sides.max() <= 0.06  # neither end does all the missing


def test_a_minimum_of_groups_that_are_alike_is_held_too(studied: Studied) -> None:
    true, found = studied[2]  # a percentile interval holds it in 81 % of studies
    assert 1 - sum(missed([one["worst"] for one in found], true.worst)) >= at_least(LEVEL, NUMBER)


def test_the_test_finds_nothing_where_there_is_nothing_and_something_where_there_is(studied: Studied) -> None:
    for measure in ("mean_difference", "worst_difference"):
        small = [np.mean([one[measure].p < 1 - LEVEL for one in found]) for _, found in studied]
        assert small[2] <= 1 - at_least(LEVEL, NUMBER)
        assert small[0] > 0.3  # five points on average, twelve in the worst group


def test_the_truth_is_that_of_a_very_large_study() -> None:
    world = WORLDS["groups alike"]._replace(trainings=0.0)
    spread = np.sqrt(1 + world.objects**2 + world.places**2 + world.luck**2)
    assert truth(world) == pytest.approx((norm.cdf(1 / spread),) * 2 + (0, 0))
