"""Tokens weighted by their magnitude: a mask for nothing, which a learned one must beat.

The mask has no parameters: each token's length, as a fraction of the longest in its image.
"""

from torch import Tensor, nn

from fieldmark.core.contracts import Backbone, Batch
from fieldmark.layers.evidence import magnitude, relative
from fieldmark.layers.pooling import TokenClassifier

TRAINS_ON = "features"
VIEW = "plain"
TRAIN_PART = "train"
DEPLOYABLE = True


def build(backbone: Backbone, num_classes: int, *, renormalise: bool = False) -> nn.Module:
    """Return a linear classifier on tokens weighted by their magnitude.

    Args:
        backbone: where the features come from.
        num_classes: K.
        renormalise: divide the weighted sum by the weights' sum, not by the number of tokens.
    """
    return TokenClassifier(backbone.channels, num_classes, relative_norm, renormalise=renormalise)


def relative_norm(batch: Batch) -> Tensor:
    """Return each token's length over the longest token's of its image: (B, h, w) in [0, 1]."""
    return relative(magnitude(batch.x_BCHW))
