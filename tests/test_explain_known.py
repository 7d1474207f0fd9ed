"""Known answers of the measures that any map can be asked about; other libraries agree where they have the measure."""

import warnings
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr
from skimage.filters import threshold_otsu

from fieldmark.explain import (
    deletion,
    energy_pointing,
    forced_mask,
    gini,
    infidelity,
    insertion,
    leak,
    mask_otsu,
    mask_stability,
    max_sensitivity,
    morf_lerf,
    pointing_game,
    randomisation,
    rank_accuracy,
)

KEY_1 = np.array([7])


def found(score: dict[str, Any]) -> dict[str, list[float]]:
    return {metric: one.values.tolist() for metric, one in score.items()}


def linear(keep_Bhw: np.ndarray) -> np.ndarray:
    return np.asarray((keep_Bhw.reshape(len(keep_Bhw), 4) * [0.1, 0.2, 0.3, 0.4]).sum(1))


# Where it lies


def test_the_highest_pixel_is_drawn_from_all_that_are_as_high() -> None:
    object_BHW = np.zeros((3, 4, 4), np.uint8)
    object_BHW[:2, :2, :3] = 1  # all of the first token, half of the second
    map_Bhw = np.array([[[2.0, 2.0], [1.0, 0.0]], [[0.0, 2.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]]])
    score = pointing_game.score(map_Bhw, object_BHW)["pointing_game"]
    assert score.values[:2].tolist() == [0.75, 0.5]
    assert np.isnan(score.values[2])  # no object
    assert score.chance == 6 / 16


def test_rank_accuracy_is_the_mean_over_all_ways_to_break_ties() -> None:
    object_n, weight_n = np.array([1, 0, 1, 0, 0, 1]), np.array([3.0, 2, 2, 2, 1, 0])
    shares = []
    for order in permutations(range(6)):  # later ones yield
        top = sorted(order, key=lambda pixel: -weight_n[pixel])[:3]
        shares.append(object_n[top].mean())
    score = rank_accuracy.score(weight_n.reshape(1, 2, 3), object_n.reshape(1, 2, 3))["rank_accuracy"]
    assert score.value == pytest.approx(np.mean(shares))
    assert score.chance == 0.5


def test_otsus_rule_gives_the_overlap_of_what_lies_above_it() -> None:
    object_BHW = np.zeros((2, 4, 4), np.uint8)
    object_BHW[0, :2] = 1  # the upper two tokens, 8 pixels
    score = mask_otsu.score(np.array([[[0.9, 0.8], [0.7, 0.1]], [[1.0, 0.0], [0.0, 0.0]]]), object_BHW)
    expected = {  # three tokens, 12 pixels, are above
        "mask_iou_otsu": 8 / 12, "mask_dice_otsu": 16 / 20, "mask_precision_otsu": 8 / 12, "mask_recall_otsu": 1.0,
    }  # fmt: skip
    assert found(score) == {metric: pytest.approx([value, np.nan], nan_ok=True) for metric, value in expected.items()}
    assert [one.chance for one in score.values()] == [8 / 16, 16 / 24, 8 / 16, 12 / 16]


def test_otsus_threshold_is_that_of_scikit_image() -> None:
    for seed in range(20):
        map_n = np.random.default_rng(seed).integers(0, 12, 64).astype(np.float64)
        expected = map_n > threshold_otsu(map_n.astype(np.uint8))
        np.testing.assert_array_equal(mask_otsu.above(map_n, np.ones(64)), expected)


@pytest.fixture(scope="module")
def quantus() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries it imports
        import quantus

    return quantus


def test_quantus_agrees_on_where_a_map_lies_and_how_sparse_it_is(quantus: Any) -> None:
    random = np.random.default_rng(0)
    map_Bhw, object_BHW = random.random((6, 8, 8)), random.random((6, 8, 8)) < 0.3  # no ties: Quantus breaks none
    given = {"a_batch": map_Bhw[:, None].copy(), "s_batch": object_BHW[:, None], "x_batch": map_Bhw[:, None] * 0}
    for measure, name in {
        energy_pointing: "RelevanceMassAccuracy", rank_accuracy: "RelevanceRankAccuracy",
        pointing_game: "PointingGame", gini: "Sparseness",
    }.items():  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = getattr(quantus, name)(abs=name == "Sparseness", normalise=False, disable_warnings=True)
            expected_B = np.array(theirs(model=None, y_batch=np.zeros(6, int), **given), np.float64)
        (ours,) = measure.score(*([map_Bhw] if measure is gini else [map_Bhw, object_BHW])).values()
        np.testing.assert_allclose(ours.values, expected_B, atol=1e-6, err_msg=name)  # Quantus adds 1e-7 to be safe


