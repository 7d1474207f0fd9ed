"""The energies of ERSM (arXiv 2604.06893): what it costs to keep a token, and the gate that pays.

Token i has a score z_i (high = drop) and a keep probability u_i = sigmoid(-z_i / T). Keeping it costs u_i * E_i, with
E_i = lam * softplus(z_i) + gam * softplus(S_i), where S_i is the sum of its cosine similarities to its 8 neighbours. As
released, the first term is an entropy (u * softplus(z) = -u ln u at T = 1: it pushes u away from 1/e, to both ends) and
the second a price on tokens that look like their neighbours; it couples no two gates. ``mask_tv`` does couple them.
"""

from functools import lru_cache
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.straight_through import straight_through

BiasMode = Literal["frozen", "scalar", "per_position"]
Pair = Literal["feature8", "feature8_norm", "mask_tv", "off"]
Gate = Literal["soft", "ste"]


def unit_tokens(x_BCHW: Tensor, size: int) -> Tensor:
    """Cut a map into ``size`` x ``size`` tokens (B, N, C * size * size) and scale each to unit length.

    Raises:
        FieldmarkError: the map's height or width is not a multiple of ``size``.
    """
    height, width = x_BCHW.shape[2:]
    if height % size or width % size:
        raise FieldmarkError(
            f"tokens of {size} x {size} do not tile a {height} x {width} map: "
            "use a token_size that divides both, or change `size`."
        )
    token_BNC = (F.unfold(x_BCHW, size, stride=size) if size > 1 else x_BCHW.flatten(2)).mT
    unit_BNC: Tensor = token_BNC / (torch.linalg.vector_norm(token_BNC, dim=2, keepdim=True) + 1e-6)
    return unit_BNC


@lru_cache
def _neighbours(height: int, width: int, device: torch.device) -> Tensor:
    """Return the (N, N) matrix that is 1 where two tokens of the grid touch, corners included."""
    with torch.inference_mode(False):  # it is kept: born in inference mode, it could never enter a training step
        y_N = torch.arange(height, device=device).repeat_interleave(width)
        x_N = torch.arange(width, device=device).repeat(height)
        distance_NN = torch.maximum((y_N[:, None] - y_N).abs(), (x_N[:, None] - x_N).abs())
        return (distance_NN == 1).float()


def keep_probability(z: Tensor, temperature: float = 1.0) -> Tensor:
    """Return u = sigmoid(-z / T)."""
    return torch.sigmoid(-z / temperature)


def unary_energy(z: Tensor) -> Tensor:
    """Return softplus(z), which is -ln u at T = 1."""
    return F.softplus(z)


def feature_energy(cosine_BNN: Tensor, touch_NN: Tensor, *, norm: bool = False) -> Tensor:
    """Return softplus(S) (B, N), S the sum of cosines over existing neighbours; no mask enters it.

    A corner has 3 neighbours and an edge 5, so the border is cheaper; ``norm`` takes 8 times their mean instead (ours).
    """
    similarity_BN = (cosine_BNN * touch_NN).sum(2)
    if norm:
        similarity_BN = 8 * similarity_BN / touch_NN.sum(1).clamp_min(1)
    return F.softplus(similarity_BN)


def mask_variation(keep_BN: Tensor, cosine_BNN: Tensor, touch_NN: Tensor) -> Tensor:
    """Return the mean (B,) over touching pairs of max(0, cos_ij) * (u_i - u_j)^2: alike neighbours share a fate."""
    step_BNN = (keep_BN[:, :, None] - keep_BN[:, None, :]).square()
    return (touch_NN * cosine_BNN.clamp_min(0) * step_BNN).sum((1, 2)) / touch_NN.sum().clamp_min(1)


class Gated(NamedTuple):
    """What the gate decides, at the resolution of its input, and what that costs."""

    mask_Bhw: Tensor  # keep probability u, or the hard mask
    z_Bhw: Tensor
    unary_B: Tensor  # mean_i u_i softplus(z_i), without its weight: comparable between settings
    pair_B: Tensor  # the pairwise cost, without its weight; 0 if off
    energy_B: Tensor  # lam * unary + gam * pair: what is added to the loss


class EnergyMask(nn.Module):
    """ERSM's gate on the last feature map; options as in ``fieldmark.models.ersm.build``."""

    def __init__(
        self, channels: int, *, lam: float, gam: float, temperature: float, bias_init: float, bias_mode: BiasMode,
        pair: Pair, gate: Gate, token_size: int, grid: tuple[int, int] | None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.lam, self.gam, self.temperature = lam, gam, temperature
        self.pair, self.gate, self.token_size = pair, gate, token_size
        self.score = nn.Linear(channels * token_size**2, 1, bias=False)
        bias_N = torch.full(_bias_shape(bias_mode, grid, token_size), float(bias_init))
        self.bias_N: Tensor
        if bias_mode == "frozen":  # a buffer: no optimiser ever holds it, as in the released code
            self.register_buffer("bias_N", bias_N)
        else:
            self.bias_N = nn.Parameter(bias_N)

    def forward(self, x_BCHW: Tensor) -> Gated:
        """Score, gate and price the tokens of a feature map, in single precision: bfloat16 rounds 6.01 to 6.

        Raises:
            FieldmarkError: the tokens do not tile the map, or the bias has another number of positions.
        """
        with torch.autocast(x_BCHW.device.type, enabled=False):
            unit_BND = unit_tokens(x_BCHW.float(), self.token_size)
            height, width = (side // self.token_size for side in x_BCHW.shape[2:])
            if self.bias_N.numel() not in (1, height * width):
                raise FieldmarkError(
                    f"the bias has {self.bias_N.numel()} positions, the map {height} x {width} tokens: "
                    "set `grid` to the map's height and width, or bias_mode to scalar."
                )
            z_BN = self.score(unit_BND).squeeze(2) + self.bias_N
            soft_BN = keep_probability(z_BN, self.temperature)
            keep_BN = straight_through(soft_BN) if self.gate == "ste" else soft_BN
            unary_B = (keep_BN * unary_energy(z_BN)).mean(1)
            pair_B = self._pair(unit_BND, keep_BN, _neighbours(height, width, x_BCHW.device))
            energy_B = self.lam * unary_B + self.gam * pair_B
        return Gated(self._spread(keep_BN, height), self._spread(z_BN, height), unary_B, pair_B, energy_B)

    def _pair(self, unit_BND: Tensor, keep_BN: Tensor, touch_NN: Tensor) -> Tensor:
        if self.pair == "off":
            return torch.zeros_like(keep_BN[:, 0])
        cosine_BNN = torch.bmm(unit_BND, unit_BND.mT)
        if self.pair == "mask_tv":
            return mask_variation(keep_BN, cosine_BNN, touch_NN)
        return (keep_BN * feature_energy(cosine_BNN, touch_NN, norm=self.pair == "feature8_norm")).mean(1)

    def _spread(self, value_BN: Tensor, height: int) -> Tensor:
        """Give every cell of a token the token's value."""
        value_Bhw = value_BN.reshape(len(value_BN), height, -1)
        return value_Bhw.repeat_interleave(self.token_size, 1).repeat_interleave(self.token_size, 2)


def _bias_shape(mode: BiasMode, grid: tuple[int, int] | None, token_size: int) -> tuple[int]:
    if mode != "per_position":
        return (1,)
    if grid is None:
        raise FieldmarkError("bias_mode per_position needs `grid`, the [height, width] of the feature map.")
    return ((grid[0] // token_size) * (grid[1] // token_size),)
