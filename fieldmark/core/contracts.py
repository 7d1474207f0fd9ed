"""What a model takes and gives, and what a measure gives.

Shapes: B batch, C channels, H W pixels, h w tokens, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from fieldmark.core.errors import FieldmarkError

if TYPE_CHECKING:
    from torch import Tensor, nn


def no_saliency() -> nn.Module:
    """Say that a backbone has no head that finds objects.

    Raises:
        FieldmarkError: always.
    """
    raise FieldmarkError("the backbone brings no head that finds objects: use the backbone vit_focus.")


class Backbone(NamedTuple):
    """A feature extractor and the facts its users need."""

    module: nn.Module  # normalised images (B, 3, H, W) -> features (B, C, h, w)
    channels: int
    stride: int  # image pixels per token
    mean: tuple[float, float, float]  # of pixels in [0, 1]
    std: tuple[float, float, float]
    fingerprint: str  # sha256 of the weights
    saliency: Callable[[], nn.Module] = no_saliency  # makes the head that came with it: Batch -> mask (B, h, w)

    def facts(self) -> dict[str, Any]:
        """Return what is written down of it: all that is no code."""
        return {name: value for name, value in self._asdict().items() if name not in ("module", "saliency")}


Fill = Literal["black", "grey", "blur"]  # what hidden pixels are painted with


class Look(Protocol):
    """See the batch's pictures again, nearer: what a second stage asks for."""

    def __call__(self, boxes_Bn3: Tensor, keep_Bhw: Tensor | None = None, fill: Fill = "grey") -> Tensor:
        """Return crops at full resolution, side by side, as what the model trains on: (B, C, h, n * w).

        Args:
            boxes_Bn3: n squares for each picture: centre x, centre y and side, as fractions of the frame.
            keep_Bhw: 0 where the frame's pixels are painted over first, 1 elsewhere; no gradient comes back.
            fill: what they are painted with; ``blur`` is the picture without detail.
        """


class Batch(NamedTuple):
    """What a model sees of B examples; controls may read the true mask, deployable models must not."""

    x_BCHW: Tensor  # features or normalised pixels, after the model's TRAINS_ON
    object_Bhw: Tensor | None = None  # share of each token that is object, in [0, 1]
    key_B: Tensor | None = None  # int64, one per example: the only source of per-example randomness
    look: Look | None = None
    attributes_BA: Tensor | None = None  # float32: 1 has it, 0 has not, NaN unknown; None in service
    pixels: Callable[[], Tensor] | None = None  # the same pictures normalised, where x_BCHW are features of them


class Output(NamedTuple):
    """What a model says of B examples, and where it looked."""

    logits_BK: Tensor
    mask_Bhw: Tensor  # in [0, 1]: the weight each token had in the decision
    extras: dict[str, Tensor]  # by name; "energy": (B,) is added to the loss, the rest is for people


class BlackBox(NamedTuple):
    """A classifier of which only the answers are known: somebody else trained it."""

    classes: tuple[str, ...]  # all it can say, in the order of its probabilities
    size: int  # px, side of the square picture it sees
    probabilities: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]  # (B, size, size, 3) -> (B, classes)
    files: Mapping[str, str]  # what it is made of: name -> sha256
    about: str  # what it is, in a few words


class Attacked(NamedTuple):
    """What a model says of N pictures that were changed to fool it, in the order of their recipes."""

    probabilities_NK: npt.NDArray[np.float32]
    masks_Nhw: npt.NDArray[np.float32]


class Attack(Protocol):
    """Change pictures to fool the model, as little as nobody sees."""

    def __call__(
        self, recipes: pd.DataFrame, *, eps: float, kind: str = "pgd", steps: int = 10, restarts: int = 1,
        region: str = "all",
    ) -> Attacked:  # fmt: skip
        """Return what the model says of the hardest pictures found.

        Args:
            recipes: what to change.
            eps: how far a pixel may move, of a range of 1; 0 gives the pictures as they are.
            kind: of attack (``layers.attacks.Kind``).
            steps: of each restart.
            restarts: the first starts at the picture, the others anywhere in reach.
            region: where pixels may change: ``all``, ``object`` or ``background``.
        """


