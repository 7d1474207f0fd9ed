"""A plain vision transformer (arXiv 2010.11929), in the shape of DINOv2's (arXiv 2304.07193), whose keys can be hidden.

The patch embedding is a convolution whose windows don't overlap, so a patch's pixels enter one token only: with its key
hidden in every block they reach no other token, and the class token is exactly blind to them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.masked_attention import FLOOR, MaskedAttention, key_bias

EPSILON = 1e-6  # of layer normalisation, as in DINOv2


class Block(nn.Module):
    """Attention and a two-layer perceptron, each on normalised tokens and scaled before it is added."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(dim, eps=EPSILON) for _ in range(2))
        self.scale1_D, self.scale2_D = (nn.Parameter(torch.ones(dim)) for _ in range(2))
        self.attention = MaskedAttention(dim, heads)
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x_BND: Tensor, bias_BN: Tensor | None) -> Tensor:
        """Update all tokens."""
        x_BND = x_BND + self.scale1_D * self.attention(self.norm1(x_BND), bias_BN)
        mixed_BND: Tensor = x_BND + self.scale2_D * self.fc2(F.gelu(self.fc1(self.norm2(x_BND))))
        return mixed_BND


class Vit(nn.Module):
    """Patches to tokens, behind ``registers`` + 1 prefix tokens that every mask leaves visible."""

    def __init__(
        self, *, dim: int, depth: int, heads: int, patch: int, grid: tuple[int, int] = (8, 8), registers: int = 0,
        hidden: int | None = None, antialias: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.dim, self.patch, self.antialias = dim, patch, antialias
        self.embedding = nn.Conv2d(3, dim, patch, patch)
        self.prefix_1QD = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1 + registers, dim), std=0.02))
        self.position_1Dhw = nn.Parameter(waves(dim, *grid)[None])
        self.blocks = nn.ModuleList([Block(dim, heads, hidden or 4 * dim) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=EPSILON)

    def embed(self, x_BCHW: Tensor) -> Tensor:
        """Return the patches (B, D, h, w) where they stand; positions are interpolated to the picture's size.

        Raises:
            FieldmarkError: patches do not tile the picture.
        """
        height, width = x_BCHW.shape[2:]
        if height % self.patch or width % self.patch:
            raise FieldmarkError(
                f"patches of {self.patch} px do not tile images of {height} x {width} px: "
                f"set the model's `size` to a multiple of {self.patch}, or its option `patch`."
            )
        patch_BDhw: Tensor = self.embedding(x_BCHW)
        grid = patch_BDhw.shape[2:]
        if grid == self.position_1Dhw.shape[2:]:
            return patch_BDhw + self.position_1Dhw
        return patch_BDhw + F.interpolate(self.position_1Dhw, size=grid, mode="bicubic", antialias=self.antialias)

    def encode(self, patch_BND: Tensor, weight_BN: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run all blocks; return prefix (B, Q, D) and patches (B, N, D), not yet normalised.

        Args:
            patch_BND: embedded patches.
            weight_BN: of each patch as a key, in [0, 1]; in evaluation 0 hides it exactly, in training but for 1e-10.
        """
        prefix_BQD = self.prefix_1QD.expand(len(patch_BND), -1, -1)
        count, bias_BN = prefix_BQD.shape[1], None
        if weight_BN is not None:
            bias_BN = key_bias(F.pad(weight_BN, (count, 0), value=1.0), FLOOR if self.training else 0.0)
        token_BND = torch.cat([prefix_BQD, patch_BND], 1)
        for block in self.blocks:
            token_BND = block(token_BND, bias_BN)
        return token_BND[:, :count], token_BND[:, count:]

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the normalised patch tokens as a map (B, D, h, w), as a backbone does."""
        patch_BDhw = self.embed(x_BCHW)
        _, token_BND = self.encode(patch_BDhw.flatten(2).mT)
        map_BDhw: Tensor = self.norm(token_BND).mT.reshape(patch_BDhw.shape)
        return map_BDhw


def waves(dim: int, height: int, width: int) -> Tensor:
    """Return sines and cosines (D, h, w) that tell positions apart, half for rows, half for columns (arXiv 2104.02057).

    They are where learned positions start; a dimension that four does not divide is filled up with zeros.

    >>> waves(8, 1, 2)[:, 0, 0].tolist()  # position 0: sines, then cosines
    [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]
    """
    quarter = dim // 4
    rate_f = 10_000 ** (-torch.arange(quarter) / max(quarter, 1))
    y_fh, x_fw = (rate_f[:, None] * torch.arange(side) for side in (height, width))
    rows = [wave[:, :, None].expand(-1, -1, width) for wave in (y_fh.sin(), y_fh.cos())]
    columns = [wave[:, None].expand(-1, height, -1) for wave in (x_fw.sin(), x_fw.cos())]
    return torch.cat([*rows, *columns, torch.zeros(dim - 4 * quarter, height, width)])
