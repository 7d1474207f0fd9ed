"""Attention in which keys can be hidden: a token behind the mask still asks, but nobody hears it (arXiv 2506.08915).

A weight m in [0, 1] on a key multiplies exp(score) before the attention is normalised; that is the same as adding log m
to the score, which fused kernels can do. A weight of 0 hides the key exactly, 1 changes no bit.
"""

import torch.nn.functional as F
from torch import Tensor, nn

#: Added to weights in training: log 0 has no gradient, and hidden tokens must be able to come back.
FLOOR = 1e-10


def key_bias(weight_BN: Tensor, floor: float = 0.0) -> Tensor:
    """Return what the keys' weights add to their scores: log(weight + floor), in single precision.

    Half precision would round the floor to 0.

    >>> import torch
    >>> key_bias(torch.tensor([[1.0, 0.0]])).tolist()
    [[0.0, -inf]]
    """
    return (weight_BN.float() + floor).log()


class MaskedAttention(nn.Module):
    """Self-attention with several heads, all behind the same mask."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x_BND: Tensor, bias_BN: Tensor | None = None) -> Tensor:
        """Mix tokens; ``bias_BN`` is ``key_bias`` of the keys' weights, and one key at least must be visible."""
        q_BHNd, k_BHNd, v_BHNd = self.qkv(x_BND).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        bias_B11N = None if bias_BN is None else bias_BN[:, None, None].to(q_BHNd.dtype)
        mixed_BHNd = F.scaled_dot_product_attention(q_BHNd, k_BHNd, v_BHNd, attn_mask=bias_B11N)
        mixed_BND: Tensor = self.out(mixed_BHNd.transpose(1, 2).flatten(2))
        return mixed_BND
