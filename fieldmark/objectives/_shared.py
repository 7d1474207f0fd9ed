"""What an objective is told of the training part, and the loss that most of them share."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch.nn.functional as F
from torch import Tensor, nn

from fieldmark.core.errors import FieldmarkError

Ints = npt.NDArray[np.int64]


class Targets(NamedTuple):
    """The N examples of the training part, in the order in which an objective counts them."""

    labels_N: Ints
    groups_N: Ints  # numbered as in the batches
    seed: int = 0  # of what an objective draws before training

    def group_sizes(self) -> Ints:
        """Return how many examples each group has; a group may have none.

        Raises:
            FieldmarkError: an example whose group is not known.

        >>> Targets(np.array([0, 1, 1]), np.array([0, 2, 2])).group_sizes().tolist()
        [1, 0, 2]
        """
        unknown = int((self.groups_N < 0).sum())
        if unknown:
            raise FieldmarkError(
                f"{unknown} of {len(self.groups_N)} training examples are in a group that the split does not have: "
                "use an objective that is blind to groups, or train on variants that keep to the split's groups."
            )
        return np.bincount(self.groups_N)


class CrossEntropy(nn.Module):
    """The mean cross-entropy over the batch."""

    def forward(self, logits_BK: Tensor, labels_B: Tensor, groups_B: Tensor) -> Tensor:
        """Return the loss of one batch.

        >>> import torch
        >>> loss = CrossEntropy()(torch.zeros(2, 4), torch.tensor([0, 3]), torch.tensor([0, 1]))
        >>> round(loss.item(), 4)  # ln 4
        1.3863
        """
        return F.cross_entropy(logits_BK, labels_B)


def balanced(groups_N: Ints, draw: np.random.Generator) -> Ints:
    """Return rows with as many of each group as the smallest has, in ascending order.

    >>> groups_N = np.array([0, 0, 0, 1, 3])
    >>> groups_N[balanced(groups_N, np.random.default_rng(0))].tolist()
    [0, 1, 3]
    """
    groups, sizes = np.unique(groups_N, return_counts=True)
    chosen = [draw.choice(np.flatnonzero(groups_N == group), sizes.min(), replace=False) for group in groups]
    return np.sort(np.concatenate(chosen))
