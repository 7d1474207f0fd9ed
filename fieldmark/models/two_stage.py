"""Two stages: one model says where to look, another decides from that part alone, seen again at full resolution."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fieldmark.core import plugins
from fieldmark.core.contracts import Backbone, Batch, Fill, Output
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.boxes import around, centre, from_frame, onto_frame
from fieldmark.layers.straight_through import instead
from fieldmark.layers.transform import power
from fieldmark.models._within import in_one_go, learned_from, lr_factors_of

TRAINS_ON = "features"
VIEW = "plain"
TRAIN_PART = "train"
DEPLOYABLE = True

Aim = Literal["mean", "peak"]
STEPS = 64  # per side of the frame that a crop's centre moves in: what is seen must not hang on the last bit of a sum


def build(
    backbone: Backbone,
    num_classes: int,
    *,
    first: str = "token_norm",
    first_options: dict[str, Any] | None = None,
    second: str = "erm",
    second_options: dict[str, Any] | None = None,
    sides: Sequence[float] = (0.5,),
    aim: Aim = "mean",
    sharpness: float = 1.0,
    hide: float = 0.0,
    spread: int = 1,
    fill: Fill = "grey",
) -> nn.Module:
    """Return both models and the way from the first one's mask to what the second one sees.

    Args:
        backbone: where the features of both come from.
        num_classes: K.
        first: its mask aims. ``erm`` looks everywhere: the frame's centre. A model on pixels (``anchornet``, ``ifam``)
            learns to see by itself, from the pictures whose features the second one gets.
        first_options: of that model.
        second: a model on features; it decides, on the tokens of all crops side by side.
        second_options: of that model.
        sides: of the crops, as fractions of the frame; 1 is the whole frame.
        aim: centre the crops on the mask's centre of mass or on its highest token.
        sharpness: power the mask is raised to before its centre is taken.
        hide: tokens below this share of the mask's highest value are painted over, at full resolution; 0 hides none.
        spread: how many tokens in every direction stay visible around one that is not hidden.
        fill: what hidden tokens are painted with: ``black``, ``grey`` or ``blur``.

    Raises:
        FieldmarkError: one of the two can't be used so, a side is outside (0, 1], what to hide outside [0, 1], or the
            sharpness not above 0.
    """
    if not sides or min(sides) <= 0 or max(sides) > 1:
        raise FieldmarkError(
            f"two_stage got the sides {list(sides)}: give one or more fractions of the frame, in (0, 1]."
        )
    if sharpness <= 0:
        raise FieldmarkError(f"two_stage got the sharpness {sharpness}: give a power above 0 (1 leaves the mask).")
    if not 0 <= hide <= 1:
        raise FieldmarkError(f"two_stage got hide {hide}: give a share of the mask's highest value, in [0, 1].")
    where, what = (
        _built(name, backbone, num_classes, options)
        for name, options in ((first, first_options), (second, second_options))
    )
    if isinstance(what, OnPixels):
        raise FieldmarkError(f"two_stage can't decide by '{second}': name a model on features, such as erm or ersm.")
    return TwoStage(where, what, sides, aim, sharpness, hide, spread, fill)


def _built(name: str, backbone: Backbone, num_classes: int, options: dict[str, Any] | None) -> nn.Module:
    plugin = plugins.find("models", name)
    if plugin.VIEW != "plain" or name in ("two_stage", "finetune"):
        raise FieldmarkError(f"two_stage can't use '{name}': name a model on plain pictures, such as ersm or erm.")
    module: nn.Module = plugin.build(backbone, num_classes, **plugins.accepted(plugin.build, options or {}))
    in_one_go(name, module)
    return OnPixels(module) if plugin.TRAINS_ON == "pixels" else module


class OnPixels(nn.Module):
    """A model on pixels among models on features: it is shown the pictures behind them."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.lr_factors = lr_factors_of(net)

    def forward(self, batch: Batch, forced_Bhw: Tensor | None = None) -> Output:
        """Answer as the model does.

        Raises:
            FieldmarkError: the batch has features alone.
        """
        if batch.pixels is None:
            raise FieldmarkError(
                "a first stage on pixels got features alone: give it pictures (a batch with `pixels`)."
            )
        pixels_B3HW = batch.pixels().to(batch.x_BCHW.device)
        output: Output = self.net(batch._replace(x_BCHW=pixels_B3HW, look=None, pixels=None), forced_Bhw)
        return output


