"""The plain network: every token counts the same."""

from torch import nn

from fieldmark.core.contracts import Backbone
from fieldmark.layers.pooling import TokenClassifier

TRAINS_ON = "features"
VIEW = "plain"
TRAIN_PART = "train"
DEPLOYABLE = True


def build(backbone: Backbone, num_classes: int) -> nn.Module:
    """Return global average pooling and a linear classifier."""
    return TokenClassifier(backbone.channels, num_classes)
