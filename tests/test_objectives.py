"""Objectives against arithmetic done by hand, and on data whose shortcut is planted."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fieldmark.core import plugins
from fieldmark.core.contracts import Backbone, Batch, Output
from fieldmark.core.errors import FieldmarkError
from fieldmark.models import erm as plain
from fieldmark.models import ersm
from fieldmark.objectives import _last_layer, dfr_train, dfr_val, group_dro, jtt, reweight, subsample
from fieldmark.objectives._shared import Targets
from fieldmark.training import heads, rounds
from fieldmark.training.fit import Objective, Triples, fit, initialised
from fieldmark.training.predict import predict
from fieldmark.training.refit import last_linear, pooled, refit

OBJECTIVES = plugins.names("objectives")
#: Eight examples of two classes; label and group agree but for the last of each class.
TRAIN = Targets(np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.array([0, 0, 0, 1, 3, 3, 3, 2]))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tensors this small are slower on two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def built(name: str, train: Targets = TRAIN, **options: object) -> Any:
    return plugins.find("objectives", name).build(train, **options)


def drawn(objective: Any, seed: int = 0) -> list[int]:
    rows: list[int] = objective.rows(np.random.default_rng(seed)).tolist()
    return rows


def logits(*losses: float) -> Tensor:
    """Return answers (B, 2) of which class 0 costs the given cross-entropies."""
    return torch.tensor([[0.0, math.log(math.expm1(loss))] for loss in losses], dtype=torch.float64)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_declares_what_it_needs_and_gives_a_scalar_that_answers_can_follow(name: str) -> None:
    assert plugins.find("objectives", name).SUPERVISION in ("none", "train groups", "val groups")
    objective, answers_BK = built(name), torch.zeros(8, 2, requires_grad=True)
    loss = objective(answers_BK, *(torch.from_numpy(part) for part in TRAIN[:2]))
    loss.backward()
    assert loss.shape == () and answers_BK.grad is not None and answers_BK.grad.abs().sum() > 0
    assert not list(objective.parameters()), "an objective learns nothing"


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_epoch_shows_rows_of_the_training_part_and_repeats_itself(name: str) -> None:
    objective = built(name)
    if isinstance(objective, rounds.Draws):
        assert set(drawn(objective)) <= set(range(8)) and drawn(objective) == drawn(objective) != drawn(objective, 1)


@pytest.mark.parametrize("name", ["erm", "jtt", "subsample", "dfr_train", "dfr_val"])
def test_most_objectives_are_the_mean_cross_entropy(name: str) -> None:
    assert built(name)(logits(0.5, 2.0), torch.tensor([0, 0]), torch.tensor([0, 1])).item() == pytest.approx(1.25)


def test_reweighting_is_the_plain_mean_where_groups_are_balanced() -> None:
    balanced = Targets(np.array([0, 0, 1, 1]), np.array([0, 1, 2, 3]))
    answers_BK, labels_B, groups_B = logits(1, 2, 3, 4, 5, 6), torch.tensor([0, 1, 0, 1, 0, 1]), torch.arange(6) % 4
    weighted, mean = (built(name, balanced)(answers_BK, labels_B, groups_B) for name in ("reweight", "erm"))
    assert weighted.item() == pytest.approx(mean.item(), rel=1e-6)


def test_reweighting_is_the_mean_of_the_groups_means_over_an_epoch() -> None:
    """Three examples lose 1, one of another group 5: (1 + 5) / 2; the group that does not occur counts nothing."""
    train = Targets(np.zeros(4, int), np.array([0, 0, 0, 2]))
    objective = reweight.build(train)
    assert objective(logits(1, 1, 1, 5), torch.zeros(4, dtype=int), torch.tensor([0, 0, 0, 2])).item() == pytest.approx(
        3
    )
    assert objective.get_buffer("weights_G")[[0, 2]].tolist() == pytest.approx([4 / 6, 2])
    assert objective.get_buffer("weights_G")[1].isnan(), "of a group that training never had"


def test_subsampling_shows_as_many_of_each_group_and_always_the_same() -> None:
    objective = subsample.build(TRAIN._replace(seed=1))
    shown = drawn(objective)
    assert sorted(TRAIN.groups_N[shown]) == [0, 1, 2, 3] and {3, 7} <= set(shown)
    assert sorted(shown) == sorted(drawn(objective, 1))
    others = {tuple(sorted(drawn(subsample.build(TRAIN._replace(seed=seed))))) for seed in range(100)}
    assert len(others) == 9, "any of three with any of three"


def test_group_dro_by_hand() -> None:
    """Losses 2 and 1 (mean 1.5) in group 0, 3 in group 1: q starts even and moves by exp(eta L) before it weighs."""
    objective = group_dro.build(Targets(np.zeros(3, int), np.array([0, 0, 1])), step=0.5)
    groups_B, labels_B = torch.tensor([0, 0, 1]), torch.zeros(3, dtype=int)
    raised = np.exp(0.5 * np.array([1.5, 3.0]))
    q_G = raised / raised.sum()
    assert objective(logits(2, 1, 3), labels_B, groups_B).item() == pytest.approx(q_G @ [1.5, 3.0], rel=1e-6)
    assert objective.get_buffer("q_G").tolist() == pytest.approx(q_G, rel=1e-6)
    q_G = q_G * np.exp(0.5 * np.array([1.0, 0.0]))  # a group that is not in the batch has the loss 0
    assert objective(logits(1), labels_B[:1], groups_B[:1]).item() == pytest.approx(q_G[0] / q_G.sum(), rel=1e-6)
    assert objective.get_buffer("q_G").tolist() == pytest.approx(q_G / q_G.sum(), rel=1e-6)


def test_group_dros_adjustment_takes_small_groups_to_lose_more() -> None:
    """With C = 2, a group of 4 is taken to lose 1 more, one of 1 to lose 2 more; one of none has no weight at all."""
    objective = group_dro.build(Targets(np.zeros(5, int), np.array([0, 0, 0, 0, 2])), step=1.0, adjustment=2.0)
    assert objective.get_buffer("q_G").tolist() == [0.5, 0, 0.5]
    objective(logits(1, 1), torch.zeros(2, dtype=int), torch.tensor([0, 2]))
    assert objective.get_buffer("q_G").tolist() == pytest.approx([1 / (1 + math.e), 0, math.e / (1 + math.e)])


def test_group_dro_pulls_nothing_but_the_answers() -> None:
    """The gradient is q's weighted mean; it does not flow through q."""
    objective = group_dro.build(Targets(np.zeros(2, int), np.array([0, 1])), step=1.0)
    answers_BK = logits(1, 2).requires_grad_()
    objective(answers_BK, torch.zeros(2, dtype=int), torch.tensor([0, 1])).backward()
    wrong_B = answers_BK.detach().softmax(1)[:, 1]
    assert answers_BK.grad is not None
    torch.testing.assert_close(answers_BK.grad[:, 1], objective.get_buffer("q_G") * wrong_B, check_dtype=False)


