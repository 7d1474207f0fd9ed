"""iFAM (arXiv 2506.08915): one ViT finds parts of the object, a second one decides from the patches they cover alone.

The first stage sorts patches into K parts and a background; a patch is kept if a part is likelier than the background.
The second stage sees the picture anew with all other patches hidden as keys, in every block. In evaluation nothing is
drawn, so an answer is a function of the picture (the released code goes on sampling the mask).

The abstract's joint training, where the second stage refines the first, is ``coupling: joint``; the released code casts
the mask to Boolean, so no gradient passes: ``coupling: detached``.

Training is this project's (``training.fit``), which differs from the released one: gradients are not clipped (there: at
norm 2), and weight decay is of every parameter (there: not of vectors, prototypes and tokens).
"""

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Literal

import torch
from torch import Tensor, nn

from fieldmark.core.contracts import Backbone, Batch, Output
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.vit import Vit
from fieldmark.layers.vit_classifier import VitClassifier
from fieldmark.models._ifam_measures import HIGHER_IS_BETTER, MEANINGS, measures
from fieldmark.models._part_finder import PartFinder
from fieldmark.models._vit import Weights, started

__all__ = ["HIGHER_IS_BETTER", "MEANINGS", "measures"]

TRAINS_ON = "pixels"
VIEW = "plain"
TRAIN_PART = "train"
DEPLOYABLE = True

Coupling = Literal["joint", "detached", "sequential"]
Where = Literal["early", "late"]
Freeze = Literal["nothing", "blocks", "vit"]


def build(
    backbone: Backbone,
    num_classes: int,
    *,
    parts: int = 4,
    coupling: Coupling = "joint",
    soft: bool = False,
    where: Where = "early",
    weights: Weights = "random",
    freeze: Freeze = "nothing",
    vit_lr: float = 1.0,
    patch: int | None = None,
    dim: int = 96,
    depth: int = 4,
    heads: int = 3,
    grid: tuple[int, int] = (8, 8),
    dropout: float = 0.3,
    temperature: float = 1.0,
    cost: Mapping[str, float] | None = None,
    released_orthogonality: bool = False,
    prune: bool = False,
) -> nn.Module:
    """Return both stages.

    Args:
        backbone: where the weights come from, if ``weights`` says so; else only its stride is used.
        num_classes: number of labels.
        parts: K, besides the background.
        coupling: ``joint``: the second stage's loss trains the first one too, straight through the mask; ``detached``:
            both are trained at once, each by its own losses; ``sequential``: the second one after the first is fixed.
        soft: the mask is the likeliest part's probability and weights keys, instead of a decision.
        where: hide keys in all blocks, or only weight the last patches' mean (``late``: a control that leaks).
        weights: ``random``, or ``backbone`` for two copies of its ViT (vit_focus; a DINOv2 through hub).
        freeze: of the first stage, ``nothing``, its ``blocks`` (as released, if pretrained) or its whole ``vit``.
        vit_lr: learning rate of both ViTs as a fraction of the new layers'; 1e-4 as released, with pretrained weights.
        patch: px, of a random ViT; by default the backbone's stride.
        dim: of a random ViT's tokens; ``depth`` its blocks, ``heads`` its heads, ``grid`` the patches it is made for.
        depth: see ``dim``.
        heads: see ``dim``.
        grid: see ``dim``; pictures of another size have their positions interpolated.
        dropout: chance in training that a whole part is left out.
        temperature: of the parts' probabilities.
        cost: weights of the losses that differ from ``_part_finder.COST``.
        released_orthogonality: make feature dimensions differ, as the released code does, instead of parts.
        prune: in evaluation, compute only as many patches as the fullest mask of the batch: equal up to rounding.
    """
    first_vit, second_vit = (
        started(backbone, weights, patch=patch, dim=dim, depth=depth, heads=heads, grid=grid) for _ in range(2)
    )
    freeze_vit(first_vit, freeze)
    first = PartFinder(
        first_vit, num_classes, parts=parts, soft=soft, dropout=dropout, temperature=temperature, cost=cost or {},
        released_orthogonality=released_orthogonality, vit_lr=vit_lr,
    )  # fmt: skip
    return Ifam(first, VitClassifier(second_vit, num_classes, late=where == "late", prune=prune), coupling)


