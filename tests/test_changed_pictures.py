"""Measures on changed pictures (other backgrounds, lost patches, noise), by hand."""

import numpy as np
import pandas as pd
import pytest
from toy_classifiers import CLASSES, background_reader, oracle, recipes, scores, vary

from fieldmark.core import plugins
from fieldmark.core.contracts import Score
from fieldmark.core.errors import FieldmarkError


def test_corruption_averages_over_severities():
    def fails_at_5(table: pd.DataFrame) -> np.ndarray:
        return oracle(table) if not table["variant"].str.endswith(":5").any() else 1 - oracle(table)

    (score,) = scores("corruption", fails_at_5, recipes()).values()
    assert score.means() == {"gaussian_noise:1": 1, "gaussian_noise:3": 1, "gaussian_noise:5": 0}
    assert score.value == pytest.approx(2 / 3)


def test_the_challenge_is_lost_on_the_first_background_that_fools():
    def fooled_by_the_third(table: pd.DataFrame) -> np.ndarray:
        wrong = (table["variant"] == "background:3") & (table["n"] == 0)
        return np.where(wrong.to_numpy()[:, None], 1 - oracle(table), oracle(table))

    challenge = plugins.find("robustness", "challenge")
    for backgrounds, value in {2: 1, 3: 0.8, 8: 0.8}.items():
        found = challenge.score(fooled_by_the_third, recipes(), vary=vary, classes=CLASSES, backgrounds=backgrounds)
        assert found["challenge_accuracy"].means() == {f"backgrounds:{backgrounds}": pytest.approx(value)}
        assert found["challenge_accuracy"].counts() == {f"backgrounds:{backgrounds}": 20}  # an object counts once


def test_flips_are_told_apart_by_kind():
    (score,) = scores("flip_rate", background_reader, recipes()).values()
    assert score.means() == {"same kind": 0, "other kind": 1}
    assert score.counts() == {"same kind": 80, "other kind": 80}
    (score,) = scores("flip_rate", lambda table: 1 - oracle(table), recipes()).values()
    assert score.value == 0  # wrong, but not because of the background


def test_an_occlusion_curve_is_its_points_and_the_area_under_it():
    def half_way(table: pd.DataFrame) -> np.ndarray:
        lost = table["variant"].str.partition(":")[2].where(table["variant"] != "original", "0").astype(float)
        return np.where((lost >= 0.5).to_numpy()[:, None], 1 - oracle(table), oracle(table))

    occlusion = plugins.find("robustness", "occlusion")
    found = occlusion.score(half_way, recipes(), vary=vary, classes=CLASSES, shares=(0, 0.2, 0.5, 1))
    curve = found["occlusion_random"]
    assert curve.means() == {"random:0": 1, "random:0.2": 1, "random:0.5": 0, "random:1": 0}
    assert curve.value == pytest.approx(0.2 + 0.3 / 2)
    for shares in [(0.5,), (0.5, 0.2), (0, 0, 1), (0, 2)]:
        with pytest.raises(FieldmarkError, match="occlusion.shares is"):
            occlusion.score(oracle, recipes(), vary=vary, classes=CLASSES, shares=shares)


def relative(plus: float, minus: float) -> float:
    values = np.array([plus, minus])
    return Score(values, np.array(["b", "f"]), np.arange(2), "relative", 0.0, {"b": 1.0, "f": -1.0}).value


@pytest.mark.parametrize(
    ("on_background", "on_object", "value"),
    [
        (0.9, 0.5, 2 / 3),  # .4 / (2 x .3)
        (0.5, 0.9, -2 / 3),
        (0.6, 0.2, 0.5),  # .4 / (2 x .4)
        (1, 0.5, 1), (0.5, 0, 1), (0, 0.5, -1), (1, 0, 1),  # as different as their mean allows
        (0.7, 0.7, 0), (1, 1, 0), (0, 0, 0),
    ],
)  # fmt: skip
def test_relative_foreground_sensitivity_by_hand(on_background, on_object, value):
    assert relative(on_background, on_object) == pytest.approx(value)


def test_relative_foreground_sensitivity_of_the_unknown_is_unknown():
    assert np.isnan(relative(np.nan, 0.5)) and np.isnan(relative(1, np.nan))


def test_a_background_reader_is_more_sensitive_off_the_object_where_backgrounds_are_usual():
    usual = recipes().query("group == 'bird on water' or group == 'mammal on land'")
    (score,) = scores("foreground_sensitivity", background_reader, usual).values()
    assert score.value == -1
    assert score.means() == {
        "bird under noise_background:0.2": 1, "bird under noise_object:0.2": 1,
        "mammal under noise_background:0.2": 0, "mammal under noise_object:0.2": 1,
    }  # fmt: skip


def test_classes_count_the_same_in_foreground_sensitivity():
    few = recipes().query("label == 'bird' or n == 0")  # 10 birds, 2 mammals
    (score,) = scores("foreground_sensitivity", oracle, few).values()
    assert score.value == 1  # f = .5, not 10/12