def test_group_dro_draws_groups_evenly_or_every_row_once() -> None:
    many = Targets(np.zeros(1000, int), np.where(np.arange(1000) < 50, 0, 1))
    share = np.mean([np.mean(np.array(drawn(group_dro.build(many), seed)) < 50) for seed in range(10)])
    assert abs(share - 0.5) < 4 * (0.25 / 10_000) ** 0.5  # four standard errors
    assert sorted(drawn(group_dro.build(many, uniform=False))) == list(range(1000))


def test_the_second_round_of_jtt_shows_errors_several_times() -> None:
    second = jtt.build(TRAIN, upsample=3).second(np.arange(8) == 3)
    assert sorted(drawn(second)) == [0, 1, 2, 3, 3, 3, 4, 5, 6, 7]
    answers_NK, labels_N = logits(1, 1, 1, 6, 1, 1, 1, 1), torch.zeros(8, dtype=int)
    epoch = drawn(second)
    assert second(answers_NK[epoch], labels_N[epoch], labels_N[epoch]).item() == pytest.approx((7 + 3 * 6) / 10)


@pytest.mark.parametrize("wrong", [0, 5])
def test_jtt_refuses_errors_that_say_nothing(wrong: int) -> None:
    with pytest.raises(FieldmarkError, match=rf"gets {wrong} of 8 .* change first_epochs \(now 7"):
        jtt.build(TRAIN, first_epochs=7).second(np.arange(8) < wrong)


