"""Looks at a picture: made small as a whole, and patch by patch, by two classifiers of any kind."""

from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fieldmark.core.contracts import Batch, Output
from fieldmark.layers.anchor import Candidates, each_alone
from fieldmark.models._anchor import AnchorNet, Found, grids, shown
from fieldmark.models._within import learned_from, lr_factors_of


class Resized(nn.Module):
    """A classifier of the whole picture, made small."""

    def __init__(self, net: nn.Module, side: int, token: int) -> None:
        super().__init__()
        self.net, self.side, self.token = net, side, token
        self.lr_factors = lr_factors_of(net)

    def forward(self, batch: Batch, forced_Bhw: Tensor | None = None) -> Output:
        """Classify normalised pixels; it sees all of them."""
        x_BCHW = shown(batch.x_BCHW, forced_Bhw)
        small_BCss = F.interpolate(x_BCHW, size=self.side, mode="bicubic", align_corners=True)  # as released
        output: Output = self.net(Batch(small_BCss))
        mask_Bhw = x_BCHW.new_ones(len(x_BCHW), *grids(x_BCHW, self.token)[1]) if forced_Bhw is None else forced_Bhw
        return Output(output.logits_BK, mask_Bhw, learned_from(output))


class Looks(NamedTuple):
    """What a classifier says of each patch alone."""

    found: Found
    logits_BkK: Tensor
    there_Bk: Tensor  # bool; where no patch was left, what is said of it counts for nothing
    extras: dict[str, Tensor]  # what the classifier learns from beside, B * k in a row


class Patches(nn.Module):
    """A classifier of single patches; the AnchorNet that picks them is fixed.

    It learns from all k patches of a picture, each alone labelled with the picture's class, as released: one patch
    drawn per step would estimate the same loss with more noise.
    """

    def __init__(self, anchor: AnchorNet, net: nn.Module, side: int) -> None:
        super().__init__()
        self.anchor, self.net, self.side = anchor, net, side
        self.lr_factors = lr_factors_of(net)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the classifier; AnchorNet only points."""
        super().train(mode)
        self.anchor.eval()
        return self

    def forward(self, batch: Batch, forced_Bhw: Tensor | None = None) -> Output:
        """Classify by the mean log-probability of the patches; with the energy, the loss is the mean of their own."""
        x_BCHW = shown(batch.x_BCHW, forced_Bhw)
        looks = self.look(x_BCHW)
        weight_Bk = looks.there_Bk.float()
        logits_BK, energy_B = each_alone(looks.logits_BkK, weight_Bk)
        extras = {}
        if "auxiliary_logits" in looks.extras:
            second_BkK = looks.extras["auxiliary_logits"].view(*weight_Bk.shape, -1)
            extras["auxiliary_logits"], second_B = each_alone(second_BkK, weight_Bk)
            energy_B = energy_B + second_B
        if "energy" in looks.extras:
            energy_B = energy_B + (looks.extras["energy"].view_as(weight_Bk) * weight_Bk).sum(1) / weight_Bk.sum(1)
        mask_Bhw = self.anchor.covered(looks.found, x_BCHW).amax(1) if forced_Bhw is None else forced_Bhw
        return Output(logits_BK, mask_Bhw, {"energy": energy_B, **extras})

    def find(self, x_BCHW: Tensor) -> Found:
        """Return where to look."""
        with torch.no_grad():
            return self.anchor.find(x_BCHW)

    def look(self, x_BCHW: Tensor) -> Looks:
        """Return what is said of every patch."""
        found = self.find(x_BCHW)
        there_Bk = found.index_Bk >= 0
        output = self.classify(x_BCHW, found.candidates, found.index_Bk)
        return Looks(found, output.logits_BK.view(*there_Bk.shape, -1), there_Bk, learned_from(output))

    def classify(self, x_BCHW: Tensor, candidates: Candidates, index_Bk: Tensor) -> Output:
        """Return the classifier's output on some candidates, B * k in a row."""
        patches_BkCss = self.anchor.net.cut(x_BCHW, candidates, index_Bk, self.side)
        output: Output = self.net(Batch(patches_BkCss.flatten(0, 1)))
        return output
