"""Control: the true mask's area, anywhere. If it does as well as a learned mask, the gain was regularisation."""

import torch
from torch import Tensor, nn

from fieldmark.core.contracts import Backbone, Batch
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.hashing import splitmix64
from fieldmark.layers.pooling import TokenClassifier, true_mask

TRAINS_ON = "features"
VIEW = "plain"
TRAIN_PART = "train"
DEPLOYABLE = False


def build(backbone: Backbone, num_classes: int, *, renormalise: bool = False) -> nn.Module:
    """Return a linear classifier on tokens weighted by the true mask's weights in an order drawn once per example."""
    return TokenClassifier(backbone.channels, num_classes, scattered, renormalise=renormalise)


def scattered(batch: Batch) -> Tensor:
    """Return the true mask's token weights, permuted by each example's key alone: same area, other places.

    Raises:
        FieldmarkError: the batch holds no true mask or no keys.
    """
    share_Bhw = true_mask(batch)
    if batch.key_B is None:
        raise FieldmarkError("random_mask got examples without keys: a batch needs key_B, one int64 per example.")
    share_BN = share_Bhw.flatten(1)
    position_N = torch.arange(1, share_BN.shape[1] + 1, device=share_BN.device)
    order_BN = splitmix64(splitmix64(batch.key_B)[:, None] + position_N).argsort(dim=1, stable=True)
    return share_BN.gather(1, order_BN).view_as(share_Bhw)
