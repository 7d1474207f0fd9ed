"""What a feature map says of its own tokens: their magnitude, and their evidence for a class. No parameters."""

import torch
from torch import Tensor

from fieldmark.layers.division import nonzero


def magnitude(x_BCHW: Tensor) -> Tensor:
    """Return the length (B, h, w) of each token's feature vector, in single precision."""
    length_Bhw: Tensor = torch.linalg.vector_norm(x_BCHW.float(), dim=1)
    return length_Bhw


def class_evidence(x_BCHW: Tensor, weight_KC: Tensor, class_B: Tensor) -> Tensor:
    """Return each token's score (B, h, w) for one class of each example: the class activation map.

    It is ``<w_c, x_i>`` (arXiv 1512.04150, equation 2): its mean over tokens is the class's logit on the plain mean,
    less the bias. On global average pooling and a linear classifier, Grad-CAM is the same up to the factor N.

    Args:
        x_BCHW: features.
        weight_KC: of the linear classifier.
        class_B: int64, which class of each example.

    >>> x = torch.tensor([[[[1.0, 0.0]], [[0.0, 3.0]]]])  # two tokens, each with a channel of its own
    >>> class_evidence(x, torch.tensor([[1.0, 0.0], [5.0, -1.0]]), torch.tensor([1])).tolist()
    [[[5.0, -3.0]]]
    """
    with torch.autocast(x_BCHW.device.type, enabled=False):
        chosen_B1C = weight_KC.float()[class_B].unsqueeze(1)
        return torch.bmm(chosen_B1C, x_BCHW.float().flatten(2)).view(x_BCHW[:, 0].shape)


def relative(score_Bhw: Tensor) -> Tensor:
    """Return the positive part as a fraction of each example's largest; 0 where nothing is positive.

    >>> relative(torch.tensor([[[-1.0, 1.0, 4.0]], [[-2.0, 0.0, -1.0]]])).tolist()
    [[[0.0, 0.25, 1.0]], [[0.0, 0.0, 0.0]]]
    """
    positive_Bhw = score_Bhw.clamp_min(0)
    largest_B11 = positive_Bhw.amax((1, 2), keepdim=True)
    return positive_Bhw / nonzero(largest_B11)
