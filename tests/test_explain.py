"""Every measure is shown the truth, its opposite and a uniform map; the known answers are derived by hand."""

from inspect import signature
from itertools import permutations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from fieldmark.core import plugins
from fieldmark.explain import (
    area_correlation,
    border_bias,
    coherence,
    deletion,
    energy_pointing,
    mask_area,
    mask_iou,
    token_auc,
)
from fieldmark.explain._removal import answers
from fieldmark.explain._tokens import object_pixels, token_pixels

ASKED = {name: signature(plugins.find("explain", name).score).parameters for name in plugins.names("explain")}
MEASURES = [name for name, asked in ASKED.items() if "units" not in asked]  # test_monoscore.py asks those of units
RANKED = [name for name in MEASURES if plugins.find("explain", name).HIGHER_IS_BETTER is not None]
SCALED = {  # what scaling the mask does change: they say how large it is, use it as weights, or compare it with another
    "mask_area", "active_fraction", "neighbour_difference", "border_bias", "forced_inverted",
    "deletion_weighted_own", "deletion_weighted_magnitude", "deletion_weighted_cam", "deletion_weighted_random",
    "max_sensitivity", "mask_stability_iou",
}  # fmt: skip
NO_CHANCE = {"leak"}  # a mask without information hides nothing in particular
B, h, w, SIDE = 6, 4, 4, 8  # tokens cover SIDE x SIDE pixels


def truth() -> np.ndarray:
    """Objects of 3 to 8 of 16 tokens, at other places in each example."""
    random = np.random.default_rng(0)
    return np.stack([random.permutation(16) < 3 + example for example in range(B)]).reshape(B, h, w).astype(float)


def pixels(map_Bhw: np.ndarray) -> np.ndarray:
    return np.kron(map_Bhw, np.ones((1, SIDE, SIDE))).astype(np.uint8) * 255


def share_kept(keep_Bhw: np.ndarray) -> np.ndarray:
    """A classifier that knows the label as surely as it sees the object."""
    return (keep_Bhw * truth()).sum((1, 2)) / truth().sum((1, 2))


def share_and_rest(keep_Bhw: np.ndarray, outside_Bhw: np.ndarray | None = None, content: str = "") -> np.ndarray:
    """The same classifier's answers, whatever the mask's scale; it peeks, and misses what is replaced."""
    replaced_B = 0.0 if outside_Bhw is None else share_kept(outside_Bhw) * (content == "turned")
    right_B = share_kept(keep_Bhw / keep_Bhw.max((1, 2), keepdims=True).clip(1e-9)) - replaced_B
    return np.stack([right_B, 1 - right_B], axis=1)


def scores(name: str, map_Bhw: np.ndarray, **options):
    magnitude_Bhw, evidence_Bhw, *others_DBhw = np.random.default_rng(1).random((12, B, h, w))
    measure = plugins.find("explain", name)
    known = {
        "map_Bhw": map_Bhw,
        "mask_Bhw": map_Bhw,
        "attribution_Bhw": map_Bhw,
        "logit": share_kept,
        "label_B": np.zeros(B, int),
        "answers": share_and_rest,
        "answers_replaced": share_and_rest,
        "parts_BPhw": None,
        "varied_map": lambda variant: others_DBhw[0],
        "randomised_map": lambda draw: others_DBhw[draw],
        "disturbed_map": lambda radius, draw: (1 + radius * others_DBhw[draw - 1]) * truth(),
        "object_BHW": pixels(truth()),
        "magnitude_Bhw": magnitude_Bhw,
        "key_B": np.arange(B) - 2,  # keys are hashes: negative ones occur
        "probability": share_kept,
        "evidence_Bhw": evidence_Bhw - 0.5,  # it may speak against
    }
    return measure.score(**plugins.asked(measure.score, known), **options)


def own(name: str, map_Bhw: np.ndarray):
    """The first metric of a measure is about the model's own mask; later ones are what it's compared with."""
    return next(iter(scores(name, map_Bhw).values()))


@pytest.fixture(params=MEASURES)
def name(request) -> str:
    return request.param


@pytest.mark.parametrize("name", RANKED)
def test_truth_is_best_and_its_opposite_worst(name):
    sign = 1 if plugins.find("explain", name).HIGHER_IS_BETTER else -1
    random = np.random.default_rng(2)
    others = [sign * own(name, random.random((B, h, w))).value for _ in range(20)]
    best, worst = sign * own(name, truth()).value, sign * own(name, 1 - truth()).value
    assert worst <= min(others) < max(others) <= best  # a single point may lie right, or wrong, six times by luck
    assert worst < np.mean(others) < best


