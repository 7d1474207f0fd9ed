"""Squares of a picture: where a mask says to look, and what of the picture's tokens they cover.

A box is centre x, centre y and side, as fractions of the frame.
"""

import torch
from torch import Tensor

from fieldmark.layers.division import nonzero


def centre(mask_Bhw: Tensor) -> Tensor:
    """Return the centre of mass (B, 2) of each mask as x, y; of an empty mask the middle of the frame.

    >>> centre(torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])).tolist()
    [[0.75, 0.5]]
    """
    height, width = mask_Bhw.shape[1:]
    mass_B = mask_Bhw.sum((1, 2))
    x_w = (torch.arange(width, device=mask_Bhw.device) + 0.5) / width
    y_h = (torch.arange(height, device=mask_Bhw.device) + 0.5) / height
    moments_B2 = torch.stack([(mask_Bhw.sum(1) * x_w).sum(1), (mask_Bhw.sum(2) * y_h).sum(1)], 1)
    return torch.where(mass_B[:, None] > 0, moments_B2 / nonzero(mass_B)[:, None], 0.5)


def around(xy_B2: Tensor, side: float) -> Tensor:
    """Return the square (B, 3) of a side around each point, moved so far that it lies inside the frame.

    >>> around(torch.tensor([[0.1, 0.5]]), 0.5).tolist()
    [[0.25, 0.5, 0.5]]
    """
    inside_B2 = xy_B2.clamp(side / 2, 1 - side / 2)
    return torch.cat([inside_B2, torch.full_like(inside_B2[:, :1], side)], 1)


def overlap(start_B: Tensor, side_B: Tensor, coarse: int, fine: int) -> Tensor:
    """Return which share (B, coarse, fine) of each cell of the frame each cell of a box covers, along one axis.

    >>> overlap(torch.tensor([0.5]), torch.tensor([0.5]), 2, 2).tolist()
    [[[0.0, 0.0], [0.5, 0.5]]]
    """
    cell = torch.arange(coarse, device=start_B.device)[None, :, None] / coarse
    edges_Bf = start_B[:, None] + side_B[:, None] * torch.arange(fine + 1, device=start_B.device) / fine
    low_B1f, high_B1f = edges_Bf[:, None, :-1], edges_Bf[:, None, 1:]
    return (torch.minimum(cell + 1 / coarse, high_B1f) - torch.maximum(cell, low_B1f)).clamp_min(0) * coarse


def _axes(box_B3: Tensor, frame: tuple[int, int], crop: tuple[int, int]) -> tuple[Tensor, Tensor]:
    side_B = box_B3[:, 2]
    x_Bww, y_Bhh = (overlap(box_B3[:, axis] - side_B / 2, side_B, frame[1 - axis], crop[1 - axis]) for axis in (0, 1))
    return y_Bhh, x_Bww


def onto_frame(boxes_Bn3: Tensor, crops_Bnhw: Tensor, frame: tuple[int, int]) -> Tensor:
    """Return masks of crops as one mask (B, H, W) of the frame: the mean weight of what a token shows, 0 where unseen.

    Where boxes overlap, the larger weight counts.

    >>> box, crop = torch.tensor([[[0.75, 0.5, 0.5]]]), torch.ones(1, 1, 2, 2)
    >>> onto_frame(box, crop, (2, 2)).tolist()
    [[[0.0, 0.5], [0.0, 0.5]]]
    """
    crop = (crops_Bnhw.shape[2], crops_Bnhw.shape[3])
    placed = []
    for box_B3, crop_Bhw in zip(boxes_Bn3.unbind(1), crops_Bnhw.unbind(1), strict=True):
        y_BHh, x_BWw = _axes(box_B3, frame, crop)
        placed.append(y_BHh @ crop_Bhw @ x_BWw.mT)
    return torch.stack(placed, 1).amax(1).clamp(0, 1)


def from_frame(boxes_Bn3: Tensor, mask_BHW: Tensor, crop: tuple[int, int]) -> Tensor:
    """Return what a mask of the frame gives the cells of each crop (B, n, h, w): the value at each cell's middle.

    >>> box, mask = torch.tensor([[[0.75, 0.5, 0.5]]]), torch.tensor([[[1.0, 0.2], [1.0, 0.7]]])
    >>> from_frame(box, mask, (2, 2)).squeeze().tolist()
    [[0.20000000298023224, 0.20000000298023224], [0.699999988079071, 0.699999988079071]]
    """
    rows_Bnh, columns_Bnw = (_middles(boxes_Bn3, axis, crop[1 - axis], mask_BHW.shape[2 - axis]) for axis in (1, 0))
    example_B111 = torch.arange(len(mask_BHW), device=mask_BHW.device)[:, None, None, None]
    return mask_BHW[example_B111, rows_Bnh[..., :, None], columns_Bnw[..., None, :]]


def _middles(boxes_Bn3: Tensor, axis: int, count: int, cells: int) -> Tensor:
    """Return in which of the frame's cells the middle of each of a crop's cells lies, along x (0) or y (1)."""
    start_Bn1, side_Bn1 = boxes_Bn3[..., axis, None] - boxes_Bn3[..., 2:] / 2, boxes_Bn3[..., 2:]
    number = torch.arange(count, device=boxes_Bn3.device) + 0.5
    # no plain number: a GPU would multiply by its inverse, and a middle on a border fall to the other side than here
    divisor = torch.full((), count, device=boxes_Bn3.device)
    return ((start_Bn1 + side_Bn1 * number / divisor) * cells).long().clamp(0, cells - 1)
