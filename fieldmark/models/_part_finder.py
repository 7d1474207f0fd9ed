"""iFAM's first stage (arXiv 2506.08915): a ViT whose patches are sorted into parts and a background."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fieldmark.core.contracts import Batch, Output
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers import part_losses, parts
from fieldmark.layers.vit import Vit

#: Weights of the losses, as released.
COST = {
    "presence": 1.0, "background_presence": 2.0, "equivariance": 1.0, "variation": 1.0, "entropy": 1.0,
    "orthogonality": 1.0,
}  # fmt: skip


class Found(NamedTuple):
    """What the first stage finds in a picture, in single precision."""

    x_BDhw: Tensor  # normalised tokens
    logits_BKhw: Tensor  # interventions applied
    part_BKhw: Tensor  # probabilities; the background is the last
    norm_Bhw: Tensor  # of the tokens, before they are normalised


class PartFinder(nn.Module):
    """Parts, the mask they make, and an answer from each part's own vector; options as in ``models.ifam.build``."""

    def __init__(
        self, vit: Vit, num_classes: int, *, parts: int, soft: bool, dropout: float, temperature: float,
        cost: Mapping[str, float], released_orthogonality: bool, vit_lr: float,
    ) -> None:  # fmt: skip
        super().__init__()
        if unknown := sorted(set(cost) - set(COST)):
            raise FieldmarkError(f"ifam has no loss {', '.join(unknown)}: `cost` weighs {', '.join(COST)}.")
        self.vit, self.soft, self.dropout, self.temperature = vit, soft, dropout, temperature
        self.cost, self.released_orthogonality = {**COST, **cost}, released_orthogonality
        self.prototype_KD = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(parts + 1, vit.dim), a=5**0.5))
        self.modulation = nn.LayerNorm([parts + 1, vit.dim])
        self.linear = nn.Linear(vit.dim, num_classes, bias=False)
        self.register_buffer("floor_K", torch.full((parts,), -float("inf")))
        self.floor_K: Tensor
        self.removed: tuple[int, ...] = ()
        self.lr_factors = {"vit.": vit_lr, "prototype_KD": 0.1}  # as released: a tenth of the new classifiers' rate

    def find(self, x_BCHW: Tensor) -> Found:
        """Sort the patches; in training with noise, else with the interventions that were asked for."""
        patch_BDhw = self.vit.embed(x_BCHW)
        _, token_BND = self.vit.encode(patch_BDhw.flatten(2).mT)
        with torch.autocast(x_BCHW.device.type, enabled=False):
            x_BDhw = self.vit.norm(token_BND.float()).mT.reshape(patch_BDhw.shape)
            logits_BKhw = parts.part_logits(x_BDhw, self.prototype_KD)
            if not self.training:
                dot_BKhw = parts.dot_logits(x_BDhw, self.prototype_KD)
                logits_BKhw = parts.without_parts(parts.confident(logits_BKhw, dot_BKhw, self.floor_K), self.removed)
            part_BKhw = parts.likelihoods(logits_BKhw, temperature=self.temperature, draw=self.training)
            return Found(x_BDhw, logits_BKhw, part_BKhw, token_BND.float().norm(dim=2).view_as(x_BDhw[:, 0]))

    def mask(self, found: Found) -> Tensor:
        """Return what is visible (B, h, w); in training by a draw of its own, with whole parts dropped."""
        if not self.training:
            return parts.foreground(found.part_BKhw, soft=self.soft)
        drawn_BKhw = parts.likelihoods(found.logits_BKhw, temperature=self.temperature, draw=True)
        return parts.foreground(drawn_BKhw, soft=self.soft, dropout=self.dropout)

    def forward(self, batch: Batch, forced_Bhw: Tensor | None = None) -> Output:
        """Answer from the parts' vectors; ``energy`` (B,) is what shapes the parts, in training.

        A forced mask leaves of each part what lies in it.
        """
        found, costs = self.find(batch.x_BCHW), {}
        part_BKhw = found.part_BKhw if forced_Bhw is None else found.part_BKhw * forced_Bhw[:, None]
        if self.training and self.cost["equivariance"]:
            costs["equivariance"] = self._moved(batch.x_BCHW, found)
        with torch.autocast(batch.x_BCHW.device.type, enabled=False):
            vector_BKD = self.modulation(parts.pooled(found.x_BDhw, part_BKhw))
            seen_BKD = F.dropout1d(vector_BKD[:, :-1], self.dropout, self.training)
            mask_Bhw = self.mask(found) if forced_Bhw is None else forced_Bhw
            output = Output(self.linear(seen_BKD).mean(1), mask_Bhw, {"norm": found.norm_Bhw})
            if not self.training:
                return output
            costs |= self._costs(found.part_BKhw, vector_BKD)
            energy = torch.stack([self.cost[name] * value for name, value in costs.items()]).sum()
        return output._replace(extras={**output.extras, **costs, "energy": energy.expand(len(batch.x_BCHW))})

    def _moved(self, x_BCHW: Tensor, found: Found) -> Tensor:
        """Return the equivariance loss; the second stage, which it doesn't concern, isn't run on the warped picture."""
        there_23, back_23 = part_losses.draw_warp(x_BCHW.shape[2], x_BCHW.shape[3], x_BCHW.device)
        warped_BKhw = self.find(part_losses.warp(x_BCHW, there_23)).part_BKhw
        return part_losses.equivariance(found.part_BKhw, warped_BKhw, back_23)

    def _costs(self, part_BKhw: Tensor, vector_BKD: Tensor) -> dict[str, Tensor]:
        return {
            "presence": part_losses.presence(part_BKhw),
            "background_presence": part_losses.background_presence(part_BKhw),
            "variation": part_losses.variation(part_BKhw),
            "entropy": part_losses.entropy(part_BKhw),
            "orthogonality": part_losses.orthogonality(vector_BKD.mT if self.released_orthogonality else vector_BKD),
        }

    @torch.no_grad()
    def fit_floor(self, pictures: Iterable[Tensor], quantile: float) -> None:
        """Set each part's floor to a quantile of its product with the patches it has in these pictures.

        A part that has no patch keeps no floor.

        Args:
            pictures: batches of normalised pixels, of the training part.
            quantile: 0.01 to 0.10 in the paper; 0 takes no floor at all.
        """
        self.floor_K.fill_(-float("inf"))
        if not quantile:
            return
        products: list[list[Tensor]] = [[] for _ in self.floor_K]
        for x_BCHW in pictures:
            found = self.find(x_BCHW.to(self.floor_K.device))
            dot_BKhw, assigned_Bhw = parts.dot_logits(found.x_BDhw, self.prototype_KD), found.logits_BKhw.argmax(1)
            for part, values in enumerate(products):
                values.append(dot_BKhw[:, part][assigned_Bhw == part].cpu())
        for part, values in enumerate(products):
            if len(all_N := torch.cat(values)):
                place = int(quantile * (len(all_N) - 1))
                self.floor_K[part] = all_N.kthvalue(place + 1).values
