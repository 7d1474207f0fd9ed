"""Control: everything but the object. What the background alone is worth."""

from torch import Tensor, nn

from fieldmark.core.contracts import Backbone, Batch
from fieldmark.layers.pooling import TokenClassifier, true_mask

TRAINS_ON = "features"
VIEW = "plain"
TRAIN_PART = "train"
DEPLOYABLE = False


def build(backbone: Backbone, num_classes: int, *, renormalise: bool = False) -> nn.Module:
    """Return a linear classifier on tokens weighted by their share of background.

    The backbone has mixed the object into its neighbours' tokens: this bounds the background's worth from above.
    """
    return TokenClassifier(backbone.channels, num_classes, background, renormalise=renormalise)


def background(batch: Batch) -> Tensor:
    """Return each token's share of background."""
    return 1 - true_mask(batch)
