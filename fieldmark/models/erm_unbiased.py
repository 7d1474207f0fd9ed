"""The plain network where background and label are independent: what no shortcut would give."""

from torch import nn

from fieldmark.core.contracts import Backbone
from fieldmark.layers.pooling import TokenClassifier

TRAINS_ON = "features"
VIEW = "plain"
TRAIN_PART = "train_unbiased"
DEPLOYABLE = True


def build(backbone: Backbone, num_classes: int) -> nn.Module:
    """Return the same network as ``erm``; only what it is trained on differs."""
    return TokenClassifier(backbone.channels, num_classes)
