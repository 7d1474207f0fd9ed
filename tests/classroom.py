"""Examples whose shortcut is planted, and all that a training on them needs."""

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from fieldmark.core import plugins
from fieldmark.core.contracts import Backbone
from fieldmark.models import erm as plain
from fieldmark.objectives._shared import Targets
from fieldmark.training import heads, rounds
from fieldmark.training.fit import Objective, Triples, fit, initialised

CHANNELS = 8
BACKBONE = Backbone(nn.Identity(), CHANNELS, 1, (0.0,) * 3, (1.0,) * 3, "")
#: Eight examples of two classes; label and group agree but for the last of each class.
TRAIN = Targets(np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.array([0, 0, 0, 1, 3, 3, 3, 2]))


def built(name: str, train: Targets = TRAIN, **options: object) -> Any:
    return plugins.find("objectives", name).build(train, **options)


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
