"""Division by what may be nothing."""

import torch
from torch import Tensor


def nonzero(total: Tensor) -> Tensor:
    """Return what to divide by: the total (0 or more), and 1 where it is 0, so that 0 / 0 is 0.

    A total clamped to the smallest number would give the same value with an infinite slope, and training a NaN.

    >>> nonzero(torch.tensor([0.0, 0.5])).tolist()
    [1.0, 0.5]
    """
    return torch.where(total > 0, total, 1.0)
