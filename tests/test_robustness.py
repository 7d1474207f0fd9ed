"""Every robustness test is shown an oracle, a constant and a background reader; the known answers are derived by hand.

The toy test part: 4 groups of 5 examples (bird, mammal x land, water). Birds go with water, mammals with land.
"""

import numpy as np
import pandas as pd
import pytest
import toy_attack

from fieldmark.core import plugins
from fieldmark.core.contracts import Score
from fieldmark.core.errors import FieldmarkError
from fieldmark.robustness._accuracy import correct

CLASSES = ("bird", "mammal")
PAIRS = {"bird": "water", "mammal": "land"}
TRAIN = {"bird on water": 0.5, "mammal on land": 0.45, "bird on land": 0.03, "mammal on water": 0.02}
TESTS = plugins.names("robustness")


def recipes() -> pd.DataFrame:
    cells = [(label, background, n) for label in CLASSES for background in ("land", "water") for n in range(5)]
    table = pd.DataFrame(cells, columns=["label", "background", "n"])
    table["group"] = table["label"] + " on " + table["background"]
    table["example_id"] = table["group"] + " " + table["n"].astype(str)
    return table


def vary(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Other backgrounds, and what can't be seen any more; the variants not named here leave all as it is."""
    kind, _, number = name.partition(":")
    usual = table["label"].map(PAIRS)
    unusual = usual.map({"land": "water", "water": "land"})
    table = table.assign(variant=name)
    if name == "mixed_same":
        return table.assign(background=usual)
    if name == "mixed_next":
        return table.assign(background=unusual)
    if name == "mixed_rand":
        return table.assign(background=usual.where(table["n"] < 2, unusual))  # 2 of 5 as usual
    if kind == "background":  # kinds take turns
        return table.assign(background=((table["n"] + int(number)) % 2).map({0: "land", 1: "water"}))
    if kind in ("drop_object", "noise_object", "drop_background", "noise_background"):
        return table.assign(hidden=kind.partition("_")[2])
    return table


def one_hot(names: pd.Series) -> np.ndarray:
    return (names.to_numpy()[:, None] == np.asarray(CLASSES)).astype(float)


def oracle(table: pd.DataFrame) -> np.ndarray:
    return one_hot(blind(table["label"], table, "object"))


def background_reader(table: pd.DataFrame) -> np.ndarray:
    read = table["background"].map({background: label for label, background in PAIRS.items()})
    return one_hot(blind(read, table, "background"))


def blind(names: pd.Series, table: pd.DataFrame, what: str) -> pd.Series:
    """Who can't see what it reads says the first class."""
    return names.where(table["hidden"] != what, CLASSES[0]) if "hidden" in table else names


def constant(table: pd.DataFrame) -> np.ndarray:
    return np.tile([0.5, 0.5], (len(table), 1))  # a tie: the class listed first counts


def scores(name: str, predict, table: pd.DataFrame):
    test = plugins.find("robustness", name)
    known = {"predict": predict, "recipes": table, "vary": vary, "classes": CLASSES}
    known["attack"] = toy_attack.attack(predict, CLASSES, reads=predict is background_reader)
    return test.score(**plugins.asked(test.score, {**known, "pairs": PAIRS, "train_groups": TRAIN}))


@pytest.fixture(params=TESTS)
def name(request) -> str:
    return request.param


def merits(name: str, predict) -> pd.Series:
    """Values by metric, signed so that more is better."""
    sign = 1 if plugins.find("robustness", name).HIGHER_IS_BETTER else -1
    return pd.Series({metric: sign * score.value for metric, score in scores(name, predict, recipes()).items()})


def test_oracle_scores_best_and_the_cheat_is_caught(name):
    assert (merits(name, oracle) >= merits(name, background_reader)).all()
    assert (merits(name, oracle) > merits(name, background_reader)).any()


def test_constant_answers_do_not_beat_chance(name):
    sign = 1 if plugins.find("robustness", name).HIGHER_IS_BETTER else -1
    chance = pd.Series({metric: sign * score.chance for metric, score in scores(name, oracle, recipes()).items()})
    both = (merits(name, constant) + merits(name, lambda table: constant(table) * [0, 1])) / 2  # one knows the prior
    assert (both <= chance + 1e-12).all()


def test_empty_cell_is_nan_and_counted(name):
    for score in scores(name, oracle, recipes().iloc[:0]).values():
        assert np.isnan(score.value)
        assert set(score.counts().values()) == {0}
        assert np.isnan(list(score.means().values())).all()


def test_order_of_the_examples_does_not_matter(name):
    table = recipes()
    shuffled = table.iloc[np.random.default_rng(0).permutation(len(table))]  # index labels shuffled with the rows
    for metric, score in scores(name, background_reader, shuffled).items():
        assert score.value == scores(name, background_reader, table)[metric].value


def test_rows_point_at_the_recipes(name):
    for score in scores(name, oracle, recipes()).values():
        assert len(score.values) == len(score.cells) == len(score.rows)
        assert set(score.rows) == set(range(20))


def test_meaning_is_one_sentence(name):
    meaning = plugins.find("robustness", name).MEANING
    assert meaning[0].isupper()
    assert meaning.endswith(".")
    assert "\n" not in meaning


# (oracle, constant "bird", background reader), from the 4 x 5 table above.
KNOWN = {
    "average": (1, 0.5, 0.5),
    "worst_group": (1, 0, 0),
    "acc_groupmean": (1, 0.5, 0.5),
    "acc_trainprior": (1, 0.53, 0.95),  # birds are .50 + .03 of training; what is usual is .50 + .45
    "alignment_gap": (0, 0, 1),
    "acc_original": (1, 0.5, 0.5),
    "acc_only_fg": (1, 0.5, 0.5),
    "acc_no_fg": (1, 0.5, 0.5),
    "acc_only_bg_box": (1, 0.5, 0.5),
    "acc_only_bg_tiled": (1, 0.5, 0.5),
    "acc_mixed_same": (1, 0.5, 1),
    "acc_mixed_rand": (1, 0.5, 0.4),  # 2 of 5 backgrounds happen to be the usual one
    "acc_mixed_next": (1, 0.5, 0),
    "bg_gap": (0, 0, 0.6),  # 1 - .4
    "corruption_accuracy": (1, 0.5, 0.5),
    "challenge_accuracy": (1, 0.5, 0),  # on one of any two backgrounds the reader is wrong
    "flip_rate": (0, 0, 0.5),  # on the other kind always, on the same kind never
    "occlusion_random": (1, 0.5, 0.5),
    "occlusion_object": (1 / 6 + 5 / 12, 0.5, 0.5),  # 1 at share 0, whose weight is 1/6; else 1/2
    "occlusion_background": (1, 0.5, 0.5),
    "occlusion_gap": (5 / 12, 0, 0),
    "foreground_sensitivity": (1, 0, 0),  # (1 - .5) / (2 x .25); the reader is right on half of both
    "ece_15_equal_width": (0, 0, 0.5),  # the reader is sure and right half of the time
    "brier": (0, 0.5, 1),
    "nll": (0, np.log(2), 63 * np.log(2)),  # half of -log(2^-126), where probabilities are cut off
    "aurc": (0, 0.5, 0.5),
    "risk_at_coverage:0.8": (0, 0.5, 0.5),
    # the reader is right on 10 of 20; any distance moves its pixel across, but of 2 of them it gives no gradient
    "robust_pgd": (1, 0.5, 0.10625),  # .5 at 0, .1 from 1/4 of 8 on: .1 + .4 / 2 / 32
    "robust_apgd": (1, 0.5, 0.10625),
    "robust_worst_group": (1, 0, 0),
    "robust_background": (1, 0.5, 0.1),
    "robust_object": (1, 0.5, 0.5),  # it does not see the object
    "attention_drift": (0, 0, 0.4),  # 8 of 20 cross to the other side, and all of the mask with them
    "attention_drift_cosine": (0, 0, 0.4),
    "attention_drift_overlap": (0, 0, 0.4),
    "masking_one_step": (0, 0, 0),
    "masking_distance": (0, 0, 0),
    "masking_random": (0, 0, 0.1),  # what PGD misses: 2 of 20
    "masking_transfer": (0, 0, 0.1),
    "masking_straight_through": (0, 0, 0.1),
}
NO_GAP = {"alignment_gap", "bg_gap", "flip_rate", "occlusion_gap", "foreground_sensitivity", "ece_15_equal_width"}


@pytest.mark.parametrize("position, predict", [(0, oracle), (1, constant), (2, background_reader)])
def test_known_answers(position, predict):
    found = {metric: score.value for name in TESTS for metric, score in scores(name, predict, recipes()).items()}
    assert found == pytest.approx({metric: answers[position] for metric, answers in KNOWN.items()})


def test_chance_is_a_fair_guess_or_no_gap():
    found = {metric: score.chance for name in TESTS for metric, score in scores(name, oracle, recipes()).items()}
    gaps = NO_GAP | {metric for metric in found if metric.startswith(("attention_", "masking_"))}
    assert {metric for metric, chance in found.items() if chance == 0} == gaps
    assert {metric: chance for metric, chance in found.items() if chance not in (0, 0.5)} == {"nll": np.log(2)}


def test_missing_group_makes_the_worst_unknown():
    table = recipes().query("group != 'bird on land'")
    for name in ("worst_group", "acc_groupmean", "acc_trainprior"):
        (score,) = scores(name, oracle, table).values()
        assert np.isnan(score.value)
        assert score.counts() == {"bird on land": 0, "bird on water": 5, "mammal on land": 5, "mammal on water": 5}
        assert score.means()["bird on water"] == 1


def test_group_unseen_in_training_may_be_missing_from_the_test():
    test = plugins.find("robustness", "acc_trainprior")
    table = recipes().query("group != 'bird on land'")
    shares = {"bird on water": 0.5, "mammal on land": 0.5, "bird on land": 0.0}
    score = test.score(oracle, table, classes=CLASSES, train_groups=shares)["acc_trainprior"]
    assert score.value == 1


def test_alignment_gap_without_conflicting_examples_is_unknown():
    aligned = recipes().query("group == 'bird on water' or group == 'mammal on land'")
    (score,) = scores("alignment_gap", oracle, aligned).values()
    assert np.isnan(score.value)
    assert score.counts() == {"aligned": 10, "conflicting": 0}


def test_corruption_averages_over_severities():
    def fails_at_5(table: pd.DataFrame) -> np.ndarray:
        return oracle(table) if not table["variant"].str.endswith(":5").any() else 1 - oracle(table)

    (score,) = scores("corruption", fails_at_5, recipes()).values()
    assert score.means() == {"gaussian_noise:1": 1, "gaussian_noise:3": 1, "gaussian_noise:5": 0}
    assert score.value == pytest.approx(2 / 3)


def test_ties_go_to_the_class_listed_first():
    table = recipes()
    assert correct(constant, table, CLASSES).tolist() == [1.0] * 10 + [0.0] * 10


def test_broken_probabilities_are_refused():
    def not_finite(table: pd.DataFrame) -> np.ndarray:
        return np.where(np.arange(len(table))[:, None] < 3, np.nan, 0.5) * np.ones(2)

    with pytest.raises(FieldmarkError, match="non-finite probabilities for 3 of 20"):
        correct(not_finite, recipes(), CLASSES)
    with pytest.raises(FieldmarkError, match=r"shape \(20, 3\)"):
        correct(lambda table: np.ones((len(table), 3)), recipes(), CLASSES)


# Group measures and a direct computation


def guesses(seed: int, count: int = 300) -> tuple[pd.DataFrame, np.ndarray]:
    """Examples of random labels and backgrounds, some rare, with random probabilities."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"label": rng.choice(CLASSES, count), "background": rng.choice(["land", "water"], count)})
    table["background"] = table["background"].where(rng.random(count) < 0.7, table["label"].map(PAIRS))
    table["group"] = table["label"] + " on " + table["background"]
    return table, rng.dirichlet([1, 1], count)


@pytest.mark.parametrize("seed", range(5))
def test_group_measures_equal_a_direct_computation(seed):
    table, probabilities = guesses(seed)
    right = table.assign(right=np.where(probabilities[:, 0] >= 0.5, *CLASSES) == table["label"])
    groups = right.groupby("group")["right"].mean()
    aligned = right.groupby(right["background"] == right["label"].map(PAIRS))["right"].mean()
    expected = {
        "average": right["right"].mean(),
        "worst_group": groups.min(),
        "acc_groupmean": groups.mean(),
        "acc_trainprior": sum(share * groups[group] for group, share in TRAIN.items()),
        "alignment_gap": aligned[True] - aligned[False],
    }
    for name, value in expected.items():
        (score,) = scores(name, lambda _: probabilities, table).values()
        assert score.value == pytest.approx(value)
    (score,) = scores("worst_group", lambda _: probabilities, table).values()
    assert score.means() == pytest.approx(groups.to_dict())
    assert score.counts() == table["group"].value_counts().to_dict()


# Backgrounds, patches and noise


def test_the_challenge_is_lost_on_the_first_background_that_fools():
    def fooled_by_the_third(table: pd.DataFrame) -> np.ndarray:
        wrong = (table["variant"] == "background:3") & (table["n"] == 0)
        return np.where(wrong.to_numpy()[:, None], 1 - oracle(table), oracle(table))

    challenge = plugins.find("robustness", "challenge")
    for backgrounds, value in {2: 1, 3: 0.8, 8: 0.8}.items():
        found = challenge.score(fooled_by_the_third, recipes(), vary=vary, classes=CLASSES, backgrounds=backgrounds)
        assert found["challenge_accuracy"].means() == {f"backgrounds:{backgrounds}": pytest.approx(value)}
        assert found["challenge_accuracy"].counts() == {f"backgrounds:{backgrounds}": 20}  # an object counts once


def test_measures_of_the_same_variants_ask_for_the_same_recipes():
    def asked_by(name: str) -> list[str]:
        seen = []
        scores(
            name,
            lambda table: seen.append(table.get("variant", pd.Series(["original"]))[0]) or oracle(table),
            recipes(),
        )
        return seen

    backgrounds = [f"background:{number}" for number in range(1, 9)]
    assert asked_by("challenge") == backgrounds and asked_by("flip_rate") == ["original", *backgrounds]
    assert asked_by("calibration") == asked_by("selective_risk") == asked_by("average") == ["original"]
    assert len(set(asked_by("occlusion"))) == 10  # three ways of losing three shares, and the whole picture
    assert asked_by("foreground_sensitivity") == ["noise_background:0.2", "noise_object:0.2"]


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("challenge", {"backgrounds": 0}), ("flip_rate", {"backgrounds": 0}), ("calibration", {"bins": 0}),
        ("foreground_sensitivity", {"sigmas": []}), ("selective_risk", {"coverage": 0}),
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_said(name, option):
    test = plugins.find("robustness", name)
    told = plugins.asked(test.score, {"predict": oracle, "recipes": recipes(), "vary": vary, "classes": CLASSES})
    with pytest.raises(FieldmarkError, match=f"{next(iter(option))} is"):
        test.score(**told, **option)


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
