"""Patches that carry the evidence (AnchorNet, arXiv 2206.03367): which to take, how to cut them out, what they cover.

A box is ``[first, past]`` along each axis, in pixels (or words): (d, 2), d = 2 for pictures and 1 for text; ``__`` in a
shape stands for either. A missing box, where fewer than k qualify, is -1 everywhere. The released code measures boxes
one pixel too narrow; at its limit of 0.3 and its stride of 8 that decides nothing otherwise.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fieldmark.layers.division import nonzero
from fieldmark.layers.valid import Geometry


def every_box(geometry: Geometry, sides: Sequence[int], device: torch.device) -> Tensor:
    """Return the box (N, d, 2) of each location of a map, the last axis running fastest.

    >>> every_box(Geometry(field=3, stride=2), [6], torch.device("cpu")).tolist()
    [[[0, 3]], [[2, 5]]]
    """
    first = [geometry.stride * torch.arange(geometry.locations(side), device=device) for side in sides]
    first_Nd = torch.stack(torch.meshgrid(*first, indexing="ij"), -1).flatten(0, -2)
    return torch.stack([first_Nd, first_Nd + geometry.field], -1)


def clash(box_Bd2: Tensor, boxes_Nd2: Tensor) -> Tensor:
    """Return the intersection over union (B, N) of boxes with others; 1 where the other one lies inside.

    >>> taken = torch.tensor([[[0, 4]]])
    >>> clash(taken, torch.tensor([[[0, 4]], [[2, 6]], [[1, 2]], [[4, 8]]])).tolist()
    [[1.0, 0.3333333432674408, 1.0, 0.0]]
    """
    first_B1d, past_B1d = box_Bd2[:, None].unbind(-1)
    first_1Nd, past_1Nd = boxes_Nd2[None].unbind(-1)
    shared_BNd = (torch.minimum(past_B1d, past_1Nd) - torch.maximum(first_B1d, first_1Nd)).clamp_min(0)
    shared_BN = shared_BNd.prod(-1)
    union_BN = (past_B1d - first_B1d).prod(-1) + (past_1Nd - first_1Nd).prod(-1) - shared_BN
    inside_BN = ((first_1Nd >= first_B1d) & (past_1Nd <= past_B1d)).all(-1)
    return torch.where(inside_BN, 1.0, shared_BN / union_BN)


def propose(score_BN: Tensor, boxes_Nd2: Tensor, limits: Sequence[float]) -> Tensor:
    """Return which boxes (B, k) to take, greedily: the highest score that does not clash with one taken before.

    The first is taken for its rank, wherever it lies; a location that a strict limit passed over may come back under a
    looser one. Nothing waits for the device.

    Args:
        score_BN: of each candidate.
        boxes_Nd2: the candidates.
        limits: the highest clash allowed, for the first to the k-th box; the first one's is not used.

    Returns:
        int64 indices, -1 where no candidate is left.

    >>> boxes = every_box(Geometry(field=2, stride=1), [5], torch.device("cpu"))
    >>> propose(torch.tensor([[5.0, 4.0, 3.0, 2.0]]), boxes, [0.3] * 3).tolist()
    [[0, 2, -1]]
    """
    row_B = torch.arange(len(score_BN), device=score_BN.device)
    worst_BN = torch.full_like(score_BN, -torch.inf)  # clash with what is taken
    taken: list[Tensor] = []
    for limit in limits:
        free_BN = worst_BN <= (limit if taken else torch.inf)
        best_B = score_BN.masked_fill(~free_BN, -torch.inf).argmax(1)
        there_B = free_BN[row_B, best_B]
        taken.append(torch.where(there_B, best_B, -1))
        clash_BN = clash(boxes_Nd2[best_B], boxes_Nd2).to(worst_BN).scatter(1, best_B[:, None], torch.inf)
        worst_BN = torch.where(there_B[:, None], torch.maximum(worst_BN, clash_BN), worst_BN)
    return torch.stack(taken, 1)


def chosen(index_Bk: Tensor, boxes_Nd2: Tensor) -> Tensor:
    """Return the boxes (B, k, d, 2) of ``propose``'s indices; a missing one is -1 everywhere."""
    return torch.where(index_Bk[..., None, None] < 0, -1, boxes_Nd2[index_Bk.clamp_min(0)])


def crop(x_BC__: Tensor, first_Bkd: Tensor, side: int) -> Tensor:
    """Return the patches (B, k, C, side, ...) that start at ``first_Bkd``, value for value.

    >>> crop(torch.tensor([[[10, 11, 12, 13]]]), torch.tensor([[[1], [2]]]), 2).tolist()
    [[[[11, 12]], [[12, 13]]]]
    """
    count, dims = first_Bkd.shape[1:]
    here_s = torch.arange(side, device=x_BC__.device)
    row_B = torch.arange(len(x_BC__), device=x_BC__.device).view(-1, *[1] * (dims + 1))
    places: list[Tensor | slice] = [row_B, slice(None)]
    for axis in range(dims):
        shape = [len(x_BC__), count, *[1] * dims]
        shape[2 + axis] = side
        places.append((first_Bkd[..., axis, None] + here_s).view(shape))
    return x_BC__[tuple(places)].movedim(-1, 2)


def resized(patches_BkC__: Tensor, side: int) -> Tensor:
    """Return patches (B, k, C, side, ...), interpolated linearly; untouched if that is their side."""
    if patches_BkC__.shape[-1] == side:
        return patches_BkC__
    mode = "linear" if patches_BkC__.dim() == 4 else "bilinear"
    resized_NC__ = F.interpolate(patches_BkC__.flatten(0, 1), size=side, mode=mode, align_corners=False)
    return resized_NC__.view(*patches_BkC__.shape[:2], *resized_NC__.shape[1:])


def share(box__2: Tensor, side: int, cells: int) -> Tensor:
    """Return which share (..., cells) of each of an axis's cells lies in ``[first, past]``; whole pixels, so exact.

    >>> share(torch.tensor([2, 7]), side=8, cells=2).tolist()
    [0.5, 0.75]
    """
    size = side // cells
    first_c = size * torch.arange(cells, device=box__2.device)
    past__c = torch.minimum(box__2[..., 1:], first_c + size)
    return (past__c - torch.maximum(box__2[..., :1], first_c)).clamp_min(0) / size


def cover(box_Bk22: Tensor, sides: tuple[int, int], tokens: tuple[int, int]) -> Tensor:
    """Return which share (B, k, h, w) of each token of a picture each box covers; nothing for a missing one."""
    y_Bkh, x_Bkw = (share(box_Bk22[:, :, axis], sides[axis], tokens[axis]) for axis in (0, 1))
    return y_Bkh[..., None] * x_Bkw[..., None, :]


def onto_tokens(map_Bij: Tensor, geometry: Geometry, sides: tuple[int, int], tokens: tuple[int, int]) -> Tensor:
    """Return a map of locations as one of tokens (B, h, w): a mean, weighted by how much of the token each sees."""
    y_ih, x_jw = (
        share(every_box(geometry, [side], map_Bij.device)[:, 0], side, count)
        for side, count in zip(sides, tokens, strict=True)
    )
    seen_hw = y_ih.sum(0)[:, None] * x_jw.sum(0)
    return (y_ih.mT @ map_Bij.float() @ x_jw) / nonzero(seen_hw)
