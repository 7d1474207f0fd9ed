"""Hard decisions that can be learned."""

import torch
from torch import Tensor


def straight_through(keep: Tensor, threshold: float = 0.5) -> Tensor:
    """Return 1 where ``keep`` exceeds ``threshold`` and 0 elsewhere; backward, pass the gradient through unchanged.

    The straight-through estimator (arXiv 1308.3432, section 4). The values are exact zeros and ones.

    >>> straight_through(torch.tensor([0.2, 0.5, 0.7])).tolist()
    [0.0, 0.0, 1.0]
    """
    return Hard.apply(keep, threshold)  # type: ignore[no-any-return, no-untyped-call]  # torch types neither


class Hard(torch.autograd.Function):
    """Threshold forward, identity backward: ``hard + keep - keep.detach()`` would round off the ones."""

    @staticmethod
    def forward(keep: Tensor, threshold: float) -> Tensor:
        """Binarise."""
        return (keep > threshold).to(keep.dtype)

    @staticmethod
    def setup_context(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, float], output: Tensor) -> None:
        """Save nothing: the gradient does not depend on the values."""

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        """Pass the gradient to ``keep``; the threshold gets none."""
        return gradient, None
