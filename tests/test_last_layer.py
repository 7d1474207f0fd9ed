"""A new last layer finds what the shortcut hid, and is what scikit-learn fits to what comes into it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from classroom import BACKBONE, CHANNELS, TRAIN, Classroom, built, planted, targets
from torch import Tensor, nn

from fieldmark.core.contracts import Batch, Output
from fieldmark.core.errors import FieldmarkError
from fieldmark.models import erm as plain
from fieldmark.models import ersm
from fieldmark.objectives import _last_layer, dfr_train, dfr_val
from fieldmark.training import heads
from fieldmark.training.fit import initialised
from fieldmark.training.predict import predict
from fieldmark.training.refit import last_linear, pooled, refit


def worst_group(module: nn.Module, data: heads.Examples) -> float:
    answers = predict(module, heads.in_order(data, batch=100))
    right_N = answers.probabilities_NK.argmax(1) == answers.labels_N
    return min(float(right_N[answers.groups_N == group].mean()) for group in range(4))


@pytest.mark.parametrize("name", ["dfr_train", "dfr_val"])
def test_a_new_last_layer_finds_what_the_shortcut_hid(name: str, tmp_path: Path) -> None:
    room = Classroom(tmp_path)
    room.train(built("erm"))
    before = worst_group(room.module, room.test)
    room.train(built(name, targets(room.data)))
    weight_C = last_linear(room.module).weight.detach().diff(dim=0)[0]
    assert before < 0.7 and worst_group(room.module, room.test) > 0.9
    assert weight_C[0] > 5 * weight_C[1].abs()


def test_a_refitted_layer_means_the_regressions_probability() -> None:
    """The layer takes raw inputs: standardised score and probability are those of scikit-learn's own pipeline."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    data, module = planted(0.5, offset=7.0), initialised(lambda: plain.build(BACKBONE, 2), 0)
    seen = lambda: heads.in_order(data, batch=64)  # noqa: E731  # a name for what is done twice

    def solve(x_NC: Any, labels_N: Any, groups_N: Any) -> Any:
        np.testing.assert_allclose([x_NC.mean(0), x_NC.std(0)], [np.zeros(CHANNELS), np.ones(CHANNELS)], atol=1e-9)
        return _last_layer.l1_logistic(_last_layer.Seen(x_NC, labels_N, groups_N), 0.1)

    refit(module, solve, seen(), seen())
    x_NC = data.x_NCHW.double().mean((2, 3)).numpy()
    scaled = StandardScaler().fit_transform(x_NC)
    model = LogisticRegression(C=0.1, l1_ratio=1, solver="liblinear", random_state=0, max_iter=10_000)
    model.fit(scaled, data.labels_N.numpy())
    np.testing.assert_allclose(
        predict(module, seen()).probabilities_NK, model.predict_proba(scaled), rtol=1e-4, atol=1e-6
    )


def test_standardisation_is_that_of_train_whatever_is_fitted() -> None:
    train, other, module = planted(0.5), planted(0.5, seed=3, offset=9.0), plain.build(BACKBONE, 2)
    told: list[Any] = []

    def solve(x_NC: Any, labels_N: Any, groups_N: Any) -> Any:
        told.append(x_NC)
        return np.ones((2, CHANNELS)), np.zeros(2)

    refit(module, solve, heads.in_order(train, batch=64), heads.in_order(other, batch=64))
    train_NC, other_NC = (data.x_NCHW.double().mean((2, 3)).numpy() for data in (train, other))
    np.testing.assert_allclose(told[0], (other_NC - train_NC.mean(0)) / train_NC.std(0), rtol=1e-5, atol=1e-5)


def test_the_penalty_is_l1_and_three_classes_are_one_against_the_rest() -> None:
    draw = np.random.default_rng(0)
    labels_N = np.arange(300) % 3
    x_NC = draw.standard_normal((300, 6))
    x_NC[np.arange(300), labels_N] += 4
    layer = _last_layer.l1_logistic(_last_layer.Seen(x_NC, labels_N, labels_N), 0.03)
    assert layer.weight_KC.shape == (3, 6) and layer.bias_K.shape == (3,)
    assert (layer.weight_KC[:, 3:] == 0).all(), "channels of noise are left out"
    assert ((x_NC @ layer.weight_KC.T + layer.bias_K).argmax(1) == labels_N).mean() > 0.9


