"""A decoder that draws, from a ViT's tokens, where the object is: three steps, each twice as fine."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from itertools import pairwise
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fieldmark.core.contracts import Batch

FINER = 8  # times per side: three steps of two


class SaliencyHead(nn.Module):
    """Tokens in, each token's share of object out. It has learned already and stays as it is."""

    def __init__(self, channels: int, widths: tuple[int, int, int] = (256, 128, 64)) -> None:
        super().__init__()
        steps = OrderedDict[str, nn.Module]()
        for number, (before, after) in enumerate(pairwise((channels, *widths)), 1):
            steps[f"upconv{number}"] = nn.ConvTranspose2d(before, after, kernel_size=4, stride=2, padding=1)
            steps[f"bn{number}"] = nn.BatchNorm2d(after)
            steps[f"relu{number}"] = nn.ReLU()
        steps["final_conv"] = nn.Conv2d(widths[-1], 1, kernel_size=1)
        self.decoder = nn.Sequential(steps)
        self.known: dict[bytes, Tensor] | None = None  # answers by the tokens' hash, while ``remembering``

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation: statistics of another task would be lost."""
        return super().train(False)

    def scores(self, x_BChw: Tensor) -> Tensor:
        """Return the logits of object (B, 8h, 8w)."""
        logits_B1HW: Tensor = self.decoder(x_BChw)
        return logits_B1HW.squeeze(1)

    def forward(self, batch: Batch) -> Tensor:
        """Return the mean probability of object over each token's patch: (B, h, w) in [0, 1]."""
        if self.known is None or batch.x_BCHW.device.type != "cpu":  # a GPU is faster than a hash of what it holds
            return self._shares(batch.x_BCHW)
        return torch.cat([self._once(x_1Chw) for x_1Chw in torch.split(batch.x_BCHW, 1)])

    def _shares(self, x_BChw: Tensor) -> Tensor:
        return F.avg_pool2d(self.scores(x_BChw).sigmoid(), FINER)

    def _once(self, x_1Chw: Tensor) -> Tensor:
        """Answer for one example alone, so that no bit hangs on which others it came with first."""
        assert self.known is not None
        name = blake2b(x_1Chw.numpy().tobytes()).digest()
        if name not in self.known:
            self.known[name] = self._shares(x_1Chw)
        return self.known[name]


@contextmanager
def remembering(module: nn.Module) -> Iterator[None]:
    """Let the heads within a model see each example once: a training shows the same ones in every epoch.

    An answer costs more than all the rest of a step.
    """
    heads = [part for part in module.modules() if isinstance(part, SaliencyHead)]
    for head in heads:
        head.known = {}
    try:
        yield
    finally:
        for head in heads:
            head.known = None