@pytest.mark.parametrize("name", ["reweight", "subsample", "group_dro"])
def test_examples_of_unknown_groups_are_refused(name: str) -> None:
    with pytest.raises(FieldmarkError, match="2 of 8 training examples are in a group that the split does not have"):
        built(name, TRAIN._replace(groups_N=np.where(TRAIN.groups_N % 3, -1, 0)))


CHANNELS = 8
BACKBONE = Backbone(nn.Identity(), CHANNELS, 1, (0.0,) * 3, (1.0,) * 3, "")


def planted(agrees: float, count: int = 400, seed: int = 0, offset: float = 3.0) -> heads.Examples:
    """Return examples whose label is faint in channel 0 (2 to 1) and whose background is plain in channel 1 (10 to 1).

    Args:
        agrees: share whose background is the label's.
        count: examples.
        seed: of all.
        offset: of all channels: a layer that is fitted anew must know where zero is.
    """
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 2, count)
    backgrounds = np.where(draw.random(count) < agrees, labels, 1 - labels)
    x_NhwC = draw.standard_normal((count, 2, 2, CHANNELS)) * 2 + offset  # pooling four tokens halves the noise
    x_NhwC[..., 0] += 2 * (2 * labels - 1)[:, None, None]
    x_NhwC[..., 1] += 10 * (2 * backgrounds - 1)[:, None, None]
    shares = np.zeros((count, 2, 2), np.float32)
    return heads.examples(
        x_NhwC.astype(np.float16), np.arange(count), labels=labels, groups=2 * labels + backgrounds,
        objects_Nhw=shares, keys=np.arange(count),
    )  # fmt: skip


def targets(data: heads.Examples) -> Targets:
    return Targets(data.labels_N.numpy(), data.groups_N.numpy())


def worst_group(module: nn.Module, data: heads.Examples) -> float:
    answers = predict(module, heads.in_order(data, batch=100))
    right_N = answers.probabilities_NK.argmax(1) == answers.labels_N
    return min(float(right_N[answers.groups_N == group].mean()) for group in range(4))


class Classroom:
    """What a training needs, with every fit noted."""

    def __init__(self, folder: Path, epochs: int = 15, module: nn.Module | None = None) -> None:
        self.data, self.val, self.test = planted(0.95), planted(0.5, seed=1), planted(0.5, seed=2)
        self.module = module or initialised(lambda: plain.build(BACKBONE, 2), 0)
        self.folder, self.epochs = folder, epochs
        self.seen: list[tuple[int, list[int]]] = []  # per epoch its number and the keys it showed

    def lessons(self, rows: Any) -> Any:
        batches = heads.shuffled(self.data, batch=50, seed=0, rows=rows)

        def noted(epoch: int) -> Triples:
            triples = [*batches(epoch)]
            self.seen.append((epoch, [int(key) for batch, _, _ in triples for key in batch.key_B]))
            return triples

        return noted

    def train(self, objective: Objective, **changes: Any) -> Any:
        def once(module: nn.Module, batches: Any, **settled: Any) -> Any:
            return fit(module, batches, **{"lr": 0.02, "weight_decay": 0.0, "every": 1} | settled)

        return rounds.train(
            self.module, objective, self.lessons, fit=once, seen=lambda: heads.in_order(self.data, batch=64),
            held_out=lambda: heads.in_order(self.val, batch=64), epochs=self.epochs,
            checkpoint=self.folder / "cell.safetensors", key="k", **changes,
        )  # fmt: skip


