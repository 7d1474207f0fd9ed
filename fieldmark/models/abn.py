"""Attention branch network (ABN, arXiv 1812.10025): one mask for all channels, learnt by a branch that classifies too.

As its authors' code does it, but for the branch: there a copy of the last stage at stride 1, here, on the last map of a
frozen backbone, a 3 x 3 convolution.
"""

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from fieldmark.core.contracts import Backbone, Batch, Output, Score
from fieldmark.layers.attention_mask import each_head
from fieldmark.layers.pooling import masked_pool
from fieldmark.models import _attention_measures

TRAINS_ON = "features"
VIEW = "plain"
TRAIN_PART = "train"
DEPLOYABLE = True
MEANINGS = _attention_measures.MEANINGS
HIGHER_IS_BETTER = _attention_measures.HIGHER_IS_BETTER

Masks = Literal["one", "class"]


def build(
    backbone: Backbone, num_classes: int, *, masks: Masks = "one", residual: bool = True, hidden: int = 64
) -> nn.Module:
    """Return attention branch and perception branch.

    Args:
        backbone: where the features come from.
        num_classes: K.
        masks: ``one`` (the single-label code: K maps become one, through a sigmoid) or ``class`` (the multi-attribute
            code: map k weights the features for class k, as it is, without bounds).
        residual: weight features by 1 + mask, not by the mask; the multi-attribute code has both.
        hidden: channels of the branch.
    """
    return Abn(backbone.channels, num_classes, masks, residual, hidden)


class Abn(nn.Module):
    """K maps of the attention branch: their means are auxiliary logits, and the mask is made of them."""

    def __init__(self, channels: int, classes: int, masks: Masks, residual: bool, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, classes)
        self.branch = nn.Sequential(
            nn.Conv2d(channels, hidden, 3, padding=1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU(),
            nn.Conv2d(hidden, classes, 1, bias=False),
        )  # fmt: skip
        self.one: nn.Sequential | None = None
        if masks == "one":
            self.one = nn.Sequential(
                nn.BatchNorm2d(classes), nn.ReLU(), nn.Conv2d(classes, 1, 3, padding=1, bias=False), nn.BatchNorm2d(1)
            )
        self.residual = residual

    def forward(self, batch: Batch, forced_Bhw: Tensor | None = None) -> Output:
        """Classify features; what is shown is the mask, that of the predicted class, clipped to [0, 1].

        A forced mask is the whole weight, of ``1 + mask`` too, for all classes.
        """
        if forced_Bhw is not None:
            return Output(self.linear(masked_pool(batch.x_BCHW, forced_Bhw)), forced_Bhw, {})
        maps_BKhw = self.branch(batch.x_BCHW)
        mask_BKhw = self.masks(maps_BKhw)
        logits_BK = self._perceive(batch.x_BCHW, mask_BKhw)
        shown_Bhw = torch.take_along_dim(mask_BKhw, logits_BK.argmax(1).view(-1, 1, 1, 1), 1).squeeze(1).clamp(0, 1)
        return Output(logits_BK, shown_Bhw, {"auxiliary_logits": maps_BKhw.mean((2, 3))} if self.training else {})

    def masks(self, maps_BKhw: Tensor) -> Tensor:
        """Return a mask (B, K, h, w) for each class, in single precision; the same for all if there is one."""
        if self.one is None:
            return maps_BKhw.float()
        return torch.sigmoid(self.one(maps_BKhw).float()).expand_as(maps_BKhw)

    def answers(self, x_BCHW: Tensor) -> Tensor:
        """Return the logits of features."""
        return self._perceive(x_BCHW, self.masks(self.branch(x_BCHW)))

    def _perceive(self, x_BCHW: Tensor, mask_BKhw: Tensor) -> Tensor:
        weight_BKhw = 1 + mask_BKhw if self.residual else mask_BKhw
        pooled_BKC = weight_BKhw.flatten(2) @ x_BCHW.flatten(2).mT.to(weight_BKhw.dtype) / weight_BKhw[0, 0].numel()
        return each_head(self.linear, pooled_BKC)


def measures(module: Abn, batches: Iterable[tuple[Batch, Tensor, Tensor]]) -> dict[str, Score]:
    """Return accuracy under attacks on features, through the mask."""
    return _attention_measures.of_attacks(module.eval().answers, None, batches, module.linear.weight.device)