@pytest.mark.parametrize(  # where no mask is larger, none is ranked
    "name", sorted({*RANKED} - {"area_correlation"} - NO_CHANCE)
)
def test_uniform_map_is_at_chance(name):
    for level in (0.3, 1.0):
        score = own(name, np.full((B, h, w), level))
        assert score.value == pytest.approx(score.chance, abs=1e-12)


def test_positive_scaling_changes_nothing(name):
    map_Bhw = np.random.default_rng(3).random((B, h, w)).round(1)  # with ties
    scaled = scores(name, map_Bhw * 3.7)
    for metric, score in scores(name, map_Bhw).items():
        same = np.allclose(scaled[metric].values, score.values, atol=1e-12)
        assert same == (metric not in SCALED)


def test_examples_do_not_depend_on_each_other(name):
    map_Bhw = np.random.default_rng(3).random((B, h, w)).round(1)
    changed = map_Bhw.copy()
    changed[1:] = 0.5
    for metric, score in scores(name, map_Bhw).items():
        if name != "area_correlation":  # which ranks them against each other
            assert scores(name, changed)[metric].values[::B].tolist() == score.values[::B].tolist()
        assert score.rows.tolist() == list(range(B)) * len(score.means())  # a curve sees each at all its points
        assert set(score.cells) == set(score.means())


def test_meaning_is_one_sentence(name):
    meaning = plugins.find("explain", name).MEANING
    assert meaning[0].isupper()
    assert meaning.endswith(".")
    assert "\n" not in meaning


def test_known_extremes():
    area_B = (3 + np.arange(B)) / 16
    expected = {  # truth, opposite
        "mask_iou_top_area": (1.0, 0.0),  # objects cover at most half: the opposite fills its area elsewhere
        "token_auc": (1.0, 0.0),
        "energy_pointing": (1.0, 0.0),
        "area_correlation": (1.0, -1.0),
        "deletion_own": ((1 - area_B / 2).mean(), (area_B / 2).mean()),  # flat at 1, then a ramp; or a ramp, then 0
        "insertion": ((1 - area_B / 2).mean(), (area_B / 2).mean()),  # the same, read backwards
        "morf_lerf": ((1 - area_B).mean(), (area_B - 1).mean()),  # what is between them
        "forced_inverted": (0.0, 1.0),
        "leak": (0.0, 1.0),
    }
    located = ("rank_accuracy", "pointing_game", "mask_iou_otsu", "mask_dice_otsu", "mask_precision_otsu", "forced_own")
    expected |= dict.fromkeys((*located, "mask_recall_otsu"), (1.0, 0.0))
    found = {}
    for name in MEASURES:
        for position, map_Bhw in enumerate((truth(), 1 - truth())):
            for metric, score in scores(name, map_Bhw).items():
                found.setdefault(metric, [0, 0])[position] = score.value
    assert {metric: tuple(found[metric]) for metric in expected} == {
        metric: pytest.approx(values) for metric, values in expected.items()
    }


def test_unknown_without_an_object():
    object_BHW = np.zeros((2, 4, 4), np.uint8)
    object_BHW[0, :2] = 255
    for measure in (mask_iou, token_auc, energy_pointing):
        (score,) = measure.score(np.array([[[1.0, 1], [0, 0]]] * 2), object_BHW).values()
        assert score.values[0] == 1
        assert np.isnan(score.values[1])
        assert score.counts() == {"all": 1}
        (score,) = measure.score(np.ones((2, 2, 2)), np.zeros((2, 4, 4))).values()
        assert np.isnan(score.value)


def test_mask_that_is_zero_everywhere_points_nowhere():
    (score,) = scores("energy_pointing", np.zeros((B, h, w))).values()
    assert np.isnan(score.values).all()
    assert score.chance == pytest.approx(truth().mean())


def test_expected_iou_counts_every_way_to_break_a_tie():
    # 4 tied pixels, 2 of them object: 6 ways to draw 2, hitting 2, 1 (x4) or 0; IoU 1, 1/3 and 0.
    assert mask_iou.expected_iou(np.zeros(4), np.array([1.0, 1, 0, 0]), np.ones(4)) == pytest.approx((1 + 4 / 3) / 6)
    # One sure hit, then one of 2 tied pixels, one of them object: IoU 1 or 1/3.
    map_n, object_n = np.array([2.0, 1, 1]), np.array([1.0, 1, 0])
    assert mask_iou.expected_iou(map_n, object_n, np.ones(3)) == pytest.approx((1 + 1 / 3) / 2)


def test_auc_agrees_with_scikit_learn():
    random = np.random.default_rng(4)
    weights_Bn, positive_Bn = random.random((5, 30)).round(1), random.random((5, 30)) < 0.4
    expected = [roc_auc_score(positive, weights) for positive, weights in zip(positive_Bn, weights_Bn, strict=True)]
    np.testing.assert_allclose(token_auc.auc(weights_Bn, positive_Bn), expected)


