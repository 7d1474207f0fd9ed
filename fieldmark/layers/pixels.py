"""From stored pixels to what a network wants."""

from functools import lru_cache

import torch
from torch import Tensor


def normalise(images_BHW3: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Turn uint8 pixels into a backbone's input (B, 3, H, W), channels-last in memory.

    >>> pixel = torch.tensor([[[[0, 255, 255]]]], dtype=torch.uint8)
    >>> normalise(pixel, mean=(0.0, 0.0, 0.5), std=(1.0, 2.0, 0.5)).flatten().tolist()
    [0.0, 0.5, 1.0]
    """
    x_BCHW = images_BHW3.permute(0, 3, 1, 2).float().div_(255)
    return x_BCHW.sub_(_channels(tuple(mean), x_BCHW.device)).div_(_channels(tuple(std), x_BCHW.device))


@lru_cache
def _channels(value: tuple[float, ...], device: torch.device) -> Tensor:
    """Return a number for each channel (1, 3, 1, 1), once: to copy it to a GPU is to wait for the GPU."""
    with torch.inference_mode(False):  # it is kept: born in inference mode, it could never enter a training step
        return torch.tensor(value, device=device).view(1, -1, 1, 1)
