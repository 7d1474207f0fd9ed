"""Calibration and selective risk, against other people's code, their definitions and sums by hand."""

import numpy as np
import pandas as pd
import pytest

from fieldmark.core import plugins
from fieldmark.core.contracts import Score
from fieldmark.stats import Observed, bootstrap

CLASSES = ("bird", "mammal")


def measured(name: str, probabilities: np.ndarray, table: pd.DataFrame, **options) -> dict[str, Score]:
    """Return what a measure says of answers to the examples of a table."""
    options = {"classes": CLASSES, **options}
    return plugins.find("robustness", name).score(lambda _: probabilities, table, **options)


def guesses(seed: int, count: int = 300) -> tuple[pd.DataFrame, np.ndarray]:
    """Return examples with random labels and random probabilities."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"label": rng.choice(CLASSES, count)}), rng.dirichlet([1, 1], count)


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_calibration_error_is_that_of_torchmetrics(bins):
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error

    classes = ("a", "b", "c")
    for seed in range(3):
        rng = np.random.default_rng(seed)
        probabilities = rng.dirichlet([0.4, 0.6, 1], 500)
        labels = rng.integers(0, 3, 500)
        table = pd.DataFrame({"label": np.asarray(classes)[labels]})
        found = measured("calibration", probabilities, table, classes=classes, bins=bins)
        told = torch.from_numpy(probabilities), torch.from_numpy(labels)
        theirs = multiclass_calibration_error(*told, num_classes=3, n_bins=bins, norm="l1")
        assert found[f"ece_{bins}_equal_width"].value == pytest.approx(float(theirs), abs=1e-6)
        assert found["brier"].value == pytest.approx(((probabilities - np.eye(3)[labels]) ** 2).sum(1).mean())
        assert found["nll"].value == pytest.approx(float(torch.nn.functional.nll_loss(told[0].log(), told[1])))


def test_calibration_error_by_hand():
    table = pd.DataFrame({"label": ["bird", "bird", "mammal", "mammal"]})
    said = np.array([[0.9, 0.1], [0.7, 0.3], [0.7, 0.3], [0.3, 0.7]])  # right, right, wrong, right
    score = measured("calibration", said, table, bins=10)["ece_10_equal_width"]
    assert score.value == pytest.approx((0.1 + abs(3 * 0.7 - 2)) / 4)
    assert score.means()["confidence:0.900"] == pytest.approx(-0.1 / 4)  # too modest by .1, a quarter of the examples


def test_a_bootstrap_of_the_calibration_error_is_exact():
    table, probabilities = guesses(0, 60)
    table = table.assign(fg_source=[f"source {n % 12}" for n in range(60)])  # five examples each

    def error(rows: np.ndarray) -> Score:
        return measured("calibration", probabilities[rows], table.iloc[rows], bins=5)["ece_5_equal_width"]

    score = error(np.arange(60))
    times_DS = np.random.default_rng(0).multinomial(12, np.full(12, 1 / 12), size=20)
    times = [(pd.Index([f"source {n}" for n in range(12)]), times_DS)]
    found = bootstrap._recompute(bootstrap._sums(Observed(score, table), ["fg_source"]), times)
    expected = [error(np.repeat(np.arange(60), np.tile(drawn_S, 5))).value for drawn_S in times_DS]
    assert found == pytest.approx(expected)


def aurc(sure: np.ndarray, wrong: np.ndarray, times: np.ndarray) -> float:
    """The area under risk against coverage as it is defined, of examples that count ``times``."""
    above = sure[None] >= sure[:, None]
    return float((times * (above @ (times * wrong)) / (above @ times).clip(1)).sum() / times.sum())


@pytest.mark.parametrize("decimals", [1, 6])  # with and without examples of equal confidence
def test_area_under_risk_and_coverage_equals_its_definition(decimals):
    for seed in range(3):
        table, probabilities = guesses(seed)
        probabilities = probabilities.round(decimals)
        wrong = (np.where(probabilities[:, 0] >= 0.5, *CLASSES) != table["label"]).to_numpy(float)
        sure = probabilities.max(1)
        found = measured("selective_risk", probabilities, table)
        assert found["aurc"].value == pytest.approx(aurc(sure, wrong, np.ones(len(table))))
        most = sure >= np.sort(sure)[-240]
        assert found["risk_at_coverage:0.8"].value == pytest.approx(wrong[most].mean())


def test_a_bootstrap_of_the_area_has_the_spread_of_one_that_ranks_anew():
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, 400)
    wrong = (rng.random(400) > sure).astype(float)  # calibrated
    table = pd.DataFrame({"label": np.where(wrong, "mammal", "bird")})
    found = measured("selective_risk", np.stack([sure, 1 - sure], 1), table)["aurc"]
    times = rng.multinomial(400, np.full(400, 1 / 400), size=1000)
    exact = np.array([aurc(sure, wrong, drawn) for drawn in times])
    quick = times @ found.values / 400
    assert quick.std() == pytest.approx(exact.std(), rel=0.03)
    assert np.corrcoef(exact, quick)[0, 1] > 0.98
