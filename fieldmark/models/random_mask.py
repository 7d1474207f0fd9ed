"""Control: the true mask's area, anywhere. If it does as well as a learned mask, the gain was regularisation."""

import torch
from torch import Tensor, nn

from fieldmark.core.contracts import Backbone, Batch
from fieldmark.core.errors import FieldmarkError
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


def splitmix64(x: Tensor) -> Tensor:
    """Hash int64 numbers: the finaliser of SplitMix64 (Steele, Lea, Flood 2014), the same on every device.

    >>> hex(splitmix64(torch.tensor([0])).item() % 2**64)  # the first number of the reference code at seed 0
    '0xe220a8397b1dcdaf'
    """
    x = x + _signed(0x9E3779B97F4A7C15)
    x = (x ^ _shift(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shift(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shift(x, 31)


def _signed(word: int) -> int:
    """Return the int64 with the bits of an unsigned 64-bit word."""
    return word - 2**64 if word >= 2**63 else word


def _shift(x: Tensor, bits: int) -> Tensor:
    """Shift right, zeros coming in: torch's own shift repeats the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
