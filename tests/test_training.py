"""The loop against arithmetic done by hand, resumption to the bit, and features that do not depend on their company."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from fieldmark.core.contracts import Backbone, Batch, Output
from fieldmark.core.errors import FieldmarkError
from fieldmark.models import erm, ersm, finetune
from fieldmark.training import checkpoint, heads
from fieldmark.training.embed import embed
from fieldmark.training.fit import fit, initialised
from fieldmark.training.predict import Prediction, kept_probability, measures, predict

CHANNELS, CLASSES = 6, 3
BACKBONE = Backbone(nn.Identity(), CHANNELS, 1, (0.0,) * 3, (1.0,) * 3, "")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tensors this small are slower on two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def examples(count: int = 40) -> heads.Examples:
    draw = np.random.default_rng(0)
    features_NhwC = draw.standard_normal((count, 3, 3, CHANNELS)).astype(np.float16)
    labels = draw.integers(0, CLASSES, count)
    features_NhwC[np.arange(count), 1, 1, labels] += 8
    shares = draw.random((count, 3, 3), dtype=np.float32)
    rows = np.arange(count)
    return heads.examples(features_NhwC, rows, labels=labels, groups=labels % 2, objects_Nhw=shares, keys=rows)


def mean_cross_entropy(logits_BK: Tensor, labels_B: Tensor, groups_B: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits_BK, labels_B)


def recipe(**changes: object) -> Any:
    return {"objective": mean_cross_entropy, "epochs": 4, "lr": 1e-2, "weight_decay": 1e-4, **changes}


def bits(module: nn.Module) -> bytes:
    return b"".join(value.detach().contiguous().numpy().tobytes() for value in module.state_dict().values())


def gated(seed: int = 0) -> nn.Module:
    return initialised(lambda: ersm.build(BACKBONE, CLASSES, bias_mode="scalar", bias_init=1.0), seed)


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


class Killed(Exception):
    """Stands for a SIGKILL."""


@pytest.mark.parametrize("stop", [1, 2, 3, 5])
def test_killed_and_resumed_ends_in_the_same_bits(stop: int, tmp_path: Path) -> None:
    path, batches = tmp_path / "checkpoint.safetensors", heads.shuffled(examples(), batch=8, seed=3)
    settings = recipe(epochs=6, checkpoint=path, every=2, key="a")
    straight, resumed = gated(), gated()
    expected = fit(straight, batches, **settings)
    assert not path.exists(), "a finished training leaves no checkpoint"

    def killed(epoch: int) -> Iterator[tuple[Batch, Tensor, Tensor]]:
        for number, batch in enumerate(batches(epoch)):
            if epoch == stop and number == 3:
                raise Killed
            yield batch

    with pytest.raises(Killed):
        fit(resumed, killed, **settings)
    assert path.exists() == (stop >= 2)
    again = gated(seed=9)  # another start: everything must come from the checkpoint
    if stop < 2:
        again = gated()
    assert fit(again, batches, **settings) == expected
    assert bits(again) == bits(straight)


class Dropping(nn.Module):
    """A classifier that draws random numbers while it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = erm.build(BACKBONE, CLASSES)

    def forward(self, batch: Batch, forced_Bhw: Tensor | None = None) -> Output:
        dropped = nn.functional.dropout(batch.x_BCHW, 0.5, self.training)
        output: Output = self.inner(batch._replace(x_BCHW=dropped), forced_Bhw)
        return output


def test_what_a_model_draws_survives_a_kill_and_depends_on_the_seed(tmp_path: Path) -> None:
    path, batches = tmp_path / "c.safetensors", heads.shuffled(examples(), batch=8, seed=0)
    straight, resumed, other = (initialised(Dropping, 0) for _ in range(3))
    before = torch.get_rng_state()
    fit(straight, batches, **recipe(seed=1))
    assert torch.equal(before, torch.get_rng_state()), "the caller's generator is left alone"
    fit(other, batches, **recipe(seed=2))

    def killed(epoch: int) -> Iterator[tuple[Batch, Tensor, Tensor]]:
        if epoch == 2:
            raise Killed
        return iter(batches(epoch))

    with pytest.raises(Killed):
        fit(resumed, killed, **recipe(seed=1, checkpoint=path, every=1))
    torch.rand(5)
    fit(resumed, batches, **recipe(seed=1, checkpoint=path, every=1))
    assert bits(resumed) == bits(straight) != bits(other)


