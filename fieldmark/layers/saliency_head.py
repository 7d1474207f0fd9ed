"""A decoder that draws, from a ViT's tokens, where the object is: three steps, each twice as fine."""

from collections import OrderedDict
from itertools import pairwise
from typing import Self

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

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation: statistics of another task would be lost."""
        return super().train(False)

    def scores(self, x_BChw: Tensor) -> Tensor:
        """Return the logits of object (B, 8h, 8w)."""
        logits_B1HW: Tensor = self.decoder(x_BChw)
        return logits_B1HW.squeeze(1)

    def forward(self, batch: Batch) -> Tensor:
        """Return the mean probability of object over each token's patch: (B, h, w) in [0, 1]."""
        return F.avg_pool2d(self.scores(batch.x_BCHW).sigmoid(), FINER)
