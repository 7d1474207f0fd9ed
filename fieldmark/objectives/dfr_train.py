"""ERM, and then a new last layer from a group-balanced training part (DFR on train, arXiv 2204.02937)."""

from collections.abc import Sequence

from torch import nn

from fieldmark.objectives._last_layer import STRENGTHS, LastLayer
from fieldmark.objectives._shared import Targets

SUPERVISION = "train groups"


def build(train: Targets, *, subsets: int = 10, strengths: Sequence[float] = STRENGTHS) -> nn.Module:
    """Return cross-entropy whose last layer is fitted anew on ``subsets`` balanced draws from the training part.

    Args:
        train: gives the seed of the draws.
        subsets: how many fits are averaged.
        strengths: inverse strengths of the L1 penalty to choose from, here by the training part too.

    Raises:
        FieldmarkError: an example's group is not known.
    """
    train.group_sizes()
    return LastLayer(train, "train", subsets, strengths)
