"""Control: a single token, anywhere. What looking at a random place is worth."""

import torch
from torch import Tensor, nn

from fieldmark.core.contracts import Backbone, Batch
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.hashing import splitmix64
from fieldmark.layers.pooling import TokenClassifier

TRAINS_ON = "features"
VIEW = "plain"
TRAIN_PART = "train"
DEPLOYABLE = False


def build(backbone: Backbone, num_classes: int) -> nn.Module:
    """Return a linear classifier on one token of each example, drawn by the example's key alone."""
    return TokenClassifier(backbone.channels, num_classes, one_token, renormalise=True)


def one_token(batch: Batch) -> Tensor:
    """Return a mask that is 1 on one token.

    Raises:
        FieldmarkError: the batch holds no keys.
    """
    if batch.key_B is None:
        raise FieldmarkError("random_token got examples without keys: a batch needs key_B, one int64 per example.")
    height, width = batch.x_BCHW.shape[2:]
    place_B = splitmix64(batch.key_B).remainder(height * width)
    mask_BN = torch.zeros(len(place_B), height * width, device=place_B.device, dtype=batch.x_BCHW.dtype)
    return mask_BN.scatter(1, place_B[:, None], 1).view(-1, height, width)