class Interval(Protocol):
    """An estimate and its interval, as fractions; ``stats`` makes them."""

    @property
    def mean(self) -> float:
        """The estimate."""

    @property
    def low(self) -> float:
        """Lower end."""

    @property
    def high(self) -> float:
        """Upper end."""


class Score(NamedTuple):
    """A measure as a function of cell means: ``combine({cell: mean of its values})``.

    Kept as observations, not as one number, so that intervals can be bootstrapped by source and paired by seed.
    """

    values: npt.NDArray[np.float64]  # (N,) one observation each; NaN = unknown, left out of its cell's mean
    cells: npt.NDArray[np.str_]  # (N,) the cell each observation belongs to
    rows: npt.NDArray[np.int64]  # (N,) which row of the recipes the observation is about
    combine: str = "mean"  # a name in COMBINE
    chance: float = float("nan")  # what knowing nothing gives; NaN = not defined
    weights: dict[str, float] | None = None  # cell -> weight: expected cells; none given: all cells seen count the same

    def means(self) -> dict[str, float]:
        """Return the mean of each expected cell; an empty cell is NaN."""
        known = ~np.isnan(self.values)
        sums = pd.Series(self.values[known]).groupby(self.cells[known]).mean()
        expected = self.weights if self.weights is not None else dict.fromkeys(np.unique(self.cells).tolist())
        return {str(cell): float(sums.get(cell, np.nan)) for cell in sorted(expected)}

    def counts(self) -> dict[str, int]:
        """Return how many known observations each expected cell has."""
        known = self.cells[~np.isnan(self.values)]
        return {cell: int((known == cell).sum()) for cell in self.means()}

    @property
    def value(self) -> float:
        """The measure itself; NaN when a cell it needs is empty."""
        means = self.means()
        weights = np.array([(self.weights or dict.fromkeys(means, 1.0))[cell] for cell in means])
        return float(COMBINE[self.combine](np.array(list(means.values()))[None], weights)[0])


def _weighted_mean(means_DK: npt.NDArray[np.float64], weights_K: npt.NDArray[np.float64]) -> Any:
    return (means_DK * weights_K).sum(1) / weights_K.sum()


def _worst(means_DK: npt.NDArray[np.float64], weights_K: npt.NDArray[np.float64]) -> Any:
    return means_DK.min(1)  # NaN when any cell is: the worst of unknown groups is unknown


def _contrast(means_DK: npt.NDArray[np.float64], weights_K: npt.NDArray[np.float64]) -> Any:
    return (means_DK * weights_K).sum(1)


def _absolute(means_DK: npt.NDArray[np.float64], weights_K: npt.NDArray[np.float64]) -> Any:
    return (np.abs(means_DK) * weights_K).sum(1)


def _relative(means_DK: npt.NDArray[np.float64], weights_K: npt.NDArray[np.float64]) -> Any:
    """Half the contrast of two accuracies, in units of what their mean leaves room for: in [-1, 1], 0 without room.

    Both sides have the same sum of weights, above and below 0.
    """
    half_D, mean_D = (_weighted_mean(means_DK * sign_K, np.abs(weights_K)) for sign_K in (np.sign(weights_K), 1))
    room_D = np.minimum(mean_D, 1 - mean_D)
    return np.divide(half_D, room_D, out=0 * room_D, where=room_D > 0)  # 0 x NaN: unknown stays unknown


#: How cell means (D draws, K cells) and cell weights (K,) become D numbers.
COMBINE = {
    "mean": _weighted_mean,
    "worst": _worst,
    "contrast": _contrast,
    "absolute": _absolute,
    "relative": _relative,
}