def test_the_last_layer_is_the_mean_over_balanced_subsets_at_the_chosen_strength(monkeypatch: Any) -> None:
    fits: list[tuple[list[int], float]] = []

    def noted(seen: Any, strength: float) -> Any:
        fits.append((np.bincount(seen.groups_N).tolist(), strength))
        weight_KC = np.zeros((2, 2))
        weight_KC[1, 0] = len(fits) if strength in (0.3, 0.1) else -len(fits)  # 0.3 and 0.1 are right on all examples
        return _last_layer.Layer(weight_KC, np.array([0.0, len(fits)]) * 0)

    monkeypatch.setattr(_last_layer, "l1_logistic", noted)
    labels_N = np.repeat([0, 1], 20)
    groups_N = 2 * labels_N + np.tile([0] * 16 + [1] * 4, 2)
    x_NC = np.stack([2.0 * labels_N - 1, np.zeros(40)], axis=1)
    layer = dfr_val.build(TRAIN, subsets=3, strengths=(1.0, 0.3, 0.1)).last_layer(x_NC, labels_N, groups_N)
    assert fits[:3] == [([2] * 4, 1.0), ([2] * 4, 0.3), ([2] * 4, 0.1)], "one half, balanced"
    assert fits[3:] == [([4] * 4, 0.1)] * 3, "of equals the strongest penalty, on all examples"
    assert layer.weight_KC[1, 0] == (4 + 5 + 6) / 3


def test_a_group_of_one_is_refused() -> None:
    with pytest.raises(FieldmarkError, match="a group with a single example"):
        dfr_train.build(TRAIN).last_layer(np.zeros((8, 2)), *TRAIN[:2])


def test_what_comes_into_the_layer_is_caught_whatever_the_model() -> None:
    data, module = planted(0.5, count=10), initialised(lambda: ersm.build(BACKBONE, 2), 0)
    caught = pooled(module, last_linear(module), heads.in_order(data, batch=4), "cpu")
    linear = last_linear(module).double()
    with torch.no_grad():
        said = linear(torch.from_numpy(caught.x_NC)).softmax(1).numpy()
    module.float()
    np.testing.assert_allclose(said, predict(module, heads.in_order(data, batch=10)).probabilities_NK, rtol=1e-5)
    assert np.array_equal(caught.groups_N, data.groups_N) and np.array_equal(caught.labels_N, data.labels_N)


class Doubled(nn.Module):
    """Says twice what its layer does."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(CHANNELS, 2)

    def forward(self, batch: Batch, forced_Bhw: Tensor | None = None) -> Output:
        return Output(2 * self.linear(batch.x_BCHW.mean((2, 3))), batch.x_BCHW[:, 0], {})


def test_a_layer_that_is_not_the_answer_is_not_replaced() -> None:
    module, data = Doubled(), planted(0.5, count=10)
    with pytest.raises(FieldmarkError, match="a Doubled makes more of its answers than one pass"):
        pooled(module, module.linear, heads.in_order(data, batch=4), "cpu")
    assert not module.linear._forward_hooks
    with pytest.raises(FieldmarkError, match="a ModuleList has 2 layers named 'linear'"):
        last_linear(nn.ModuleList([Doubled(), Doubled()]))
    with pytest.raises(FieldmarkError, match="has 0 layers named 'linear' that learn a weight and a bias"):
        last_linear(nn.ModuleDict({"linear": nn.Linear(CHANNELS, 2, bias=False)}))
    assert last_linear(nn.ModuleList([Doubled().requires_grad_(False), module])) is module.linear


def test_a_model_whose_last_layer_cannot_be_made_anew_is_refused_before_it_is_trained(tmp_path: Path) -> None:
    room = Classroom(tmp_path, module=Doubled())
    with pytest.raises(FieldmarkError, match="a Doubled makes more of its answers than one pass"):
        room.train(built("dfr_train", targets(room.data)))
    assert room.seen == []
