"""A training that is killed and resumed ends in the same bits, and weights come back from their file as they were."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from small_training import BACKBONE, CLASSES, bits, examples, gated, recipe
from torch import Tensor, nn

from fieldmark.core.contracts import Batch, Output
from fieldmark.core.errors import FieldmarkError
from fieldmark.models import erm
from fieldmark.training import checkpoint, heads
from fieldmark.training.fit import fit, initialised


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
