"""AnchorNet with early exit (arXiv 2206.03367): the picture made small, then patch by patch, until the sum is sure.

Two classifiers of one kind: one reads the whole picture resized to a patch's side, the other the patches that AnchorNet
picks. Their logits are added; a picture is answered as soon as the sum is surer than its step's threshold.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fieldmark.core import plugins
from fieldmark.core.contracts import Backbone, Batch, Output
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.early_exit import confidence, leave
from fieldmark.layers.valid import SkipCrop
from fieldmark.models._anchor import Alone, AnchorNet, Layers, evidence_net, limits, shown
from fieldmark.models._exit_measures import HIGHER_IS_BETTER, MEANINGS, MOST_STEPS, measures
from fieldmark.models._looks import Looks, Patches, Resized
from fieldmark.models._within import in_one_go, refuse_options

TRAINS_ON = "pixels"
VIEW = "plain"
TRAIN_PART = "train"
DEPLOYABLE = True

SMALLER = {"paper": "small", "small": "tiny", "tiny": "tiny"}  # for what is as large as a patch

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
    tau: float | Sequence[float] = 0.3,
    thresholds: Sequence[float] = (0.85, 0.9, 0.9, 0.9),
    downstream: str | None = None,
    downstream_options: dict[str, Any] | None = None,
    side: int | None = None,
) -> nn.Module:
    """Return AnchorNet and the two classifiers.

    Args:
        backbone: for ``downstream``; its stride is the side of the mask's tokens.
        num_classes: K.
        layers: as for ``anchornet``, as are ``multi_scale``, ``width``, ``se``, ``skip_crop`` and ``tau``.
        multi_scale: patches of three sizes, made equal for the classifier.
        width: factor on the trunk's channels.
        se: squeeze-excitation in each block.
        skip_crop: how a skip's map is made smaller.
        tau: the highest intersection over union of two patches.
        thresholds: of each step but the last, where everything leaves; as many patches are looked at.
        downstream: a deployable model on pixels, by file name (``finetune``: two copies of the backbone, as released);
            none: from random weights, the next smaller layers, which see a patch as several locations (below ``tiny``
            there are none: it sees one).
        downstream_options: of that model.
        side: px that a picture or patch has for the classifiers; by default the largest patch's own.

    Raises:
        FieldmarkError: an option has no such value.
    """
    if not 0 < len(thresholds) < MOST_STEPS or not all(0 <= threshold <= 1 for threshold in thresholds):
        raise FieldmarkError(
            f"anchor_exit got the thresholds {list(thresholds)}: give one to {MOST_STEPS - 1}, in [0, 1]."
        )
    made = partial(evidence_net, num_classes, width=width, se=se, skip_crop=skip_crop)
    net = made(layers, multi_scale=multi_scale)

    def classifier() -> nn.Module:
        if downstream is None:
            refuse_options("anchor_exit", "downstream", downstream_options)
            return Alone(made(SMALLER[layers], multi_scale=False))
        return _found(downstream, backbone, num_classes, downstream_options or {})

    anchor = AnchorNet(net, backbone.stride, limits(len(thresholds), tau))
    side = side or net.geometries[-1].field
    return AnchorExit(Resized(classifier(), side, backbone.stride), Patches(anchor, classifier(), side), thresholds)


def _found(name: str, backbone: Backbone, num_classes: int, options: dict[str, Any]) -> nn.Module:
    plugin = plugins.find("models", name)
    if plugin.TRAINS_ON != "pixels" or not plugin.DEPLOYABLE or name == "anchor_exit":
        raise FieldmarkError(f"anchor_exit can't use '{name}' downstream: name a deployable model on pixels.")
    module: nn.Module = plugin.build(backbone, num_classes, **plugins.accepted(plugin.build, options))
    in_one_go(name, module)
    return module


class AnchorExit(nn.Module):
    """The sum of what is seen, up to the step where it is sure."""

    def __init__(self, resized: Resized, patches: Patches, thresholds: Sequence[float]) -> None:
        super().__init__()
        self.resized, self.patches, self.thresholds = resized, patches, tuple(thresholds)

    def phases(self) -> Iterator[tuple[str, nn.Module]]:
        """Give what is trained, in order: the patches' classifier learns from what AnchorNet, by then fixed, picks."""
        yield "anchor", self.patches.anchor
        self.patches.anchor.requires_grad_(False)
        yield "resized", self.resized
        yield "", self.patches

    def forward(self, batch: Batch, forced_Bhw: Tensor | None = None) -> Output:
        """Classify; every look is taken, and those after a picture's exit are left out (nothing waits for the device).

        The mask is the share of looks taken that showed a token. A forced one multiplies the pixels.
        """
        x_BCHW = shown(batch.x_BCHW, forced_Bhw)
        logits_BSK, looks = self.each(x_BCHW)
        summed_BSK = logits_BSK.cumsum(1)
        exit_B = leave(confidence(summed_BSK), self.thresholds)
        logits_BK = summed_BSK.take_along_dim(exit_B[:, None, None], 1).squeeze(1)
        extras = {"steps": exit_B.float() + 1, **self.patches.anchor.maps(looks.found, x_BCHW)}
        mask_Bhw = self._shown(looks, exit_B, x_BCHW) if forced_Bhw is None else forced_Bhw
        return Output(logits_BK, mask_Bhw, extras)

    def each(self, x_BCHW: Tensor) -> tuple[Tensor, Looks]:
        """Return the logits (B, S, K) of each look, the whole picture first; a missing patch adds nothing."""
        whole_BK = self.resized(Batch(x_BCHW)).logits_BK.float()
        looks = self.patches.look(x_BCHW)
        patch_BkK = looks.logits_BkK.float() * looks.there_Bk[..., None]
        return torch.cat([whole_BK[:, None], patch_BkK], 1), looks

    @torch.inference_mode()
    def exit_early(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits (B, K) of ``forward`` and the steps (B,) taken, and do no work for pictures that have left.

        The device is waited for at each step: use it where most pictures leave early.
        """
        summed_BK = self.resized(Batch(x_BCHW)).logits_BK.float()
        steps_B = torch.ones(len(x_BCHW), dtype=torch.int64, device=x_BCHW.device)
        rest = torch.arange(len(x_BCHW), device=x_BCHW.device)
        candidates, index_Bk = self.patches.anchor.net.candidates(x_BCHW), None
        for step, threshold in enumerate(self.thresholds):
            stay = confidence(summed_BK[rest]) <= threshold
            rest = rest[stay]
            if not len(rest):
                break
            index_Bk = self.patches.find(x_BCHW[rest]).index_Bk if index_Bk is None else index_Bk[stay]
            index_B1 = index_Bk[:, step : step + 1]
            patch_BK = self.patches.classify(x_BCHW[rest], candidates, index_B1).logits_BK.float()
            summed_BK[rest] += patch_BK * (index_B1 >= 0)
            steps_B[rest] += 1
        return summed_BK, steps_B

    def _shown(self, looks: Looks, exit_B: Tensor, x_BCHW: Tensor) -> Tensor:
        cover_Bkhw = self.patches.anchor.covered(looks.found, x_BCHW)
        step_k = torch.arange(1, looks.there_Bk.shape[1] + 1, device=x_BCHW.device)
        taken_Bk = looks.there_Bk & (step_k <= exit_B[:, None])
        seen_Bhw = 1 + (cover_Bkhw * taken_Bk[..., None, None]).sum(1)
        return seen_Bhw / (1 + taken_Bk.sum(1))[:, None, None]
