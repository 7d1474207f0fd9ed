"""The picture nearby that a model finds hardest: attacks in the L-inf ball (arXiv 1706.06083, 2003.01690).

A picture lies in [0, 1]; no pixel of it moves further than ``eps``, and none outside the region at all. Every picture
tried is remembered by its margin, so an example counts as fooled if any of them fools the model, and more steps never
make what is found less hard. Nothing here waits for the device.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fieldmark.layers.hashing import uniform

Answers = Callable[[Tensor], Tensor]  # pictures (B, C, H, W) in [0, 1] -> logits (B, K)
Loss = Callable[[Tensor, Tensor], Tensor]  # logits (B, K), labels (B,) -> (B,), which the attack raises


class Target(NamedTuple):
    """What is attacked, and what of it may change."""

    answers: Answers
    x_BCHW: Tensor
    labels_B: Tensor
    key_B: Tensor  # int64: where an example's restarts begin hangs on its key alone
    region_B1HW: Tensor | None = None  # 1 where pixels may change, else 0; none: everywhere
    through: Answers | None = None  # whose gradients to follow, if not those of ``answers``


class Found(NamedTuple):
    """The hardest of all pictures tried."""

    x_BCHW: Tensor
    margin_B: Tensor  # above 0 the model is fooled

    def or_harder(self, x_BCHW: Tensor, margin_B: Tensor) -> "Found":
        """Return the harder of two pictures, for each example."""
        harder_B = margin_B > self.margin_B
        return Found(choose(harder_B, x_BCHW, self.x_BCHW), torch.where(harder_B, margin_B, self.margin_B))


class Ball(NamedTuple):
    """What each value of a picture may become."""

    low_BCHW: Tensor
    high_BCHW: Tensor

    def nearest(self, x_BCHW: Tensor) -> Tensor:
        """Return the nearest pictures inside; values that may not change are those of the picture, to the last bit."""
        return torch.clamp(x_BCHW, self.low_BCHW, self.high_BCHW)


def ball(target: Target, eps: float) -> Ball:
    """Return all pictures in [0, 1] no pixel of which is further away than ``eps``, or has changed off the region."""
    reach = eps if target.region_B1HW is None else eps * target.region_B1HW
    return Ball((target.x_BCHW - reach).clamp(0, 1), (target.x_BCHW + reach).clamp(0, 1))


def choose(which_B: Tensor, one_BCHW: Tensor, other_BCHW: Tensor) -> Tensor:
    """Return for each example one picture or the other."""
    return torch.where(which_B[:, None, None, None], one_BCHW, other_BCHW)


def margin(logits_BK: Tensor, labels_B: Tensor) -> Tensor:
    """Return by how much (B,) the best other class beats the label.

    >>> margin(torch.tensor([[1.0, 3.0, 2.0]]), torch.tensor([1])).item()
    -1.0
    """
    label_B1 = labels_B[:, None]
    others_BK = logits_BK.scatter(1, label_B1, -torch.inf)
    return others_BK.amax(1) - logits_BK.gather(1, label_B1).squeeze(1)


def cross_entropy(logits_BK: Tensor, labels_B: Tensor) -> Tensor:
    """Return the cross-entropy (B,)."""
    return F.cross_entropy(logits_BK, labels_B, reduction="none")


def dlr(logits_BK: Tensor, labels_B: Tensor) -> Tensor:
    """Return the difference-of-logits ratio (arXiv 2003.01690, equation 6): it does not change with the logits' scale.

    With two classes there is no third for its denominator: the margin, whose gradient never vanishes either.

    >>> dlr(torch.tensor([[1.0, 3.0, 2.0], [10.0, 30.0, 20.0]]), torch.tensor([1, 1])).tolist()
    [-0.5, -0.5]
    """
    if logits_BK.shape[1] < 3:
        return margin(logits_BK, labels_B)
    top_B3 = logits_BK.topk(3, dim=1).values
    return margin(logits_BK, labels_B) / (top_B3[:, 0] - top_B3[:, 2] + 1e-12)


class Uphill(NamedTuple):
    """How hard a picture is, and which way it becomes harder."""

    margin_B: Tensor  # of the model attacked
    loss_B: Tensor  # of the one whose gradients are followed
    way_BCHW: Tensor  # the gradient's sign


def uphill(target: Target, x_BCHW: Tensor, loss: Loss) -> Uphill:
    """Return a picture's margin, its loss, and the sign of the loss's gradient: 0 where no gradient comes back."""
    with torch.inference_mode(False), torch.enable_grad():
        moved = x_BCHW.detach().clone().requires_grad_()
        logits_BK = (target.through or target.answers)(moved)
        loss_B = loss(logits_BK, target.labels_B)
        if loss_B.requires_grad:
            (slope_BCHW,) = torch.autograd.grad(loss_B.sum(), moved, materialize_grads=True)
        else:
            slope_BCHW = torch.zeros_like(moved)
    margin_B = margin(logits_BK.detach(), target.labels_B) if target.through is None else answered(target, x_BCHW)
    return Uphill(margin_B, loss_B.detach(), slope_BCHW.sign())


def answered(target: Target, x_BCHW: Tensor) -> Tensor:
    """Return a picture's margin (B,) alone."""
    with torch.no_grad():
        return margin(target.answers(x_BCHW), target.labels_B)


def starts(target: Target, room: Ball, restarts: int) -> Iterator[Tensor]:
    """Give where to start: at the picture itself, then anywhere in the ball."""
    if restarts:
        yield target.x_BCHW
    for restart in range(1, restarts):
        share_BCHW = uniform(target.key_B, target.x_BCHW.shape[1:].numel(), restart).view_as(target.x_BCHW)
        yield room.nearest(room.low_BCHW + share_BCHW * (room.high_BCHW - room.low_BCHW))


def nothing(target: Target) -> Found:
    """Return what was found before anything is tried."""
    return Found(target.x_BCHW, torch.full_like(target.x_BCHW[:, 0, 0, 0], -torch.inf))


def pgd(
    target: Target, *, eps: float, steps: int = 10, restarts: int = 1, step: float = 0.25, loss: Loss = cross_entropy
) -> Found:
    """Return the hardest picture of projected gradient descent (arXiv 1706.06083).

    Args:
        target: what is attacked.
        eps: how far a pixel may move, of a range of 1.
        steps: of each restart; 0 tries where it starts, no more.
        restarts: the first starts at the picture, the others anywhere in the ball.
        step: length of a step, as a share of ``eps``. It does not hang on ``steps``: a longer attack goes on where a
            shorter one ends, so it never finds less.
        loss: what is raised.

    >>> weight = torch.tensor([1.0, -2.0]).view(1, 1, 1, 2)
    >>> def linear(x_BCHW):
    ...     score_B = (x_BCHW * weight).sum((1, 2, 3))
    ...     return torch.stack([score_B, -score_B], 1)
    >>> picture, label = torch.tensor([0.5, 0.125]).view(1, 1, 1, 2), torch.tensor([1])
    >>> pgd(Target(linear, picture, label, label), eps=0.25).x_BCHW.flatten().tolist()  # the optimum, clipped at 0
    [0.75, 0.0]
    """
    room, found = ball(target, eps), nothing(target)
    for x_BCHW in starts(target, room, restarts):
        for _ in range(steps):
            seen = uphill(target, x_BCHW, loss)
            found = found.or_harder(x_BCHW, seen.margin_B)
            x_BCHW = room.nearest(x_BCHW + step * eps * seen.way_BCHW)
        found = found.or_harder(x_BCHW, answered(target, x_BCHW))
    return found
