"""Every group counts the same: cross-entropy weighted by the inverse of the group's size."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fieldmark.objectives._shared import Targets

SUPERVISION = "train groups"


def build(train: Targets) -> nn.Module:
    """Return the loss with weights N / (G n_g) for the G groups that occur: over an epoch their mean is 1.

    Source: the baseline of group DRO (arXiv 1911.08731); "RWG" in arXiv 2110.14503.
    """
    sizes_G = train.group_sizes()
    occurring = int((sizes_G > 0).sum())
    weights_G = np.divide(sizes_G.sum() / occurring, sizes_G, where=sizes_G > 0, out=np.full(len(sizes_G), np.nan))
    return Reweighted(torch.from_numpy(weights_G).float())


class Reweighted(nn.Module):
    """Cross-entropy with a weight for each group."""

    weights_G: Tensor

    def __init__(self, weights_G: Tensor) -> None:
        super().__init__()
        self.register_buffer("weights_G", weights_G)

    def forward(self, logits_BK: Tensor, labels_B: Tensor, groups_B: Tensor) -> Tensor:
        """Return the batch's mean; not divided by its weights, or rare examples would count less side by side.

        >>> loss = Reweighted(torch.tensor([0.5, 2.0]))(torch.zeros(2, 2), torch.tensor([0, 1]), torch.tensor([0, 1]))
        >>> round(loss.item(), 4)  # (0.5 + 2) / 2 * ln 2
        0.8664
        """
        losses_B = F.cross_entropy(logits_BK, labels_B, reduction="none")
        return (self.weights_G[groups_B] * losses_B).mean()