def test_gini_of_one_token_and_of_none() -> None:
    assert gini.score(np.eye(4)[None, :1])["gini"].values.tolist() == [0.75]
    assert np.isnan(gini.score(np.zeros((1, 2, 2)))["gini"].values).all()


# What it is worth


def test_curves_of_a_linear_model_are_exact_and_their_cells_are_the_curve() -> None:
    map_Bhw = np.array([[[4.0, 2], [3, 1]]])
    shown = insertion.score(map_Bhw, key_B=KEY_1, probability=linear)["insertion"]
    # 1st, 3rd, 2nd, 4th: 0, .1, .4, .6, 1
    expected = {"shown:0": 0.0, "shown:0.25": 0.1, "shown:0.5": 0.4, "shown:0.75": 0.6, "shown:1": 1.0}
    assert shown.means() == pytest.approx(expected)
    assert shown.value == pytest.approx((0.1 + 0.4 + 0.6 + 0.5) / 4)
    gap = morf_lerf.score(map_Bhw, key_B=KEY_1, probability=linear)["morf_lerf"]
    # least important first leaves 1, .6, .4, .1, 0; most important first 1, .9, .6, .4, 0
    assert [*gap.means().values()] == pytest.approx([0, -0.3, -0.2, -0.3, 0])
    assert gap.value == pytest.approx(-0.8 / 4)


def test_a_curve_is_worth_the_area_under_each_of_its_examples() -> None:
    random = np.random.default_rng(1)
    map_Bhw, keys = random.random((5, 6, 6)), np.arange(5)  # 36 tokens in 25 strides, which are not even

    def uneven(keep_Bhw: np.ndarray) -> np.ndarray:
        return np.asarray((keep_Bhw.mean((1, 2)) + map_Bhw[:, 0, 0] * keep_Bhw[:, 0, 0]) ** 2 / 4)

    score = deletion.score(map_Bhw, magnitude_Bhw=map_Bhw, key_B=keys, probability=uneven)["deletion_own"]
    x_S = np.array([float(cell.split(":")[1]) for cell in dict.fromkeys(score.cells)])
    area_B = np.trapezoid(score.values.reshape(-1, 5), np.round(x_S * 36) / 36, axis=0)
    assert score.value == pytest.approx(area_B.mean(), abs=1e-14)
    assert sum(score.weights.values()) == pytest.approx(1)


def test_without_the_means_nothing_is_measured() -> None:
    map_Bhw = np.ones((1, 2, 2))
    assert insertion.score(map_Bhw, key_B=KEY_1, probability=None) == {}
    assert morf_lerf.score(map_Bhw, key_B=KEY_1, probability=None) == {}
    assert infidelity.score(map_Bhw, key_B=KEY_1, logit=None) == {}
    assert max_sensitivity.score(map_Bhw, disturbed_map=None) == {}
    assert randomisation.score(map_Bhw, randomised_map=None) == {}
    assert leak.score(map_Bhw, answers=linear, answers_replaced=None) == {}


def test_infidelity_is_the_part_of_the_fall_that_the_map_leaves() -> None:
    """One token counts and the map names two others: what is left follows from the sets alone."""
    keys = np.arange(3)
    map_Bhw = np.tile(np.array([[0.0, 1.0], [1.0, 0.0]]), (3, 1, 1))
    score = infidelity.score(map_Bhw, key_B=keys, logit=lambda keep_Bhw: 5 + 2 * keep_Bhw[:, 0, 0])
    removed_DBhw = infidelity.removals(keys, (2, 2), 0.5, 20)
    fall_DB, said_DB = 2 * removed_DBhw[:, :, 0, 0], removed_DBhw[:, :, 0, 1] + removed_DBhw[:, :, 1, 0]
    scale_B = (fall_DB * said_DB).mean(0) / (said_DB**2).mean(0)
    expected_B = ((fall_DB - scale_B * said_DB) ** 2).mean(0)
    np.testing.assert_allclose(score["infidelity"].values, expected_B)
    np.testing.assert_allclose(score["infidelity_relative"].values, expected_B / (fall_DB**2).mean(0))


def test_a_map_of_contributions_is_faithful_at_any_scale_and_a_map_of_zeros_explains_nothing() -> None:
    exact_Bhw = np.array([[[0.1, 0.2], [0.3, 0.4]]])
    for map_Bhw, expected in ((exact_Bhw, 0.0), (-7 * exact_Bhw, 0.0), (0 * exact_Bhw, 1.0)):
        score = infidelity.score(map_Bhw, key_B=KEY_1, logit=linear)
        assert score["infidelity_relative"].value == pytest.approx(expected, abs=1e-12)


