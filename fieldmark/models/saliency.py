"""Tokens weighted by a head that came with the backbone and finds objects: a mask that needs no training here.

People drew the masks it once learned from, so it is a rival of models that learn where to look without any: those
should be compared to it, and `two_stage` may aim by it.
"""

from torch import nn

from fieldmark.core.contracts import Backbone
from fieldmark.layers.pooling import TokenClassifier

TRAINS_ON = "features"
VIEW = "plain"
TRAIN_PART = "train"
DEPLOYABLE = True
SUPERVISION = "masks of other pictures"


def build(backbone: Backbone, num_classes: int, *, renormalise: bool = False) -> nn.Module:
    """Return a linear classifier on tokens weighted by how much object the backbone's own head sees in them.

    Args:
        backbone: where the features come from, and the head.
        num_classes: K.
        renormalise: divide the weighted sum by the weights' sum, not by the number of tokens.

    Raises:
        FieldmarkError: the backbone brings no such head.
    """
    return TokenClassifier(backbone.channels, num_classes, backbone.saliency(), renormalise=renormalise)
