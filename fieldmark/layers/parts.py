"""Parts of an object, found without being told, and the hard mask they make (iFAM, arXiv 2506.08915).

Each patch is compared with K part prototypes and one of the background (index K, the last). A patch is visible where
some part is likelier than the background.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fieldmark.core.errors import FieldmarkError

INFINITY = float("inf")


def part_logits(x_BDhw: Tensor, prototype_KD: Tensor) -> Tensor:
    """Return minus the squared distance (B, K, h, w) of each patch to each prototype.

    >>> part_logits(torch.tensor([[[[3.0]], [[4.0]]]]), torch.tensor([[0.0, 0.0], [3.0, 2.0]])).flatten().tolist()
    [-25.0, -4.0]
    """
    size_K11 = prototype_KD.square().sum(1)[:, None, None]
    return 2 * dot_logits(x_BDhw, prototype_KD) - x_BDhw.square().sum(1, keepdim=True) - size_K11


def dot_logits(x_BDhw: Tensor, prototype_KD: Tensor) -> Tensor:
    """Return the product (B, K, h, w) of each patch with each prototype: how confident a part is of a patch."""
    return torch.einsum("bdhw,kd->bkhw", x_BDhw, prototype_KD)


def likelihoods(logits_BKhw: Tensor, *, temperature: float = 1.0, draw: bool = False) -> Tensor:
    """Return the parts' probabilities, summing to 1 over K; ``draw`` adds Gumbel noise (arXiv 1611.01144), soft."""
    if draw:
        return F.gumbel_softmax(logits_BKhw, temperature, dim=1)
    return (logits_BKhw / temperature).softmax(1)


def foreground(part_BKhw: Tensor, *, soft: bool = False, dropout: float = 0.0) -> Tensor:
    """Return which patches are visible (B, h, w), from the parts' probabilities with the background's last.

    Hard: exactly 1 where the likeliest part beats the background, else exactly 0; the gradient is that of the *sum*
    over parts, so all of them hear of every patch. Soft: the likeliest part's probability, with its own gradient.

    Args:
        part_BKhw: probabilities of K - 1 parts and the background.
        soft: give weights, not decisions.
        dropout: chance that a whole part is hidden; what it held then looks like background, which is why removing
            a part later is a question the model has been asked before.

    >>> foreground(torch.tensor([0.3, 0.3, 0.4]).view(1, 3, 1, 1)).item()  # 0.6 is foreground, but in two halves
    0.0
    """
    found_BKhw, background_Bhw = part_BKhw[:, :-1], part_BKhw[:, -1]
    if dropout:  # unlike torch's dropout, what is kept keeps its value: it competes with the background
        found_BKhw = found_BKhw * (torch.rand_like(found_BKhw[:, :, :1, :1]) >= dropout)
    likeliest_Bhw = found_BKhw.amax(1)
    if soft:
        return likeliest_Bhw
    sum_Bhw = found_BKhw.sum(1)
    return (likeliest_Bhw > background_Bhw).to(sum_Bhw.dtype) + (sum_Bhw - sum_Bhw.detach())  # the bracket is exactly 0


def pooled(x_BDhw: Tensor, part_BKhw: Tensor) -> Tensor:
    """Return each part's vector (B, K, D): the sum of its patches over the number of *all* patches.

    So a part counts by its area, as released.

    >>> pooled(torch.tensor([[[[2.0, 4.0]]]]), torch.tensor([[[[0.0, 1.0]], [[1.0, 0.0]]]])).flatten().tolist()
    [2.0, 1.0]
    """
    return torch.einsum("bkhw,bdhw->bkd", part_BKhw, x_BDhw) / (x_BDhw.shape[2] * x_BDhw.shape[3])


def without_parts(logits_BKhw: Tensor, removed: Sequence[int]) -> Tensor:
    """Return the logits with the patches of the removed parts given to the background, for certain.

    Raises:
        FieldmarkError: there is no such part.

    >>> without_parts(torch.tensor([2.0, 1.0, 0.0]).view(1, 3, 1, 1), [0]).flatten().tolist()
    [-inf, -inf, 0.0]
    """
    parts = logits_BKhw.shape[1] - 1
    if unknown := [part for part in removed if not 0 <= part < parts]:
        raise FieldmarkError(f"there is no part {unknown[0]} to remove: the model has the parts 0 to {parts - 1}.")
    if not removed:
        return logits_BKhw
    index = torch.tensor(removed, device=logits_BKhw.device)
    lost_B1hw = torch.isin(logits_BKhw.argmax(1, keepdim=True), index)
    certain_K = logits_BKhw.new_full((parts + 1,), -INFINITY)
    certain_K[-1] = 0
    return torch.where(lost_B1hw, certain_K[:, None, None], logits_BKhw.index_fill(1, index, -INFINITY))


def confident(logits_BKhw: Tensor, dot_BKhw: Tensor, floor_K: Tensor) -> Tensor:
    """Return the logits with each part taken from the patches it is less sure of than its floor.

    Args:
        logits_BKhw: of K - 1 parts and the background, which loses nothing.
        dot_BKhw: ``dot_logits`` of the same.
        floor_K: of the K - 1 parts; minus infinity takes nothing.
    """
    unsure_BKhw = dot_BKhw[:, :-1] < floor_K[:, None, None]
    return torch.cat([logits_BKhw[:, :-1].masked_fill(unsure_BKhw, -INFINITY), logits_BKhw[:, -1:]], 1)
