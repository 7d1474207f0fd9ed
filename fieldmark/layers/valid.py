"""Convolutions without padding (AnchorNet, arXiv 2206.03367): a location of a map is a patch of the input, exactly.

Location i of a map sees the input from ``i * stride`` up to ``i * stride + field``; both numbers follow from the list
of layers. Squeeze-excitation breaks this: it averages over the whole map, so a location then depends on all of it.
The same code reads pictures (two axes) and text (one); ``__`` in a shape stands for either.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor, nn

SkipCrop = Literal["br", "center"]
KERNEL = 3  # of every convolution that looks around

_CONVOLUTION = {1: nn.Conv1d, 2: nn.Conv2d}
_NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}
_MEAN = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d}


class Geometry(NamedTuple):
    """What a location of a map sees, along each axis of the input."""

    field: int = 1  # pixels or words
    stride: int = 1  # from a location to the next

    def then(self, kernel: int, stride: int) -> "Geometry":
        """Return the geometry after one more layer without padding.

        >>> Geometry().then(3, 2).then(3, 2)
        Geometry(field=7, stride=4)
        """
        return Geometry(self.field + (kernel - 1) * self.stride, self.stride * stride)

    def locations(self, side: int) -> int:
        """Return how many locations an input of ``side`` has; 0 if it is smaller than the field.

        >>> Geometry(field=95, stride=8).locations(224)
        17
        """
        return max(0, (side - self.field) // self.stride + 1)


class Row(NamedTuple):
    """A block of the list of layers."""

    channels: int
    stride: int
    expand: float


class ValidBlock(nn.Module):
    """Inverted bottleneck without padding: widen, look around, weigh the channels, narrow; no activation at its end."""

    def __init__(self, channels: int, row: Row, *, se: bool, skip_crop: SkipCrop, dims: int) -> None:
        super().__init__()
        wide = round(channels * row.expand)
        self.widen = nn.Identity() if row.expand == 1 else nn.Sequential(*convolution(channels, wide, dims), nn.SiLU())
        self.around = nn.Sequential(*convolution(wide, wide, dims, KERNEL, row.stride, groups=wide), nn.SiLU())
        self.weigh = SqueezeExcitation(wide, max(1, channels // 4), dims) if se else nn.Identity()
        self.narrow = nn.Sequential(*convolution(wide, row.channels, dims))
        self.skips = row.stride == 1 and channels == row.channels
        self.margin = 0 if skip_crop == "br" else (KERNEL - 1) // 2

    def forward(self, x_BC__: Tensor) -> Tensor:
        """Return the block's map, smaller by what padding would have added."""
        y_BC__: Tensor = self.narrow(self.weigh(self.around(self.widen(x_BC__))))
        if not self.skips:
            return y_BC__
        for axis in range(2, x_BC__.dim()):
            x_BC__ = x_BC__.narrow(axis, self.margin, y_BC__.shape[axis])
        return y_BC__ + x_BC__


class SqueezeExcitation(nn.Module):
    """Weigh channels by what the whole map holds (arXiv 1709.01507); its two layers start as torch's do."""

    def __init__(self, channels: int, squeezed: int, dims: int) -> None:
        super().__init__()
        layer = _CONVOLUTION[dims]
        self.weigh = nn.Sequential(
            _MEAN[dims](1), layer(channels, squeezed, 1), nn.SiLU(), layer(squeezed, channels, 1), nn.Sigmoid()
        )

    def forward(self, x_BC__: Tensor) -> Tensor:
        """Return the map with weighted channels."""
        weighed_BC__: Tensor = x_BC__ * self.weigh(x_BC__)
        return weighed_BC__


class ValidTrunk(nn.Module):
    """A first convolution and blocks, all without padding; gives the maps after the blocks that ``taps`` names.

    ``taps`` count from 1; 0 is the first convolution. ``geometries`` and ``widths`` describe the maps that are given.
    """

    def __init__(
        self, channels: int, stem: Row, rows: Sequence[Row], taps: Sequence[int], *, se: bool, skip_crop: SkipCrop,
        dims: int,
    ) -> None:  # fmt: skip
        super().__init__()
        first = nn.Sequential(*convolution(channels, stem.channels, dims, KERNEL, stem.stride), nn.SiLU())
        blocks = (
            ValidBlock(before.channels, row, se=se, skip_crop=skip_crop, dims=dims)
            for before, row in zip((stem, *rows), rows, strict=False)
        )
        self.layers, self.taps = nn.ModuleList([first, *blocks]), frozenset(taps)
        self.geometries: list[Geometry] = []
        self.widths: list[int] = []
        geometry = Geometry()
        for number, row in enumerate((stem, *rows)):
            geometry = geometry.then(KERNEL, row.stride)
            if number in self.taps:
                self.geometries.append(geometry)
                self.widths.append(row.channels)

    def forward(self, x_BC__: Tensor) -> list[Tensor]:
        """Return the tapped maps, from the smallest field to the largest."""
        maps = []
        for number, layer in enumerate(self.layers):
            x_BC__ = layer(x_BC__)
            if number in self.taps:
                maps.append(x_BC__)
        return maps


def convolution(
    channels: int, out: int, dims: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, nn.Module]:
    """Return a convolution without padding or bias, He-initialised by its fan-out, and its batch normalisation."""
    layer = _CONVOLUTION[dims](channels, out, kernel, stride, groups=groups, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer, _NORM[dims](out)
