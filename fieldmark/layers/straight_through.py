"""Hard decisions that can be learned, and attacked."""

import torch
from torch import Tensor


def straight_through(keep: Tensor, threshold: float = 0.5) -> Tensor:
    """Return 1 where ``keep`` exceeds ``threshold`` and 0 elsewhere; backward, pass the gradient through unchanged.

    The straight-through estimator (arXiv 1308.3432, section 4). The values are exact zeros and ones.

    >>> straight_through(torch.tensor([0.2, 0.5, 0.7])).tolist()
    [0.0, 0.0, 1.0]
    """
    return instead((keep > threshold).to(keep.dtype), keep)


def instead(value: Tensor, soft: Tensor) -> Tensor:
    """Return ``value``, to the last bit; backward, as if it were ``soft``, which has its shape.

    >>> soft = torch.tensor([1.3, 0.2], requires_grad=True)
    >>> (3 * instead(soft.round(), soft)).sum().backward()
    >>> soft.grad.tolist()
    [3.0, 3.0]
    """
    return Instead.apply(value, soft)  # type: ignore[no-any-return, no-untyped-call]  # torch types neither


class Instead(torch.autograd.Function):
    """One value forward, another's gradient backward: ``value + soft - soft.detach()`` would round off the ones."""

    @staticmethod
    def forward(value: Tensor, soft: Tensor) -> Tensor:
        """Give the value."""
        return value.view_as(value)

    @staticmethod
    def setup_context(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Save nothing: the gradient does not depend on the values."""

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[None, Tensor]:
        """Pass the gradient to ``soft``."""
        return None, gradient
