"""From tokens and their weights to class scores."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fieldmark.core.contracts import Batch, Output
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.division import nonzero


def masked_pool(x_BCHW: Tensor, mask_Bhw: Tensor, *, renormalise: bool = False) -> Tensor:
    """Return the mean (B, C) over tokens of ``mask * x``.

    The sum is divided by the number of tokens, as in the released code of ERSM (arXiv 2604.06893): a dropped token is a
    zero that still counts, so the mask scales the result. ``renormalise`` divides by the mask's sum instead (a weighted
    mean; an empty mask gives zeros).

    >>> x, mask = torch.tensor([[[[2.0, 4.0]]]]), torch.tensor([[[1.0, 0.0]]])
    >>> masked_pool(x, mask).item(), masked_pool(x, mask, renormalise=True).item()
    (1.0, 2.0)
    """
    x_BNC, mask_B1N = x_BCHW.flatten(2).mT, mask_Bhw.flatten(1).unsqueeze(1)
    total_BC = torch.bmm(mask_B1N.to(x_BNC.dtype), x_BNC).squeeze(1)
    if not renormalise:
        return total_BC / x_BNC.shape[1]
    return total_BC / nonzero(mask_B1N.sum(2))


def everything(batch: Batch) -> Tensor:
    """Return the all-ones mask of a batch of features."""
    return batch.x_BCHW.new_ones(batch.x_BCHW[:, 0].shape)


def true_mask(batch: Batch) -> Tensor:
    """Return each token's share of object.

    Raises:
        FieldmarkError: the batch holds no true mask.
    """
    if batch.object_Bhw is None:
        raise FieldmarkError(
            "a mask control got examples without a true mask: give it rendered examples, or use another model."
        )
    return batch.object_Bhw


class TokenClassifier(nn.Module):
    """A linear classifier on the masked mean of a backbone's tokens; ``choose`` makes the mask from the batch."""

    mask_is_rule = True  # nothing that is learnt decides where it looks

    def __init__(
        self,
        channels: int,
        num_classes: int,
        choose: Callable[[Batch], Tensor] = everything,
        *,
        renormalise: bool = False,
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, num_classes)
        self.choose, self.renormalise = choose, renormalise

    def forward(self, batch: Batch, forced_Bhw: Tensor | None = None) -> Output:
        """Classify features; ``forced_Bhw`` replaces the chosen mask."""
        mask_Bhw = self.choose(batch) if forced_Bhw is None else forced_Bhw
        return Output(self.classify(batch.x_BCHW, mask_Bhw), mask_Bhw, {})

    def classify(self, x_BCHW: Tensor, mask_Bhw: Tensor) -> Tensor:
        """Return the logits (B, K) of masked features."""
        logits_BK: Tensor = self.linear(masked_pool(x_BCHW, mask_Bhw, renormalise=self.renormalise))
        return logits_BK
