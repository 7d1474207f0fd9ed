"""The plain vision transformer, trained on pixels: iFAM's second stage that sees every patch."""

import torch
from torch import Tensor, nn

from fieldmark.core.contracts import Backbone, Batch, Output
from fieldmark.layers.vit_classifier import VitClassifier
from fieldmark.models._vit import Weights, started

TRAINS_ON = "pixels"
VIEW = "plain"
TRAIN_PART = "train"
DEPLOYABLE = True


def build(
    backbone: Backbone,
    num_classes: int,
    *,
    weights: Weights = "random",
    vit_lr: float = 1.0,
    patch: int | None = None,
    dim: int = 96,
    depth: int = 4,
    heads: int = 3,
    grid: tuple[int, int] = (8, 8),
) -> nn.Module:
    """Return a ViT, a linear classifier on its class token, and nothing else; options as of ``ifam``.

    Args:
        backbone: where the weights come from, if ``weights`` says so; else only its stride is used.
        num_classes: number of labels.
        weights: ``random``, or ``backbone`` for a copy of its ViT.
        vit_lr: learning rate of the ViT as a fraction of the classifier's.
        patch: px, of a random ViT; by default the backbone's stride.
        dim: of a random ViT's tokens.
        depth: blocks of a random ViT.
        heads: of a random ViT.
        grid: patches a random ViT is made for.
    """
    vit = started(backbone, weights, patch=patch, dim=dim, depth=depth, heads=heads, grid=grid)
    return PlainVit(VitClassifier(vit, num_classes), vit_lr)


class PlainVit(nn.Module):
    """``erm`` on pixels by a ViT; a forced mask weights its keys in every block."""

    def __init__(self, classifier: VitClassifier, vit_lr: float) -> None:
        super().__init__()
        self.classifier = classifier
        self.lr_factors = {"classifier.vit.norm.": 1.0, "classifier.vit.": vit_lr}  # the norm is started anew

    def forward(self, batch: Batch, forced_Bhw: Tensor | None = None) -> Output:
        """Classify normalised pixels."""
        logits_BK, token_BND = self.classifier(batch.x_BCHW, forced_Bhw)
        height = batch.x_BCHW.shape[2] // self.classifier.vit.patch
        norm_Bhw = token_BND.norm(dim=2).reshape(len(logits_BK), height, -1)
        return Output(logits_BK, torch.ones_like(norm_Bhw) if forced_Bhw is None else forced_Bhw, {"norm": norm_Bhw})