def freeze_vit(vit: Vit, freeze: Freeze) -> None:
    """Fix what is not to learn; with ``blocks``, what is around them (patches, tokens, positions, norm) learns on."""
    if freeze != "nothing":
        (vit if freeze == "vit" else vit.blocks).requires_grad_(False)


class Ifam(nn.Module):
    """Where, then what; parts can be looked at and taken away."""

    def __init__(self, first: PartFinder, second: VitClassifier, coupling: Coupling) -> None:
        super().__init__()
        self.first, self.second, self.coupling = first, second, coupling
        ours = {f"first.{name}": factor for name, factor in first.lr_factors.items()}
        anew = {"second.vit.norm.": 1.0}  # the classifier starts it anew: the first prefix that fits counts
        self.lr_factors = {**ours, **anew, "second.vit.": first.lr_factors["vit."]}

    def phases(self) -> Iterator[tuple[str, nn.Module]]:
        """Give what is trained, in order: both at once, or the second stage when the first has been fixed."""
        if self.coupling == "sequential":
            yield "first", self.first
            self.first.requires_grad_(False)
            yield "", self
        else:
            yield "", self

    def forward(self, batch: Batch, forced_Bhw: Tensor | None = None) -> Output:
        """Classify normalised pixels; with a forced mask the first stage isn't asked."""
        if forced_Bhw is not None:
            return Output(self.second(batch.x_BCHW, forced_Bhw).logits_BK, forced_Bhw, {})
        if self.coupling == "sequential":
            with torch.no_grad():
                found = self.first.find(batch.x_BCHW)
                mask_Bhw, extras = self.first.mask(found), {"norm": found.norm_Bhw}
        else:
            aimed: Output = self.first(batch)
            mask_Bhw, extras = aimed.mask_Bhw, {**aimed.extras, "auxiliary_logits": aimed.logits_BK}
        shown_Bhw = mask_Bhw if self.coupling == "joint" else mask_Bhw.detach()
        logits_BK = self.second(batch.x_BCHW, shown_Bhw).logits_BK
        return Output(logits_BK, mask_Bhw, {**extras, "empty": (mask_Bhw.amax((1, 2)) == 0).float()})

    @property
    def num_parts(self) -> int:
        """How many parts there are besides the background."""
        return len(self.first.floor_K)

    @torch.no_grad()
    def parts(self, batch: Batch) -> Tensor:
        """Return the part (B, h, w) each patch belongs to, interventions applied; K is the background."""
        return self.first.find(batch.x_BCHW).logits_BKhw.argmax(1)

    def without(self, *removed: int) -> "Ifam":
        """Return a copy that takes the patches of these parts for background, whenever it is asked in evaluation.

        Raises:
            FieldmarkError: there is no such part.
        """
        if unknown := [part for part in removed if not 0 <= part < self.num_parts]:
            raise FieldmarkError(f"there is no part {unknown[0]}: this model has the parts 0 to {self.num_parts - 1}.")
        other = deepcopy(self)
        other.first.removed = tuple(sorted({*self.first.removed, *removed}))
        return other

    def demand_confidence(self, batches: Iterable[tuple[Batch, Tensor, Tensor]], quantile: float) -> None:
        """From now on take from each part the patches it is less sure of than of this share of its training patches.

        The floors are buffers: they are kept with the weights.

        Args:
            batches: of the training part.
            quantile: 0.01 to 0.10 in the paper; 0 takes nothing any more.
        """
        self.eval().first.fit_floor((batch.x_BCHW for batch, _, _ in batches), quantile)
