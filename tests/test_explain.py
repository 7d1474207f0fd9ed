"""Every measure is shown the truth, its opposite and a uniform map; the known answers are derived by hand."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fieldmark.core import plugins
from fieldmark.explain import deletion, energy_pointing, mask_iou, token_auc
from fieldmark.explain._tokens import object_pixels, token_pixels

MEASURES = plugins.names("explain")
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


def scores(name: str, map_Bhw: np.ndarray, **options):
    magnitude_Bhw = np.random.default_rng(1).random((B, h, w))
    measure = plugins.find("explain", name)
    return measure.score(
        map_Bhw,
        pixels(truth()),
        magnitude_Bhw=magnitude_Bhw,
        key_B=np.arange(B) - 2,  # keys are hashes: negative ones occur
        probability=share_kept,
        **options,
    )


def own(name: str, map_Bhw: np.ndarray):
    """The first metric of a measure is about the model's own mask; later ones are what it's compared with."""
    return next(iter(scores(name, map_Bhw).values()))


@pytest.fixture(params=MEASURES)
def name(request) -> str:
    return request.param


def test_truth_is_best_and_its_opposite_worst(name):
    sign = 1 if plugins.find("explain", name).HIGHER_IS_BETTER else -1
    random = np.random.default_rng(2)
    others = [sign * own(name, random.random((B, h, w))).value for _ in range(20)]
    best, worst = sign * own(name, truth()).value, sign * own(name, 1 - truth()).value
    assert worst < min(others)
    assert max(others) < best


def test_uniform_map_is_at_chance(name):
    for level in (0.3, 1.0):
        score = own(name, np.full((B, h, w), level))
        assert score.value == pytest.approx(score.chance, abs=1e-12)


def test_positive_scaling_changes_nothing(name):
    map_Bhw = np.random.default_rng(3).random((B, h, w)).round(1)  # with ties
    for metric, score in scores(name, map_Bhw).items():
        np.testing.assert_allclose(scores(name, map_Bhw * 3.7)[metric].values, score.values, atol=1e-12)


def test_examples_do_not_depend_on_each_other(name):
    map_Bhw = np.random.default_rng(3).random((B, h, w)).round(1)
    changed = map_Bhw.copy()
    changed[1:] = 0.5
    for metric, score in scores(name, map_Bhw).items():
        assert scores(name, changed)[metric].values[0] == score.values[0]
        assert score.rows.tolist() == list(range(B))
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
        "deletion_own": ((1 - area_B / 2).mean(), (area_B / 2).mean()),  # flat at 1, then a ramp; or a ramp, then 0
    }
    found = {}
    for name in MEASURES:
        for position, map_Bhw in enumerate((truth(), 1 - truth())):
            for metric, score in scores(name, map_Bhw).items():
                found.setdefault(metric, [0, 0])[position] = score.value
    assert {metric: tuple(found[metric]) for metric in expected} == {
        metric: pytest.approx(values) for metric, values in expected.items()
    }


def test_unknown_without_an_object():
    nothing = {"magnitude_Bhw": np.ones((2, 2, 2)), "key_B": np.arange(2), "probability": lambda keep: keep[:, 0, 0]}
    object_BHW = np.zeros((2, 4, 4), np.uint8)
    object_BHW[0, :2] = 255
    for measure in (mask_iou, token_auc, energy_pointing):
        (score,) = measure.score(np.array([[[1.0, 1], [0, 0]]] * 2), object_BHW, **nothing).values()
        assert score.values[0] == 1
        assert np.isnan(score.values[1])
        assert score.counts() == {"all": 1}
        (score,) = measure.score(np.ones((2, 2, 2)), np.zeros((2, 4, 4)), **nothing).values()
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
        np.ones((1, 2, 2)),
        magnitude_Bhw=np.array([[[4.0, 3], [2, 1]]]),
        key_B=np.array([7]),
        probability=linear,
    )
    # 1, .9, .7, .4, 0 when the weakest goes first; 1, .6, .3, .1, 0 when the strongest does.
    assert found["deletion_own"].value == pytest.approx((0.5 + 0.9 + 0.7 + 0.4) / 4)
    assert found["deletion_magnitude"].value == pytest.approx((0.5 + 0.6 + 0.3 + 0.1) / 4)
    assert {score.chance for score in found.values()} == {found["deletion_random"].value}


def test_deletion_in_strides_ends_with_nothing_left():
    kept = []

    def watch(keep_Bhw: np.ndarray) -> np.ndarray:
        kept.append(float(keep_Bhw.sum((1, 2)).max()))
        return share_kept(keep_Bhw)

    deletion.area(np.tile(np.arange(16).reshape(1, h, w), (B, 1, 1)), watch, steps=4)
    assert kept == [16, 12, 8, 4, 0]


def test_random_order_is_the_key_s_alone():
    random = scores("deletion", truth())["deletion_random"]
    other_mask = scores("deletion", 1 - truth())["deletion_random"]
    np.testing.assert_array_equal(random.values, other_mask.values)
    assert len(set(random.values)) > 1
