"""AnchorNet (arXiv 2206.03367): a small network without padding, whose every location is a patch, picks its best ones.

It learns from random weights; of the backbone only the stride is used. As released: ``se: true, skip_crop: br``. With
squeeze-excitation a location sees a little of the whole picture; ``se: false`` makes location and patch the same thing.
"""

from collections.abc import Sequence

from torch import nn

from fieldmark.core.contracts import Backbone
from fieldmark.layers.valid import SkipCrop
from fieldmark.models._anchor import AnchorNet, Layers, evidence_net, limits
from fieldmark.models._anchor_measures import HIGHER_IS_BETTER, MEANINGS, measures

TRAINS_ON = "pixels"
VIEW = "plain"
TRAIN_PART = "train"
DEPLOYABLE = True

__all__ = ["HIGHER_IS_BETTER", "MEANINGS", "build", "measures"]


def build(
    backbone: Backbone,
    num_classes: int,
    *,
    layers: Layers = "small",
    multi_scale: bool = False,
    width: float = 1.0,
    se: bool = True,
    skip_crop: SkipCrop = "br",
    k: int = 1,
    tau: float | Sequence[float] = 0.3,
) -> nn.Module:
    """Return the network; its mask is what its k best patches cover.

    Args:
        backbone: its stride is the side of the mask's tokens.
        num_classes: K.
        layers: ``paper`` (95 px patches every 8 px, for 224 px) or, ours, ``small`` (31 px every 4, for 64 px) and
            ``tiny`` (19 px every 2).
        multi_scale: patches of three sizes, each with a classifier of its own that learns as if alone.
        width: factor on the trunk's channels.
        se: squeeze-excitation in each block.
        skip_crop: ``br`` cuts a skip at the bottom and right, ``center`` all around; ``small`` has no skips.
        k: patches in the mask.
        tau: the highest intersection over union of two patches; a list gives each further patch its own.

    Raises:
        FieldmarkError: an option has no such value.
    """
    net = evidence_net(num_classes, layers, width=width, se=se, skip_crop=skip_crop, multi_scale=multi_scale)
    return AnchorNet(net, backbone.stride, limits(k, tau))