def test_infidelity_of_a_model_that_does_not_care_is_unknown() -> None:
    score = infidelity.score(np.ones((1, 2, 2)), key_B=KEY_1, logit=lambda keep_Bhw: np.ones(len(keep_Bhw)))
    assert score["infidelity"].value == 0
    assert np.isnan(score["infidelity_relative"].value)


def test_the_largest_change_counts() -> None:
    map_Bhw = np.random.default_rng(2).random((3, 2, 2))
    asked = []

    def disturbed(radius: float, draw: int) -> np.ndarray:
        asked.append((radius, draw))
        return map_Bhw * (1 + radius * np.array([1.0, 0.5, 0.0])[:, None, None] * (-1) ** draw * (draw == 2 or 0.3))

    score = max_sensitivity.score(map_Bhw, disturbed_map=disturbed, radius=0.2, draws=3)["max_sensitivity"]
    assert score.values.tolist() == pytest.approx([0.2, 0.1, 0.0])
    assert asked == [(0.2, 1), (0.2, 2), (0.2, 3)]


def test_randomisation_is_spearmans_and_unknown_where_nothing_is_ranked() -> None:
    random = np.random.default_rng(3)
    map_Bhw, other_DBhw = random.random((3, 3, 3)).round(1), random.random((2, 3, 3, 3)).round(1)
    map_Bhw[2] = 0.5
    score = randomisation.score(map_Bhw, randomised_map=lambda draw: other_DBhw[draw], draws=2)["randomisation"]
    expected = [np.mean([spearmanr(map_Bhw[b].ravel(), o[b].ravel()).statistic for o in other_DBhw]) for b in (0, 1)]
    assert score.values.tolist() == pytest.approx([*expected, np.nan], nan_ok=True)


# Whether it holds


def test_stability_compares_with_the_same_picture_and_chance_with_the_others() -> None:
    map_Bhw = np.array([[[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 0.0]]])
    varied_Bhw = np.array([[[1.0, 1.0]], [[0.0, 0.5]], [[1.0, 0.0]]])
    asked = []
    score = mask_stability.score(map_Bhw, varied_map=lambda name: asked.append(name) or varied_Bhw)  # type: ignore[func-returns-value]
    assert asked == ["mixed_rand"]
    iou, cosine = score["mask_stability_iou"], score["mask_stability_cosine"]
    assert iou.values.tolist() == pytest.approx([0.5, 0.5, np.nan], nan_ok=True)  # a mask of zeros lies nowhere
    assert cosine.values.tolist() == pytest.approx([0.5**0.5, 1.0, np.nan], nan_ok=True)
    assert iou.chance == pytest.approx((0 + 1 + 0.5 + 0) / 4)  # first with 2nd and 3rd, second with 1st and 3rd
    assert cosine.chance == pytest.approx((0 + 1 + 0.5**0.5 + 0) / 4)


def test_forced_masks_are_made_of_the_own_one() -> None:
    mask_Bhw = np.zeros((1, 5, 5))
    mask_Bhw[0, 1:4, 1:4] = 1
    changed = forced_mask.changed(mask_Bhw)
    np.testing.assert_array_equal(changed["inverted"], 1 - mask_Bhw)
    np.testing.assert_array_equal(changed["dilated"], np.ones((1, 5, 5)))
    assert np.argwhere(changed["eroded"]).tolist() == [[0, 2, 2]]
    np.testing.assert_array_equal(forced_mask.changed(np.ones((1, 2, 2)))["eroded"], np.ones((1, 2, 2)))


def test_forced_accuracy_tells_which_part_was_needed() -> None:
    mask_Bhw = np.array([[[1.0, 1.0, 0.0]], [[1.0, 1.0, 0.0]]])
    parts_BPhw = np.array([[[[True, False, False]], [[False, True, False]]]] * 2)

    def first_token(keep_Bhw: np.ndarray) -> np.ndarray:  # the second example is of the other class
        return np.stack([keep_Bhw[:, 0, 0], 1 - keep_Bhw[:, 0, 0]], 1)

    score = forced_mask.score(mask_Bhw, label_B=np.array([0, 1]), answers=first_token, parts_BPhw=parts_BPhw)
    assert found(score) == {
        "forced_own": [1, 0], "forced_inverted": [0, 1], "forced_dilated": [1, 0], "forced_eroded": [1, 0],
        "forced_part_0": [0, 1], "forced_part_1": [1, 0],
    }  # fmt: skip
    assert {one.chance for one in score.values()} == {0.5}
