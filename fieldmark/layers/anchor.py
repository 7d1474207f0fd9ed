"""AnchorNet (arXiv 2206.03367; its predecessor with several scales and text: arXiv 2002.03737): evidence by patches.

A trunk without padding; at one or more depths a head: 1x1 convolution, mean over locations, linear classifier. All
after the trunk is linear, so a logit is the mean of what each patch says. With ``dims=1`` a patch is a run of words.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.division import nonzero
from fieldmark.layers.evidence import class_evidence
from fieldmark.layers.patches import chosen, crop, every_box, propose, resized
from fieldmark.layers.valid import Row, SkipCrop, ValidTrunk


class Preset(NamedTuple):
    """A list of layers; ``Row.expand`` of the stem is not used."""

    stem: Row
    rows: tuple[Row, ...]
    head: int  # channels of each head
    taps: tuple[int, ...]  # blocks with a head when there are several scales, counted from 1; the stem is 0


#: ``paper``: 95 px patches every 8 px. Ours: ``small``, 31 px every 4, for 64 px; ``tiny``, 19 px every 2, to classify
#: what is no larger than a patch of ``small``; ``text``, 15 words every one.
PRESETS = {
    "paper": Preset(
        Row(16, 2, 1),
        (Row(16, 2, 1), Row(24, 2, 3), Row(24, 1, 4), Row(48, 1, 4), Row(96, 1, 2), Row(96, 1, 1.5), Row(96, 1, 1.5)),
        512,
        (3, 5, 7),
    ),
    "small": Preset(Row(16, 2, 1), (Row(16, 2, 1), Row(24, 1, 3), Row(48, 1, 4), Row(96, 1, 2)), 128, (2, 3, 4)),
    "tiny": Preset(Row(16, 2, 1), (Row(16, 1, 1), Row(24, 1, 3), Row(48, 1, 3), Row(96, 1, 2)), 128, (2, 3, 4)),
    "text": Preset(Row(32, 1, 1), (Row(32, 1, 2),) * 6, 64, (0, 2, 6)),
}


class Scale(NamedTuple):
    """What one head sees and says."""

    features_BD__: Tensor
    logits_BK: Tensor


class Candidates(NamedTuple):
    """All patches an input has, of every scale."""

    boxes_Nd2: Tensor
    scale_N: Tensor  # index of the scale


class Head(nn.Module):
    """1x1 convolution with bias and nothing after it, mean over locations, linear classifier."""

    def __init__(self, channels: int, width: int, num_classes: int, dims: int) -> None:
        super().__init__()
        self.embed = (nn.Conv1d if dims == 1 else nn.Conv2d)(channels, width, 1)
        self.linear = nn.Linear(width, num_classes)
        nn.init.kaiming_normal_(self.embed.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.linear.weight, std=0.001)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x_BC__: Tensor) -> Scale:
        """Return the map whose mean is classified, and the logits."""
        features_BD__ = self.embed(x_BC__)
        return Scale(features_BD__, self.linear(features_BD__.flatten(2).mean(2)))


class EvidenceNet(nn.Module):
    """Trunk and heads. ``geometries`` holds what a location of each scale sees, from the smallest field to the largest.

    Args:
        num_classes: K.
        preset: the list of layers.
        channels: of the input.
        dims: axes of the input: 2 for pictures, 1 for text.
        multi_scale: a head at every tap of the preset, not only at the end.
        width: factor on the trunk's channels.
        se: squeeze-excitation in each block, as released; without it a location sees its patch and nothing else.
        skip_crop: what a skip keeps of a map that shrinks: ``br`` cuts bottom and right (released), ``center`` all
            around.
    """

    def __init__(
        self, num_classes: int, preset: Preset, *, channels: int = 3, dims: int = 2, multi_scale: bool = False,
        width: float = 1.0, se: bool = True, skip_crop: SkipCrop = "br",
    ) -> None:  # fmt: skip
        super().__init__()
        listed = (preset.stem, *preset.rows)
        stem, *rows = (row._replace(channels=max(1, round(row.channels * width))) for row in listed)
        taps = preset.taps if multi_scale else (len(rows),)
        self.trunk = ValidTrunk(channels, stem, rows, taps, se=se, skip_crop=skip_crop, dims=dims)
        self.geometries = self.trunk.geometries
        self.heads = nn.ModuleList(Head(wide, preset.head, num_classes, dims) for wide in self.trunk.widths)

    def forward(self, x_BC__: Tensor) -> list[Scale]:
        """Return every scale.

        Raises:
            FieldmarkError: the input is smaller than the largest patch.
        """
        field, least = self.geometries[-1].field, min(x_BC__.shape[2:])
        if least < field:
            raise FieldmarkError(
                f"AnchorNet with these layers sees patches of {field}, the input has only {least}: "
                "use larger inputs (`size`), or layers: small."
            )
        return [head(map_BC__) for head, map_BC__ in zip(self.heads, self.trunk(x_BC__), strict=True)]

    @property
    def weights(self) -> list[Tensor]:
        """Return each scale's linear classifier (K, D)."""
        return [cast(Head, head).linear.weight for head in self.heads]

    def decide(self, scales: Sequence[Scale]) -> tuple[Tensor, Tensor | None]:
        """Return logits, and with several scales the energy that makes the loss the mean of the scales' own losses."""
        if len(scales) == 1:
            return scales[0].logits_BK, None
        logits_BSK = torch.stack([scale.logits_BK for scale in scales], 1)
        return each_alone(logits_BSK, torch.ones_like(logits_BSK[..., 0]))

    def candidates(self, x_BC__: Tensor) -> Candidates:
        """Return all patches of an input."""
        boxes = [every_box(geometry, x_BC__.shape[2:], x_BC__.device) for geometry in self.geometries]
        scale = [torch.full_like(box_Nd2[:, 0, 0], number) for number, box_Nd2 in enumerate(boxes)]
        return Candidates(torch.cat(boxes), torch.cat(scale))

    @torch.no_grad()
    def rank(self, scales: Sequence[Scale], class_B: Tensor) -> Tensor:
        """Return how much each candidate (B, N) speaks for a class; several scales are standardised, each by itself."""
        maps = [
            class_evidence(scale.features_BD__, weight_KD, class_B).flatten(1)
            for scale, weight_KD in zip(scales, self.weights, strict=True)
        ]
        if len(maps) > 1:
            maps = [_standardised(map_BN) for map_BN in maps]
        return torch.cat(maps, 1)

    @torch.no_grad()
    def localise(self, scales: Sequence[Scale], candidates: Candidates, limits: Sequence[float]) -> Tensor:
        """Return the candidates (B, k) that speak most for the net's own answer and do not overlap; -1: none left."""
        answer_B = self.decide(scales)[0].argmax(1)
        return propose(self.rank(scales, answer_B), candidates.boxes_Nd2, limits)

    def cut(self, x_BC__: Tensor, candidates: Candidates, index_Bk: Tensor, side: int) -> Tensor:
        """Return patches (B, k, C, side, ...) at full resolution, resized if they are not ``side`` wide.

        A missing patch (index -1) is cut anywhere: leave it out afterwards.
        """
        first_Bkd = chosen(index_Bk, candidates.boxes_Nd2)[..., 0].clamp_min(0)
        of_scale = [
            resized(crop(x_BC__, _inside(first_Bkd, x_BC__.shape[2:], field), field), side)
            for field, _ in self.geometries
        ]
        scale_Bk = candidates.scale_N[index_Bk.clamp_min(0)]
        row_B1 = torch.arange(len(scale_Bk), device=scale_Bk.device)[:, None]
        return torch.stack(of_scale)[scale_Bk, row_B1, torch.arange(scale_Bk.shape[1], device=scale_Bk.device)]