def test_tokens_cover_the_pixels_nearest_upsampling_gives_them():
    object_BHW = (np.random.default_rng(5).random((2, 7, 10)) < 0.5).astype(np.uint8)
    rows, columns = np.arange(7) * 3 // 7, np.arange(10) * 4 // 10  # token of each pixel
    counted = np.zeros((2, 3, 4))
    np.add.at(counted, (slice(None), rows[:, None], columns[None]), object_BHW)
    np.testing.assert_array_equal(object_pixels(object_BHW, 3, 4), counted)
    np.testing.assert_array_equal(token_pixels(7, 10, 3, 4), np.outer(np.bincount(rows), np.bincount(columns)))


def test_deletion_of_a_linear_model_is_exact():
    def linear(keep_Bhw: np.ndarray) -> np.ndarray:
        return (keep_Bhw.reshape(1, 4) * [0.1, 0.2, 0.3, 0.4]).sum(1)

    found = deletion.score(
        np.array([[[1.0, 2], [3, 4]]]),
        magnitude_Bhw=np.array([[[4.0, 3], [2, 1]]]),
        key_B=np.array([7]),
        probability=linear,
    )
    # 1, .9, .7, .4, 0 when the weakest goes first; 1, .6, .3, .1, 0 when the strongest does.
    assert found["deletion_own"].value == pytest.approx((0.5 + 0.9 + 0.7 + 0.4) / 4)
    assert found["deletion_magnitude"].value == pytest.approx((0.5 + 0.6 + 0.3 + 0.1) / 4)
    for ranking in ("own", "magnitude", "random"):
        assert found[f"deletion_{ranking}"].chance == pytest.approx(found["deletion_random"].value)
    assert [*found["deletion_own"].means().values()] == pytest.approx([1.0, 0.9, 0.7, 0.4, 0.0])  # the curve itself


def test_weighted_deletion_starts_from_the_model_as_it_runs_and_cam_ranks_by_evidence():
    found = deletion.score(
        np.array([[[0.5, 0.25], [1.0, 0.0]]]),
        magnitude_Bhw=np.array([[[1.0, 2], [3, 4]]]),
        key_B=np.array([7]),
        probability=lambda keep_Bhw: (keep_Bhw.reshape(1, 4) * [0.1, 0.2, 0.3, 0.4]).sum(1),
        evidence_Bhw=np.array([[[2.0, 1], [-1, -2]]]),
    )
    # Weights .5, .25, 1, 0 leave .05 + .05 + .3 + 0 = .4 of the answer; the tokens go 4th, 2nd, 1st, 3rd.
    assert found["deletion_weighted_own"].value == pytest.approx((0.2 + 0.4 + 0.35 + 0.3) / 4)
    assert found["deletion_weighted_magnitude"].value == pytest.approx((0.2 + 0.35 + 0.3 + 0.0) / 4)
    assert found["deletion_weighted_cam"].value == pytest.approx((0.2 + 0.4 + 0.1 + 0.05) / 4)
    assert found["deletion_cam"].value == pytest.approx((0.5 + 0.6 + 0.3 + 0.1) / 4)
    assert found["deletion_weighted_own"].chance == pytest.approx(found["deletion_weighted_random"].value)


def test_a_mask_of_ones_weighs_nothing():
    found = scores("deletion", np.ones((B, h, w)))
    for ranking in ("own", "magnitude", "cam", "random"):
        assert found[f"deletion_{ranking}"].value == pytest.approx(found[f"deletion_weighted_{ranking}"].value)


def test_deletion_tells_what_it_is_given_the_means_for():
    seen = {"magnitude_Bhw": np.ones((1, 2, 2)), "key_B": np.array([7])}
    map_Bhw = np.ones((1, 2, 2))
    assert deletion.score(map_Bhw, **seen, probability=None) == {}
    without = deletion.score(map_Bhw, **seen, probability=lambda keep_Bhw: keep_Bhw[:, 0, 0])
    assert [*without] == [
        f"{family}_{ranking}"
        for family in ("deletion", "deletion_weighted")
        for ranking in ("own", "magnitude", "random")
    ]


def test_deletion_in_strides_ends_with_nothing_left():
    kept = []

    def watch(keep_Bhw: np.ndarray) -> np.ndarray:
        kept.append(float(keep_Bhw.sum((1, 2)).max()))
        return share_kept(keep_Bhw)

    ranks_Bhw = np.tile(np.arange(16).reshape(1, h, w), (B, 1, 1))
    assert answers(ranks_Bhw, np.ones((B, h, w)), watch, steps=4).shape == (5, B)
    assert kept == [16, 12, 8, 4, 0]


