"""The loop against arithmetic done by hand, and what stops it."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from small_training import BACKBONE, CHANNELS, CLASSES, examples, gated, mean_cross_entropy, recipe
from torch import Tensor, nn

from fieldmark.core.contracts import Backbone, Batch, Output
from fieldmark.core.errors import FieldmarkError
from fieldmark.models import erm, finetune
from fieldmark.training import heads
from fieldmark.training.fit import fit, initialised
from fieldmark.training.predict import measures, predict


class Constant(nn.Module):
    """Says ``logit`` for class 0 and 0 for class 1, and charges a fixed energy."""

    def __init__(self, energy: float = 0.0, lr_factor: float = 1.0) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.zeros(1))
        self.energy, self.lr_factors = energy, {"logit": lr_factor}

    def forward(self, batch: Batch, forced_Bhw: Tensor | None = None) -> Output:
        count = len(batch.x_BCHW)
        logits_BK = torch.stack([self.logit.expand(count), torch.zeros(count)], dim=1)
        return Output(logits_BK, torch.full((count, 1, 1), 0.25), {"energy": torch.full((count,), self.energy)})


def one_class(label: int) -> Iterator[tuple[Batch, Tensor, Tensor]]:
    for count in (3, 1):  # batches of unequal size: means are over examples
        yield Batch(torch.zeros(count, 1, 1, 1)), torch.full((count,), label), torch.zeros(count, dtype=torch.int64)


def test_one_epoch_by_hand() -> None:
    """Adam's first step is lr in the gradient's direction; the loss before it is ln 2."""
    module = Constant(energy=0.5)
    (row,) = fit(module, lambda epoch: [next(one_class(0))], **recipe(epochs=1, lr=0.1, weight_decay=0.0))
    assert module.logit.item() == pytest.approx(0.1, rel=1e-5)
    assert row["objective"] == pytest.approx(math.log(2))
    assert row["loss"] == pytest.approx(math.log(2) + 0.5) and row["energy"] == 0.5
    assert (row["epoch"], row["lr"], row["mask"], row["train_accuracy"]) == (0, 0.1, 0.25, 1.0)


def test_measures_are_means_over_examples_not_over_batches() -> None:
    """The first batch of three pays ln 2; the second, of one, what is left after a step of 0.1."""
    (row,) = fit(Constant(), lambda epoch: one_class(0), **recipe(epochs=1, lr=0.1, weight_decay=0.0))
    assert row["loss"] == pytest.approx((3 * math.log(2) + math.log1p(math.exp(-0.1))) / 4, rel=1e-6)


def test_the_rate_follows_a_cosine_to_zero() -> None:
    history = fit(Constant(), lambda epoch: one_class(0), **recipe(epochs=4, lr=1.0))
    expected = [1.0, 0.5 + 0.5 * math.sqrt(0.5), 0.5, 0.5 - 0.5 * math.sqrt(0.5)]
    assert [row["lr"] for row in history] == pytest.approx(expected)


def test_a_module_may_slow_its_parameters_down() -> None:
    module = Constant(lr_factor=0.1)
    fit(module, lambda epoch: [next(one_class(0))], **recipe(epochs=1, lr=0.1, weight_decay=0.0))
    assert module.logit.item() == pytest.approx(0.01, rel=1e-5)


def test_what_is_measured_and_told() -> None:
    told: list[dict[str, float]] = []
    history = fit(
        gated(), heads.shuffled(examples(), batch=8, seed=0), **recipe(epochs=2),
        validate=lambda module: {"val_accuracy": 0.5}, log=told.append,
    )  # fmt: skip
    assert told == history and [row["epoch"] for row in history] == [0, 1]
    assert history[0].keys() >= {"loss", "objective", "energy", "unary", "pair", "z", "mask", "val_accuracy"}


@pytest.mark.parametrize("build", [gated, lambda: initialised(lambda: erm.build(BACKBONE, CLASSES), 0)])
def test_training_learns_what_is_there(build: Callable[[], nn.Module]) -> None:
    data = examples(120)
    module = build()
    history = fit(module, heads.shuffled(data, batch=16, seed=0), **recipe(epochs=10, lr=0.1))
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert measures(predict(module, heads.in_order(data, batch=50)))["val_accuracy"] > 0.9


class Advised(Constant):
    """Has a second opinion that is not its answer."""

    def __init__(self, opinion: float) -> None:
        super().__init__()
        self.opinion = opinion

    def forward(self, batch: Batch, forced_Bhw: Tensor | None = None) -> Output:
        output = super().forward(batch, forced_Bhw)
        auxiliary_BK = self.opinion + self.logit.expand(len(batch.x_BCHW))
        logits_BK = torch.stack([auxiliary_BK, torch.zeros(len(batch.x_BCHW))], dim=1)
        return output._replace(extras={"auxiliary_logits": logits_BK})


def test_auxiliary_answers_are_held_to_the_objective_too_in_one_call() -> None:
    calls: list[int] = []

    def counted(logits_BK: Tensor, labels_B: Tensor, groups_B: Tensor) -> Tensor:
        calls.append(len(groups_B))
        return mean_cross_entropy(logits_BK, labels_B, groups_B)

    module = Advised(math.log(3))  # says 3/4 for class 0
    (row,) = fit(module, lambda epoch: [next(one_class(0))], **recipe(epochs=1, objective=counted))
    assert row["objective"] == row["loss"] == pytest.approx(math.log(2) + math.log(4 / 3))
    assert calls == [6] and row["train_accuracy"] == 1 and "auxiliary_logits" not in row


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_broken_epoch_stops_training(bad: float, tmp_path: Path) -> None:
    data = examples()
    data.x_NCHW[7, 0, 0, 0] = bad
    with pytest.raises(FieldmarkError, match=r"broke in epoch 0 .* lower train.lr"):
        fit(gated(), heads.shuffled(data, batch=8, seed=0), **recipe(checkpoint=tmp_path / "c"))
    assert not (tmp_path / "c").exists()


def test_a_gradient_that_breaks_in_the_last_step_is_noticed() -> None:
    module = Constant()
    with pytest.raises(FieldmarkError, match="broke in epoch 0"):
        fit(
            module, lambda epoch: [next(one_class(0))],
            **recipe(epochs=1, objective=lambda logits, labels, groups: logits[:, 0].sum().clamp_min(0).sqrt()),
        )  # fmt: skip


def test_a_backbone_learns_on_pixels_at_its_own_rate() -> None:
    source = initialised(lambda: nn.Conv2d(3, CHANNELS, 4, 4), 0)
    backbone = Backbone(source.requires_grad_(False), CHANNELS, 4, (0.5,) * 3, (0.5,) * 3, "")
    module = initialised(lambda: finetune.build(backbone, CLASSES, lr_factor=0.1), 0)
    start = {name: value.clone() for name, value in module.state_dict().items()}
    batch = Batch(torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
    fit(module, lambda epoch: [(batch, torch.arange(8) % 3, torch.zeros(8))], **recipe(epochs=1, weight_decay=0.0))
    moved = {name: (value - start[name]).abs().max().item() for name, value in module.state_dict().items()}
    assert moved["backbone.weight"] == pytest.approx(1e-3, rel=1e-3)  # Adam's first step is the rate itself
    assert moved["head.linear.weight"] == pytest.approx(1e-2, rel=1e-3)
