"""Which channels matter for a class or an attribute, read off masks while they are learnt."""

import torch
from torch import Tensor, nn

from fieldmark.layers.division import nonzero

DECAY = 0.99  # per step, of what is remembered: the masks of early epochs were others


class Importance(nn.Module):
    """How much more a head's mask opens a channel when the head's class or attribute is there than when it is not.

    Running means over training; the difference is divided by the head's largest, so it lies in [-1, 1]. ``shuffled``
    gives the values to other channels, the same for all heads: a control that keeps how large they are.
    Whoever observes says what is there: for attributes the truth, for classes what the model itself answers.
    """

    mass_2K: Tensor
    total_2KC: Tensor
    order_C: Tensor

    def __init__(self, heads: int, channels: int, *, shuffled: bool = False) -> None:
        super().__init__()
        self.register_buffer("mass_2K", torch.zeros(2, heads))
        self.register_buffer("total_2KC", torch.zeros(2, heads, channels))
        order_C = torch.arange(channels)
        if shuffled:
            order_C = torch.randperm(channels, generator=torch.Generator().manual_seed(0))
        self.register_buffer("order_C", order_C, persistent=False)

    @torch.no_grad()
    def observe(self, mask_BKCHW: Tensor, presence_BK: Tensor) -> None:
        """Take in a batch: ``presence`` in [0, 1]; NaN = unknown, left out."""
        present_2BK = torch.stack([presence_BK, 1 - presence_BK]).float().nan_to_num(0.0)
        opened_BKC = mask_BKCHW.mean((3, 4))
        self.mass_2K.lerp_(present_2BK.sum(1), 1 - DECAY)
        self.total_2KC.lerp_((present_2BK[..., None] * opened_BKC).sum(1), 1 - DECAY)

    def forward(self) -> Tensor:
        """Return the importances (K, C); 0 for a head of which nothing, or one side only, was seen."""
        mean_2KC = self.total_2KC / nonzero(self.mass_2K)[..., None]
        both_K1 = (self.mass_2K > 0).all(0)[:, None]
        difference_KC = torch.where(both_K1, mean_2KC[0] - mean_2KC[1], 0.0)
        largest_K1 = difference_KC.abs().amax(1, keepdim=True)
        return (difference_KC / nonzero(largest_K1))[:, self.order_C]