def test_random_order_is_the_key_s_alone():
    random = scores("deletion", truth())["deletion_random"]
    other_mask = scores("deletion", 1 - truth())["deletion_random"]
    np.testing.assert_array_equal(random.values, other_mask.values)
    assert len(set(random.values)) > 1


def values(measure, map_Bhw, object_BHW) -> dict[str, list[float]]:
    """Return the observations of a measure that looks at nothing but the mask and the object."""
    known = {"map_Bhw": map_Bhw, "mask_Bhw": map_Bhw, "object_BHW": object_BHW}
    found = measure.score(**plugins.asked(measure.score, known))
    return {metric: score.values.tolist() for metric, score in found.items()}


def test_area_counts_weight_tokens_and_spread():
    map_Bhw = np.array([[[0.6, 0.6], [0.0, 0.0]], [[0.5, 0.5], [0.5, 0.5]], [[0.0, 0.9], [0.0, 0.0]]])
    found = values(mask_area, map_Bhw, np.zeros((3, 4, 4)))
    assert found["mask_area"] == pytest.approx([0.3, 0.5, 0.225])
    assert found["active_fraction"] == [0.5, 0.0, 0.25]  # one half is not above one half
    assert found["mask_entropy"] == pytest.approx([0.5, 1.0, 0.0])  # ln 2, ln 4 and ln 1, over ln 4


def test_the_entropy_of_an_empty_mask_or_of_one_token_is_unknown():
    assert np.isnan(values(mask_area, np.zeros((1, 2, 2)), np.zeros((1, 4, 4)))["mask_entropy"]).all()
    assert np.isnan(values(mask_area, np.ones((1, 1, 1)), np.zeros((1, 4, 4)))["mask_entropy"]).all()


def test_neighbours_differ_most_on_a_chessboard_and_least_in_halves():
    board = np.indices((4, 4)).sum(0) % 2.0
    halves = np.repeat([[1.0], [0.0]], 2, axis=0) * np.ones((1, 4))
    found = values(coherence, np.stack([board, halves, np.full((4, 4), 0.3)]), np.zeros((3, 4, 4)))
    assert found["neighbour_difference"] == pytest.approx([1.0, 4 / 24, 0.0])  # 4 of the 24 edges cross the middle
    assert found["neighbour_difference_relative"] == pytest.approx([120 / 64, 4 / 24 * 120 / 64, np.nan], nan_ok=True)


def test_shuffled_tokens_differ_from_their_neighbours_as_from_any_other():
    """The mean over all 720 orders of a 2 x 3 map is exactly the chance level."""
    map_n = np.array([0.1, 0.2, 0.4, 0.4, 0.7, 0.9])
    orders = np.array([*permutations(map_n)]).reshape(-1, 2, 3)
    found = values(coherence, orders, np.zeros((len(orders), 2, 3)))["neighbour_difference_relative"]
    assert np.mean(found) == pytest.approx(1.0)


def test_border_bias_compares_free_corners_with_free_inner_tokens():
    map_hw = np.array([[0.9, 0.5, 0.1, 0.7], [0.5, 0.2, 0.4, 0.5], [0.3, 0.5, 0.5, 0.3]])
    object_BHW = np.zeros((3, 6, 8), np.uint8)
    object_BHW[1, 0, 0] = object_BHW[1, 3, 4] = 255  # one pixel each of a corner and of an inner token
    object_BHW[2, 2:4, 2:6] = 255  # all inner tokens
    found = values(border_bias, np.stack([map_hw] * 3), object_BHW)["border_bias"]
    assert found == pytest.approx([0.55 - 0.3, (0.7 + 0.3 + 0.3) / 3 - 0.2, np.nan], nan_ok=True)
    assert np.isnan(values(border_bias, np.ones((1, 2, 5)), np.zeros((1, 4, 10)))["border_bias"]).all()


def test_area_correlation_is_spearman_s():
    random = np.random.default_rng(6)
    map_Bhw = random.random((30, 2, 2)).round(1)
    object_BHW = (random.random((30, 4, 4)) < random.random((30, 1, 1))).astype(np.uint8)
    expected = spearmanr(map_Bhw.mean((1, 2)), object_BHW.mean((1, 2))).statistic
    assert np.mean(values(area_correlation, map_Bhw, object_BHW)["area_correlation"]) == pytest.approx(expected)


def test_area_correlation_is_unknown_where_all_masks_are_equally_large():
    assert np.isnan(scores("area_correlation", np.full((B, h, w), 0.3))["area_correlation"].values).all()
