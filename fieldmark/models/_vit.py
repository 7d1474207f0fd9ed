"""Where a vision transformer's first weights come from."""

from typing import Literal

from fieldmark.core.contracts import Backbone
from fieldmark.layers import dinov2
from fieldmark.layers.vit import Vit

Weights = Literal["random", "backbone"]


def started(
    backbone: Backbone, weights: Weights, *, patch: int | None, dim: int, depth: int, heads: int, grid: tuple[int, int]
) -> Vit:
    """Return a ViT that is free to learn: a copy of the backbone's, or a new one of these sizes.

    Raises:
        FieldmarkError: the backbone is to give the weights, and holds no ViT of DINOv2's shape.
    """
    if weights == "backbone":
        return dinov2.inside(backbone.module)
    return Vit(dim=dim, depth=depth, heads=heads, patch=patch or backbone.stride, grid=(grid[0], grid[1]))
