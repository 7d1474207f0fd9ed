"""From stored pixels to what a network wants."""

from torch import Tensor


def normalise(images_BHW3: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Turn uint8 pixels into a backbone's input (B, 3, H, W), channels-last in memory.

    >>> import torch
    >>> pixel = torch.tensor([[[[0, 255, 255]]]], dtype=torch.uint8)
    >>> normalise(pixel, mean=(0.0, 0.0, 0.5), std=(1.0, 2.0, 0.5)).flatten().tolist()
    [0.0, 0.5, 1.0]
    """
    x_BCHW = images_BHW3.permute(0, 3, 1, 2).float().div_(255)
    per_channel = (1, 3, 1, 1)
    return x_BCHW.sub_(x_BCHW.new_tensor(mean).view(per_channel)).div_(x_BCHW.new_tensor(std).view(per_channel))
