"""As many examples of every group as the smallest one has: the others are never seen."""

import numpy as np
from torch import nn

from fieldmark.objectives._shared import CrossEntropy, Ints, Targets, balanced

SUPERVISION = "train groups"


def build(train: Targets) -> nn.Module:
    """Return cross-entropy on a balanced subset, drawn once from ``train.seed``; "SUBG" in arXiv 2110.14503.

    An epoch is as much shorter as the subset is smaller: for as many steps as others take, give it more epochs.
    """
    train.group_sizes()  # refuses unknown groups
    return Subsampled(balanced(train.groups_N, np.random.default_rng(train.seed)))


class Subsampled(CrossEntropy):
    """Cross-entropy on some rows of the training part."""

    def __init__(self, kept: Ints) -> None:
        super().__init__()
        self.kept = kept

    def rows(self, draw: np.random.Generator) -> Ints:
        """Return what an epoch shows: the subset, in random order."""
        return draw.permutation(self.kept)
