"""Small models with a mask for each class and channel, and what they are shown."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fieldmark.core.contracts import Backbone, Batch
from fieldmark.layers import transform as tf
from fieldmark.models import abn, amt
from fieldmark.training.fit import fit, initialised

CHANNELS, CLASSES = 6, 3
STRONG = {"pow": 2.0, "shift": -0.3, "gain": 2.0, "top": 0.25, "imp": 1.0}
NEUTRAL = [f"{family}:{limits.neutral:g}" for family, limits in tf.FAMILIES.items()]


def draws(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def backbone() -> Backbone:
    return Backbone(nn.Identity(), CHANNELS, 1, (0.0,) * 3, (1.0,) * 3, "")


def model(seed: int = 0, **options: Any) -> amt.Amt:
    built = initialised(lambda: amt.build(backbone(), CLASSES, **{"hidden": 4, **options}), seed)
    assert isinstance(built, amt.Amt)
    return built


def inputs(examples: int = 5, **others: Tensor) -> Batch:
    return Batch(draws(examples, CHANNELS, 3, 4), **others)


def observed(module: amt.Amt) -> amt.Amt:
    """Let importances be known, as after training."""
    module.train()(inputs(16))
    return module.eval()


def trained(module: nn.Module, *, epochs: int = 60, **columns: Tensor) -> nn.Module:
    """Learn classes that stand in one channel each, at one place."""
    labels_N = torch.arange(60) % CLASSES
    x_NCHW = 0.1 * draws(60, CHANNELS, 2, 2)
    x_NCHW[torch.arange(60), labels_N, 0, 0] += 3

    def batches(epoch: int) -> Iterator[tuple[Batch, Tensor, Tensor]]:
        yield Batch(x_NCHW, **columns), labels_N, labels_N

    def objective(logits_BK: Tensor, labels_B: Tensor, groups_B: Tensor) -> Tensor:
        return F.cross_entropy(logits_BK, labels_B)

    history = fit(module, batches, objective=objective, epochs=epochs, lr=3e-2, weight_decay=0.0)
    assert history[-1]["train_accuracy"] == 1
    return module


def branch(**options: Any) -> abn.Abn:
    built = initialised(lambda: abn.build(backbone(), CLASSES, hidden=4, **options), 0)
    assert isinstance(built, abn.Abn)
    return built
