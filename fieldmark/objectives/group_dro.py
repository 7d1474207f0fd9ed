"""Group DRO: the groups that lose most weigh most, and weights follow losses step by step (arXiv 1911.08731)."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fieldmark.objectives._shared import Ints, Targets

SUPERVISION = "train groups"


def build(train: Targets, *, step: float = 0.01, adjustment: float = 0.0, uniform: bool = True) -> nn.Module:
    """Return the online objective of algorithm 1.

    It needs strong weight decay (0.1 to 1 in the paper) or few epochs: where all training losses vanish, it is ERM.

    Args:
        train: the groups; one that does not occur has weight 0.
        step: eta, the step of the groups' weights.
        adjustment: C; a group of n examples is taken to lose C / sqrt(n) more than it does in training.
        uniform: draw the examples of an epoch with replacement so that groups are equally likely, as the authors do;
            otherwise each is seen once, and small groups are missing from many batches.
    """
    return GroupDro(train, step, adjustment, uniform)


class GroupDro(nn.Module):
    """The state is the groups' weights; it moves with every call."""

    q_G: Tensor
    excess_G: Tensor

    def __init__(self, train: Targets, step: float, adjustment: float, uniform: bool) -> None:
        super().__init__()
        sizes_G = torch.from_numpy(train.group_sizes())
        occurs_G = (sizes_G > 0).float()
        self.step, self.uniform, self.groups_N = step, uniform, train.groups_N
        self.register_buffer("q_G", occurs_G / occurs_G.sum())
        self.register_buffer("excess_G", adjustment / sizes_G.clamp_min(1).sqrt())

    def rows(self, draw: np.random.Generator) -> Ints:
        """Return what an epoch shows: as many rows as there are examples."""
        count = len(self.groups_N)
        if not self.uniform:
            return draw.permutation(count)
        share_N = 1 / np.bincount(self.groups_N)[self.groups_N]
        return draw.choice(count, count, p=share_N / share_N.sum())

    def forward(self, logits_BK: Tensor, labels_B: Tensor, groups_B: Tensor) -> Tensor:
        """Return ``sum q_g L_g`` after the step ``q_g <- q_g exp(eta (L_g + C / sqrt(n_g)))``, renormalised.

        A group that is not in the batch has the loss 0.
        """
        losses_B = F.cross_entropy(logits_BK, labels_B, reduction="none")
        numbers_G = torch.arange(len(self.q_G), device=groups_B.device)
        member_GB = (groups_B == numbers_G[:, None]).to(losses_B.dtype)
        losses_G = (member_GB @ losses_B) / member_GB.sum(1).clamp_min(1)
        with torch.no_grad():
            raised_G = self.q_G * (self.step * (losses_G + self.excess_G)).exp()
            self.q_G = raised_G / raised_G.sum()
        return self.q_G @ losses_G
