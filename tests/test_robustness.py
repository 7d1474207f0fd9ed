"""Every robustness test is shown an oracle, a constant and a background reader; known answers are derived by hand."""

import numpy as np
import pandas as pd
import pytest
from toy_classifiers import CLASSES, background_reader, constant, oracle, recipes, scores, vary

from fieldmark.core import plugins
from fieldmark.core.errors import FieldmarkError

TESTS = plugins.names("robustness")


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