def _inside(first_Bkd: Tensor, sides: Sequence[int], field: int) -> Tensor:
    """Move patches that would end outside: those of another scale, whose cut is not used."""
    axes = zip(first_Bkd.unbind(-1), sides, strict=True)
    return torch.stack([first_Bk.clamp(max=side - field) for first_Bk, side in axes], -1)


def _standardised(map_BN: Tensor) -> Tensor:
    deviation_BN = map_BN - map_BN.mean(1, keepdim=True)
    spread_B1 = deviation_BN.square().mean(1, keepdim=True).sqrt()
    return deviation_BN / nonzero(spread_B1)  # a flat map stays 0


def each_alone(logits_BSK: Tensor, weight_BS: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits (B, K) and energy (B,) such that cross-entropy plus energy is the mean of the S looks' own losses.

    The logits are the mean of the looks' log-probabilities; softmax makes up what these lack to a distribution, and the
    energy gives it back: CE(m, y) = -m_y + logsumexp(m), so CE - logsumexp(m) = mean_s CE(l_s, y). So S classifiers
    train on their own, each as if alone, though a training step sees one set of logits and no label. That holds for
    cross-entropy: an objective that weighs examples weighs the logits' part and not the energy.

    >>> from torch.nn.functional import cross_entropy
    >>> logits, label = torch.tensor([[[1.0, 3.0], [2.0, 0.0]]]), torch.tensor([0])
    >>> mean, energy = each_alone(logits, torch.ones(1, 2))
    >>> own = (cross_entropy(logits[:, 0], label) + cross_entropy(logits[:, 1], label)) / 2
    >>> torch.allclose(cross_entropy(mean, label) + energy, own)
    True
    """
    log_p_BSK = logits_BSK.float().log_softmax(2)
    share_BS1 = (weight_BS / weight_BS.sum(1, keepdim=True)).unsqueeze(2)
    mean_BK = (log_p_BSK * share_BS1).sum(1)
    return mean_BK, -mean_BK.logsumexp(1)
