"""Auto-PGD (arXiv 2003.01690): projected gradient descent whose step has no length to choose."""

from typing import NamedTuple

import torch
from torch import Tensor

from fieldmark.layers.attack import Ball, Found, Loss, Target, answered, ball, choose, dlr, nothing, starts, uphill

RISING, MOMENTUM = 0.75, 0.75  # rho and alpha


def apgd(target: Target, *, eps: float, steps: int = 10, restarts: int = 1, loss: Loss = dlr) -> Found:
    """Return the hardest picture found (algorithm 1); arguments are those of ``attack.pgd``.

    Steps start at 2 ``eps`` and are halved for an example at each checkpoint where progress has stopped; there it goes
    on from its best picture, at rest.
    """
    room, found = ball(target, eps), nothing(target)
    for x_BCHW in starts(target, room, restarts):
        found = _climb(target, room, x_BCHW, found, 2 * eps, steps, loss)
    return found


class Point(NamedTuple):
    """A picture that was tried, and which way its loss rises."""

    x_BCHW: Tensor
    loss_B: Tensor
    way_BCHW: Tensor

    def unless(self, which_B: Tensor, other: "Point") -> "Point":
        """Return this point, for the examples given the other."""
        return Point(
            choose(which_B, other.x_BCHW, self.x_BCHW),
            torch.where(which_B, other.loss_B, self.loss_B),
            choose(which_B, other.way_BCHW, self.way_BCHW),
        )


class Progress(NamedTuple):
    """What has happened since the last checkpoint."""

    last_B: Tensor  # loss of the step before
    rises_B: Tensor  # steps that raised it
    best_B: Tensor  # best loss at the checkpoint
    halved_B: Tensor  # the step was halved there

    def told(self, loss_B: Tensor) -> "Progress":
        """Return the progress after one more step."""
        return self._replace(last_B=loss_B, rises_B=self.rises_B + (loss_B > self.last_B))

    def stuck(self, steps: int, best_B: Tensor) -> Tensor:
        """Return whose step is too long: few steps rose, or a step that was kept has found nothing better."""
        return (self.rises_B < RISING * steps) | (~self.halved_B & (best_B == self.best_B))


def _climb(target: Target, room: Ball, x_BCHW: Tensor, found: Found, first: float, steps: int, loss: Loss) -> Found:
    """Take all steps from one start."""
    stops = [0, *checkpoints(steps)]
    step_B, before_BCHW = torch.full_like(found.margin_B, first), x_BCHW
    none_B = torch.full_like(step_B, -torch.inf)
    top = Point(x_BCHW, none_B, torch.zeros_like(x_BCHW))
    progress = Progress(-none_B, torch.zeros_like(step_B), none_B, none_B > 0)
    for now in range(steps):
        seen = uphill(target, x_BCHW, loss)
        found = found.or_harder(x_BCHW, seen.margin_B)
        here = Point(x_BCHW, seen.loss_B, seen.way_BCHW)
        top, progress = top.unless(here.loss_B > top.loss_B, here), progress.told(here.loss_B)
        if now in stops[1:]:
            stuck_B = progress.stuck(now - stops[stops.index(now) - 1], top.loss_B)
            here, before_BCHW = here.unless(stuck_B, top), choose(stuck_B, top.x_BCHW, before_BCHW)
            step_B = torch.where(stuck_B, step_B / 2, step_B)
            progress = Progress(here.loss_B, torch.zeros_like(step_B), top.loss_B, stuck_B)
        ahead_BCHW = room.nearest(here.x_BCHW + step_B[:, None, None, None] * here.way_BCHW)
        drift_BCHW = MOMENTUM * (ahead_BCHW - here.x_BCHW) + (1 - MOMENTUM) * (here.x_BCHW - before_BCHW)
        x_BCHW = room.nearest(here.x_BCHW + drift_BCHW) if now else ahead_BCHW
        before_BCHW = here.x_BCHW
    return found.or_harder(x_BCHW, answered(target, x_BCHW))


def checkpoints(steps: int) -> list[int]:
    """Return the steps at which it looks back (section 3.2).

    >>> checkpoints(100), checkpoints(5)
    ([22, 41, 57, 70, 80, 87, 93, 99], [2, 3, 4, 5])
    """
    before, now, found = 0, 22, list[int]()  # in hundredths of all steps
    while now <= 100:
        found.append(-(-now * steps // 100))
        before, now = now, now + max(now - before - 3, 6)
    return [*dict.fromkeys(found)]
