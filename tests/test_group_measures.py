"""Accuracy and its measures by group, by hand and against a direct computation."""

import numpy as np
import pandas as pd
import pytest
from toy_classifiers import CLASSES, PAIRS, TRAIN, constant, oracle, recipes, scores

from fieldmark.core import plugins
from fieldmark.core.errors import FieldmarkError
from fieldmark.robustness._accuracy import correct


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