def test_a_checkpoint_of_other_settings_is_not_used(tmp_path: Path) -> None:
    path, module = tmp_path / "c.safetensors", gated()
    optimiser = torch.optim.AdamW(module.parameters())
    checkpoint.save(path, module, optimiser, [{"epoch": 0}], "theirs")
    assert checkpoint.resume(path, module, optimiser, "ours") == []
    assert checkpoint.resume(path, module, optimiser, "theirs") == [{"epoch": 0}]


def test_a_checkpoint_is_safetensors_and_nothing_else(tmp_path: Path) -> None:
    path, module = tmp_path / "c.safetensors", gated()
    optimiser = torch.optim.AdamW(module.parameters(), fused=True)
    output = module(next(iter(heads.in_order(examples(), batch=8)))[0])
    output.logits_BK.sum().backward()
    optimiser.step()
    checkpoint.save(path, module, optimiser, [], "k")
    with safe_open(path, "pt") as opened:
        slots = {name.rsplit("/", 1)[1] for name in opened.keys() if name.startswith("optimiser/")}  # noqa: SIM118
        assert json.loads(opened.metadata()["history"]) == []
    assert slots == {"step", "exp_avg", "exp_avg_sq"}
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(FieldmarkError, match="is not a checkpoint .* delete it"):
        checkpoint.resume(path, module, optimiser, "k")


def test_weights_round_trip_in_the_same_bytes_and_refuse_another_module(tmp_path: Path) -> None:
    path, module, other = tmp_path / "weights.safetensors", gated(), gated(1)
    checkpoint.write_weights(path, module)
    first = path.read_bytes()
    checkpoint.write_weights(path, module)
    assert path.read_bytes() == first
    checkpoint.read_weights(path, other)
    assert bits(other) == bits(module)
    with pytest.raises(FieldmarkError, match="does not hold the weights of this TokenClassifier"):
        checkpoint.read_weights(path, erm.build(BACKBONE, CLASSES))


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


def test_epochs_see_every_example_once_in_an_order_of_their_own() -> None:
    data = examples()
    batches = heads.shuffled(data, batch=16, seed=5)

    def order(source: object, epoch: int) -> list[int]:
        return [int(key) for batch, _, _ in source(epoch) for key in batch.key_B]

    assert sorted(order(batches, 0)) == list(range(40)) and order(batches, 0) != order(batches, 1)
    assert order(batches, 1) == order(heads.shuffled(data, batch=16, seed=5), 1)
    assert order(batches, 0) != order(heads.shuffled(data, batch=16, seed=6), 0)
    for batch, labels_B, groups_B in batches(0):
        assert batch.key_B is not None and batch.object_Bhw is not None
        assert torch.equal(batch.x_BCHW, data.x_NCHW[batch.key_B])
        assert torch.equal(batch.object_Bhw, data.objects_Nhw[batch.key_B])
        assert torch.equal(labels_B, data.labels_N[batch.key_B]) and torch.equal(groups_B, data.groups_N[batch.key_B])


def test_examples_are_rows_of_the_store() -> None:
    features_NhwC = np.arange(4 * 2 * 1 * 3, dtype=np.float16).reshape(4, 2, 1, 3)
    data = heads.examples(
        features_NhwC, np.array([2, 0]), labels=[0, 1], groups=[0, 1], objects_Nhw=np.ones((2, 2, 1), np.float32),
        keys=np.array([7, 8]),
    )  # fmt: skip
    assert data.x_NCHW.dtype == torch.float32 and data.x_NCHW.shape == (2, 3, 2, 1)
    assert np.array_equal(data.x_NCHW.permute(0, 2, 3, 1).numpy(), features_NhwC[[2, 0]])


def test_predictions_keep_their_order_whatever_the_batch() -> None:
    module, data = gated(), examples()
    whole = predict(module, heads.in_order(data, batch=40))
    parts = predict(module, heads.in_order(data, batch=7))
    assert whole.probabilities_NK.shape == (40, CLASSES) and whole.masks_Nhw.shape == (40, 3, 3)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    np.testing.assert_allclose(whole.probabilities_NK.sum(1), 1, rtol=1e-5)


