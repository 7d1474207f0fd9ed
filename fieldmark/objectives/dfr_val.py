"""ERM, and then a new last layer from a group-balanced validation part (DFR on val, arXiv 2204.02937)."""

from collections.abc import Sequence

from torch import nn

from fieldmark.objectives._last_layer import STRENGTHS, LastLayer
from fieldmark.objectives._shared import Targets

SUPERVISION = "val groups"


def build(train: Targets, *, subsets: int = 20, strengths: Sequence[float] = STRENGTHS) -> nn.Module:
    """Return cross-entropy whose last layer is fitted anew on ``subsets`` balanced draws from the validation part.

    Validation is then spent: what is measured on it says nothing of the model, and can't select anything else.

    Args:
        train: gives the seed of the draws.
        subsets: how many fits are averaged.
        strengths: inverse strengths of the L1 penalty to choose from.
    """
    return LastLayer(train, "val", subsets, strengths)