def bits(module: nn.Module) -> bytes:
    return b"".join(value.detach().contiguous().numpy().tobytes() for value in module.state_dict().values())


def test_an_objective_that_asks_for_nothing_is_one_fit(tmp_path: Path) -> None:
    room, alone = Classroom(tmp_path, epochs=2), initialised(lambda: plain.build(BACKBONE, 2), 0)
    history = room.train(built("erm"))
    expected = fit(
        alone, heads.shuffled(room.data, batch=50, seed=0), objective=built("erm"), epochs=2, lr=0.02, weight_decay=0.0
    )
    assert history == expected and bits(room.module) == bits(alone) and not [*tmp_path.iterdir()]


def test_jtt_starts_again_and_shows_what_it_got_wrong_more_often(tmp_path: Path) -> None:
    room = Classroom(tmp_path, epochs=2)
    start = {name: value.clone() for name, value in room.module.state_dict().items()}
    objective = jtt.build(targets(room.data), first_epochs=3, upsample=4)
    history = room.train(objective)
    assert [epoch for epoch, _ in room.seen] == [0, 1, 2, 0, 1] and [row["epoch"] for row in history] == [0, 1]
    once = initialised(lambda: plain.build(BACKBONE, 2), 0)
    once.load_state_dict(start)
    fit(once, heads.shuffled(room.data, batch=50, seed=0), objective=objective, epochs=3, lr=0.02, weight_decay=0.0)
    answers = predict(once, heads.in_order(room.data, batch=64))
    wrong = np.flatnonzero(answers.probabilities_NK.argmax(1) != answers.labels_N)
    assert 0 < len(wrong) < 200
    assert sorted(room.seen[-1][1]) == sorted([*range(400), *wrong.tolist() * 3])
    once.load_state_dict(start)
    again = heads.shuffled(room.data, batch=50, seed=0, rows=objective.second(np.isin(np.arange(400), wrong)).rows)
    fit(once, again, objective=objective, epochs=2, lr=0.02, weight_decay=0.0)
    assert bits(once) == bits(room.module), "the second round starts from the initial weights"


class Killed(Exception):
    """Stands for a SIGKILL."""


@pytest.mark.parametrize("name", ["jtt", "group_dro"])
@pytest.mark.parametrize("stop", [1, 3, 4])
def test_a_killed_training_ends_in_the_same_bits_whatever_the_objective(name: str, stop: int, tmp_path: Path) -> None:
    options = {"first_epochs": 2} if name == "jtt" else {"step": 0.5}
    straight, resumed = Classroom(tmp_path / "a", epochs=5), Classroom(tmp_path / "b", epochs=5)
    history = straight.train(built(name, targets(straight.data), **options))
    lessons = resumed.lessons

    def killed(rows: Any) -> Any:
        batches = lessons(rows)

        def dying(epoch: int) -> Triples:
            if len(resumed.seen) == stop:
                raise Killed
            return batches(epoch)  # type: ignore[no-any-return]

        return dying

    resumed.lessons = killed  # type: ignore[method-assign]
    with pytest.raises(Killed):
        resumed.train(built(name, targets(straight.data), **options))
    resumed.lessons = lessons  # type: ignore[method-assign]
    resumed.module = initialised(lambda: plain.build(BACKBONE, 2), 0)
    assert resumed.train(built(name, targets(straight.data), **options)) == history
    assert bits(resumed.module) == bits(straight.module) and not [*(tmp_path / "b").iterdir()]


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
    assert last_linear(nn.ModuleList([Doubled().requires_grad_(False), module])) is module.linear