def test_kept_probability_is_the_labels_with_only_those_tokens() -> None:
    module, data = gated(), examples()
    probability = kept_probability(module, lambda: heads.in_order(data, batch=7))
    linear = next(part for part in module.modules() if isinstance(part, nn.Linear) and part.out_features == CLASSES)
    keep_Nhw = np.zeros((40, 3, 3), dtype=bool)
    keep_Nhw[:, 1, 1] = True
    with torch.no_grad():
        expected_NK = linear(data.x_NCHW[:, :, 1, 1] / 9).softmax(1)
        nothing_NK = linear(torch.zeros(40, CHANNELS)).softmax(1)
    expected_N = expected_NK[torch.arange(40), data.labels_N]
    np.testing.assert_allclose(probability(keep_Nhw), expected_N.numpy(), rtol=1e-5)
    nothing_N = nothing_NK[torch.arange(40), data.labels_N]
    np.testing.assert_allclose(probability(np.zeros((40, 3, 3), bool)), nothing_N.numpy(), rtol=1e-5)


def test_measures_by_hand() -> None:
    said = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.5, 0.5]], dtype=np.float32)
    found = measures(Prediction(said, np.ones((4, 1, 1), np.float32), np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1])))
    loss = -(math.log(0.9) + math.log(0.4) + math.log(0.8) + math.log(0.5)) / 4
    assert found == pytest.approx({"val_loss": loss, "val_accuracy": 0.5, "val_worst_group": 0.5}, rel=1e-5)


def embedded(backbone: Backbone, images_NHW3: npt.NDArray[np.uint8], batch: int) -> npt.NDArray[np.float16]:
    side = images_NHW3.shape[1] // backbone.stride
    into_NhwC = np.empty((len(images_NHW3), side, side, backbone.channels), dtype=np.float16)
    embed(backbone, images_NHW3, into_NhwC, batch=batch)
    return into_NhwC


def pictures(count: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)


def test_embedding_is_the_normalised_backbone_in_half_precision() -> None:
    shrink = Backbone(nn.AvgPool2d(4), 3, 4, (0.1, 0.2, 0.3), (0.5, 0.25, 0.2), "")
    images_NHW3 = pictures(5)
    normal = (images_NHW3 / 255 - np.array(shrink.mean)) / np.array(shrink.std)
    expected = normal.reshape(5, 2, 4, 2, 4, 3).mean((2, 4))
    np.testing.assert_allclose(embedded(shrink, images_NHW3, 2), expected, rtol=2e-3, atol=2e-3)


def test_features_do_not_depend_on_what_shares_their_batch() -> None:
    module = initialised(lambda: nn.Sequential(nn.Conv2d(3, 32, 4, 4), nn.ReLU(), nn.Conv2d(32, 16, 1)), 0)
    backbone = Backbone(module.eval(), 16, 4, (0.5,) * 3, (0.5,) * 3, "")
    images_NHW3 = pictures(11)
    features_NhwC = embedded(backbone, images_NHW3, 4)
    order = np.random.default_rng(1).permutation(11)
    assert np.array_equal(embedded(backbone, images_NHW3[order], 4), features_NhwC[order])
    assert np.array_equal(embedded(backbone, images_NHW3[:1], 4), features_NhwC[:1])
    assert np.abs(features_NhwC).mean() > 0.01


class Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x_B3HW: Tensor) -> Tensor:
        return x_B3HW * self.factor


@pytest.mark.parametrize("factor", [math.nan, math.inf, 70_000.0])
def test_features_that_half_precision_cannot_hold_are_refused(factor: float) -> None:
    images_NHW3 = np.full((3, 2, 2, 3), 255, dtype=np.uint8)
    with pytest.raises(FieldmarkError, match="images 0 to 1 have features that are not finite or beyond 65504"):
        embedded(Backbone(Scaled(factor), 3, 1, (0.0,) * 3, (1.0,) * 3, ""), images_NHW3, 2)
    assert embedded(Backbone(Scaled(60_000.0), 3, 1, (0.0,) * 3, (1.0,) * 3, ""), images_NHW3, 2).max() == 60_000
