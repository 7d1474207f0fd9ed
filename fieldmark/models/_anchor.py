"""AnchorNet as a model: what it says of a picture, and which patches it would take."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from fieldmark.core.contracts import Batch, Output
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.anchor import PRESETS, Candidates, EvidenceNet, Scale
from fieldmark.layers.evidence import class_evidence, magnitude
from fieldmark.layers.patches import chosen, cover, onto_tokens
from fieldmark.layers.valid import SkipCrop

Layers = Literal["paper", "small", "tiny"]
PICTURES: tuple[str, ...] = get_args(Layers)


class Found(NamedTuple):
    """What a picture gave."""

    scales: list[Scale]
    logits_BK: Tensor
    energy_B: Tensor | None
    candidates: Candidates
    index_Bk: Tensor  # candidates taken, the best first; -1: none left

    @property
    def box_Bk22(self) -> Tensor:
        """Return the boxes taken."""
        return chosen(self.index_Bk, self.candidates.boxes_Nd2)


class AnchorNet(nn.Module):
    """Evidence by patches. The mask is what the best patches cover; the answer is that of the whole picture.

    A forced mask multiplies the pixels: what it hides has the mean colour, and changes no bit.
    """

    def __init__(self, net: EvidenceNet, token: int, limits: Sequence[float]) -> None:
        super().__init__()
        self.net, self.token, self.limits = net, token, tuple(limits)

    def forward(self, batch: Batch, forced_Bhw: Tensor | None = None) -> Output:
        """Classify normalised pixels."""
        x_BCHW = shown(batch.x_BCHW, forced_Bhw)
        found = self.find(x_BCHW)
        mask_Bhw = self.covered(found, x_BCHW).amax(1) if forced_Bhw is None else forced_Bhw
        extras = self.maps(found, x_BCHW)
        if found.energy_B is not None:
            extras["energy"] = found.energy_B
        return Output(found.logits_BK, mask_Bhw, extras)

    def find(self, x_BCHW: Tensor, limits: Sequence[float] | None = None) -> Found:
        """Return the answer and as many patches as there are limits."""
        scales = self.net(x_BCHW)
        logits_BK, energy_B = self.net.decide(scales)
        candidates = self.net.candidates(x_BCHW)
        index_Bk = self.net.localise(scales, candidates, self.limits if limits is None else limits)
        return Found(scales, logits_BK, energy_B, candidates, index_Bk)

    def covered(self, found: Found, x_BCHW: Tensor) -> Tensor:
        """Return which share (B, k, h, w) of each token each patch covers."""
        return cover(found.box_Bk22, *grids(x_BCHW, self.token)).to(x_BCHW.dtype)

    @torch.no_grad()
    def maps(self, found: Found, x_BCHW: Tensor) -> dict[str, Tensor]:
        """Return the last scale's feature lengths and evidence for its answer, on the picture's tokens (B, h, w)."""
        features_BDij, logits_BK = found.scales[-1]
        seen = {
            "norm": magnitude(features_BDij),
            "evidence": class_evidence(features_BDij, self.net.weights[-1], logits_BK.argmax(1)),
        }
        where = grids(x_BCHW, self.token)
        return {name: onto_tokens(map_Bij, self.net.geometries[-1], *where) for name, map_Bij in seen.items()}


class Alone(nn.Module):
    """An evidence net that only answers: a classifier of pictures or patches."""

    def __init__(self, net: EvidenceNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: Batch, forced_Bhw: Tensor | None = None) -> Output:
        """Classify normalised pixels."""
        x_BCHW = shown(batch.x_BCHW, forced_Bhw)
        logits_BK, energy_B = self.net.decide(self.net(x_BCHW))
        mask_Bhw = x_BCHW.new_ones(len(x_BCHW), 1, 1) if forced_Bhw is None else forced_Bhw
        return Output(logits_BK, mask_Bhw, {} if energy_B is None else {"energy": energy_B})


def evidence_net(
    num_classes: int, layers: str, *, width: float, se: bool, skip_crop: SkipCrop, multi_scale: bool
) -> EvidenceNet:
    """Return the net of a preset for pictures.

    Raises:
        FieldmarkError: no such preset, or no such way to crop.
    """
    if layers not in PICTURES:
        raise FieldmarkError(f"there are no AnchorNet layers '{layers}' for pictures: use {', '.join(PICTURES)}.")
    if skip_crop not in ("br", "center"):
        raise FieldmarkError(f"AnchorNet can't crop a skip '{skip_crop}': use br or center.")
    return EvidenceNet(num_classes, PRESETS[layers], multi_scale=multi_scale, width=width, se=se, skip_crop=skip_crop)


def limits(k: int, tau: float | Sequence[float]) -> list[float]:
    """Return how much each of k patches may overlap those before it; the first one's is not used.

    Raises:
        FieldmarkError: no patch, a list of another length than k - 1, or a share outside [0, 1).

    >>> limits(3, 0.3), limits(3, [0.0, 0.5])
    ([0.3, 0.3, 0.3], [0.0, 0.0, 0.5])
    """
    further = [tau] * (k - 1) if isinstance(tau, int | float) else list(tau)
    if k < 1 or len(further) != k - 1 or not all(0 <= share < 1 for share in further):
        raise FieldmarkError(
            f"AnchorNet got k = {k}, tau = {tau}: give k >= 1 and one tau in [0, 1), or k - 1 of them."
        )
    return [further[0] if further else 0.0, *further]


def grids(x_BCHW: Tensor, token: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the sides of pictures in pixels and in tokens."""
    height, width = x_BCHW.shape[2:]
    return (height, width), (height // token, width // token)


def shown(x_BCHW: Tensor, keep_Bhw: Tensor | None) -> Tensor:
    """Return pixels times the weight of their token: at weight 0 they have the mean colour, which is 0.

    >>> shown(torch.ones(1, 1, 2, 4), torch.tensor([[[1.0, 0.5]]])).squeeze().tolist()
    [[1.0, 1.0, 0.5, 0.5], [1.0, 1.0, 0.5, 0.5]]
    """
    if keep_Bhw is None:
        return x_BCHW
    size = x_BCHW.shape[2] // keep_Bhw.shape[1]
    return x_BCHW * keep_Bhw.repeat_interleave(size, 1).repeat_interleave(size, 2).unsqueeze(1)
