"""From a picture's pixels to what a model is given of it, second looks included, with gradients all the way back.

Training renders crops from their sources; here a crop is cut from the picture at full resolution, so that what changes
a pixel changes the crop too. So a first look is the full picture made small, which is not quite what a renderer draws.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fieldmark.core.contracts import Backbone, Batch, Fill
from fieldmark.layers.boxes import from_frame, overlap
from fieldmark.layers.straight_through import instead

GREY = 128 / 255  # what hidden pixels are painted with in training


class Eye:
    """What a model that sees ``size`` x ``size`` pixels is given of pictures that may be larger."""

    def __init__(self, backbone: Backbone, size: int, *, on_pixels: bool) -> None:
        self.size, self._grid = size, size // backbone.stride
        self._mean, self._std = backbone.mean, backbone.std
        self._backbone = None if on_pixels else backbone.module  # a model on pixels holds its own

    def batch(self, x_B3SS: Tensor, object_B1SS: Tensor, key_B: Tensor) -> Batch:
        """Return what the model is given.

        Args:
            x_B3SS: pictures in [0, 1], as large as the nearest second look needs.
            object_B1SS: 1 on the visible object, else 0.
            key_B: of the examples.
        """

        def look(boxes_Bn3: Tensor, keep_Bhw: Tensor | None = None, fill: Fill = "grey") -> Tensor:
            crops = [cut(x_B3SS, box_B3, self.size) for box_B3 in boxes_Bn3.unbind(1)]
            if keep_Bhw is not None:
                keep_Bnss = from_frame(boxes_Bn3.detach(), keep_Bhw, (self.size, self.size))
                crops = [painted(crop, keep_Bnss[:, n], fill) for n, crop in enumerate(crops)]
            return torch.cat([self._seen(crop) for crop in crops], 3)

        frame_B3 = x_B3SS.new_tensor([0.5, 0.5, 1.0]).expand(len(x_B3SS), 3)
        whole_B3ss = x_B3SS if x_B3SS.shape[2] == self.size else cut(x_B3SS, frame_B3, self.size)
        object_Bhw = F.adaptive_avg_pool2d(object_B1SS, self._grid).squeeze(1)
        return Batch(self._seen(whole_B3ss), object_Bhw, key_B, look)

    def _seen(self, crop_B3ss: Tensor) -> Tensor:
        mean_311, std_311 = (crop_B3ss.new_tensor(value).view(3, 1, 1) for value in (self._mean, self._std))
        normal_B3ss = (crop_B3ss - mean_311) / std_311
        if self._backbone is None:
            return normal_B3ss
        features_BChw: Tensor = self._backbone(normal_B3ss)
        return instead(features_BChw.half().float(), features_BChw)  # as stored; half precision would lose gradients


def cut(x_BCSS: Tensor, box_B3: Tensor, size: int) -> Tensor:
    """Return squares of pictures (B, C, size, size), each pixel the mean of what it covers; gradients reach the box.

    >>> picture = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> [cut(picture, torch.tensor([box]), 1).item() for box in ([0.75, 0.5, 0.5], [0.5, 0.5, 1.0])]
    [3.0, 2.5]
    """
    side, side_B = x_BCSS.shape[2], box_B3[:, 2]
    x_BSs, y_BSs = (overlap(box_B3[:, axis] - side_B / 2, side_B, side, size) for axis in (0, 1))
    across, down = (share_BSs / share_BSs.sum(1, keepdim=True) for share_BSs in (x_BSs, y_BSs))
    return down.mT[:, None] @ x_BCSS @ across[:, None]


def painted(crop_B3ss: Tensor, keep_Bss: Tensor, fill: Fill) -> Tensor:
    """Return crops whose pixels are painted over where ``keep`` is 0, as in training."""
    paint = torch.full_like(crop_B3ss, GREY if fill == "grey" else 0)
    if fill == "blur":
        blur_ss = blurring(crop_B3ss.shape[2], crop_B3ss)
        paint = blur_ss @ crop_B3ss @ blur_ss.mT
    return torch.where(keep_Bss[:, None] > 0.5, crop_B3ss, paint)


def blurring(side: int, like: Tensor) -> Tensor:
    """Return the matrix (side, side) that blurs columns as OpenCV does, by a Gaussian of side / 8, mirrored at edges.

    >>> blurring(3, torch.ones(1)).argmax(1).tolist()
    [0, 1, 2]
    """
    reach = int(round(side / 8 * 6 + 1) | 1) // 2
    far_o = torch.arange(-reach, reach + 1, device=like.device)
    weight_o = torch.softmax(-0.5 * (far_o / (side / 8)) ** 2, 0)
    from_so = (torch.arange(side, device=like.device)[:, None] + far_o).remainder(2 * side - 2)
    from_so = torch.minimum(from_so, 2 * side - 2 - from_so)
    return torch.zeros(side, side, device=like.device).scatter_add(1, from_so, weight_o.expand(side, -1)).to(like.dtype)