class TwoStage(nn.Module):
    """Aim by the first model's mask, look again, decide by the second model."""

    def __init__(
        self, first: nn.Module, second: nn.Module, sides: Sequence[float], aim: Aim, sharpness: float, hide: float,
        spread: int, fill: Fill,
    ) -> None:  # fmt: skip
        super().__init__()
        self.first, self.second = first, second
        self.sides, self.aim, self.sharpness = tuple(sides), aim, sharpness
        self.hide, self.spread, self.fill = hide, spread, fill

    def phases(self) -> Iterator[tuple[str, nn.Module]]:
        """Give what is trained, in order: the second model learns from what the first, by then fixed, shows it."""
        if not getattr(self.first, "mask_is_rule", False):
            yield "first", self.first
        self.first.requires_grad_(False)
        yield "", self

    def train(self, mode: bool = True) -> "TwoStage":
        """Set the mode of the second model; the first one only answers."""
        super().train(mode)
        self.first.eval()
        return self

    def forward(self, batch: Batch, forced_Bhw: Tensor | None = None) -> Output:
        """Classify; a forced mask aims and says which tokens of the second look count.

        The mask that is returned is that of the frame: the second model's weights, 0 outside the crops.

        Raises:
            FieldmarkError: the batch can't be seen again.
        """
        if batch.look is None:
            raise FieldmarkError("two_stage looks twice: give it pictures (a batch with `look`), not features alone.")
        mask_Bhw: Tensor = self.first(batch).mask_Bhw if forced_Bhw is None else forced_Bhw
        frame = (mask_Bhw.shape[1], mask_Bhw.shape[2])
        boxes_Bn3, keep_Bhw = self.boxes(mask_Bhw), self.kept(mask_Bhw)
        again = batch._replace(x_BCHW=batch.look(boxes_Bn3, keep_Bhw, self.fill), object_Bhw=None, look=None)
        crop = (again.x_BCHW.shape[2], again.x_BCHW.shape[3] // len(self.sides))
        weights = None if forced_Bhw is None else side_by_side(from_frame(boxes_Bn3, forced_Bhw, crop))
        output: Output = self.second(again, weights)
        seen_Bhw = onto_frame(boxes_Bn3, apart(output.mask_Bhw, len(self.sides)).float(), frame)
        if keep_Bhw is not None:
            seen_Bhw = seen_Bhw * keep_Bhw
        return output._replace(mask_Bhw=seen_Bhw, extras={"aim": mask_Bhw, **learned_from(output)})

    def boxes(self, mask_Bhw: Tensor) -> Tensor:
        """Return where to look (B, n, 3), all crops around the same point."""
        weight_Bhw = power(mask_Bhw.float(), self.sharpness)
        if self.aim == "peak":
            highest_B11 = weight_Bhw.amax((1, 2), keepdim=True)
            weight_Bhw = (weight_Bhw == highest_B11).float()
        exact_B2 = centre(weight_Bhw)
        xy_B2 = instead((exact_B2 * STEPS).round() / STEPS, exact_B2)  # who attacks the picture may move the aim
        return torch.stack([around(xy_B2, side) for side in self.sides], 1)

    def kept(self, mask_Bhw: Tensor) -> Tensor | None:
        """Return which tokens (B, h, w) are not painted over; None if all stay."""
        if not self.hide:
            return None
        above_Bhw = (mask_Bhw >= self.hide * mask_Bhw.amax((1, 2), keepdim=True)).float()
        return nn.functional.max_pool2d(above_Bhw[:, None], 2 * self.spread + 1, 1, self.spread).squeeze(1)


def side_by_side(crops_Bnhw: Tensor) -> Tensor:
    """Return the crops' maps as one (B, h, n * w).

    >>> side_by_side(torch.tensor([[[[1, 2]], [[3, 4]]]])).tolist()
    [[[1, 2, 3, 4]]]
    """
    return crops_Bnhw.transpose(1, 2).flatten(2)


def apart(map_BhW: Tensor, count: int) -> Tensor:
    """Return the maps (B, n, h, w) of ``count`` crops that lie side by side.

    >>> apart(torch.tensor([[[1, 2, 3, 4]]]), 2).tolist()
    [[[[1, 2]], [[3, 4]]]]
    """
    return map_BhW.reshape(*map_BhW.shape[:2], count, -1).transpose(1, 2)
