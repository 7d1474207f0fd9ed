"""Attention masks with a channel axis: one network of scores, four ways to make a mask of them (arXiv 1904.13078).

The paper has a mask for every feature and attribute; what computes it is not told there, so the network is ours. The
four kinds have the very same parameters and differ in what is averaged before the sigmoid: comparing them compares
nothing else.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.transform import Transform

Kind = Literal["full", "shared", "channel", "lowrank"]
KINDS: tuple[Kind, ...] = ("full", "shared", "channel", "lowrank")


def spread(scores_BCHW: Tensor, kind: Kind) -> Tensor:
    """Return the scores that a kind of mask is made of: (B, C or 1, H or 1, W or 1), 1 where they are all the same.

    ``full`` keeps them, ``shared`` has one mask for all channels, ``channel`` one gate for all places, ``lowrank`` adds
    these two.

    >>> scores = torch.tensor([[[[0.0, 2.0]], [[4.0, 6.0]]]])
    >>> {kind: spread(scores, kind).flatten().tolist() for kind in ("shared", "channel", "lowrank")}
    {'shared': [2.0, 4.0], 'channel': [1.0, 5.0], 'lowrank': [3.0, 5.0, 7.0, 9.0]}
    """
    if kind == "full":
        return scores_BCHW
    places_B1HW, channels_BC11 = scores_BCHW.mean(1, keepdim=True), scores_BCHW.mean((2, 3), keepdim=True)
    return {"shared": places_B1HW, "channel": channels_BC11, "lowrank": places_B1HW + channels_BC11}[kind]


def attention_mask(scores_BCHW: Tensor, kind: Kind) -> Tensor:
    """Return the mask (B, C, H, W) in (0, 1), in single precision whatever the scores are in."""
    mask = torch.sigmoid(spread(scores_BCHW.float(), kind))
    if mask.shape == scores_BCHW.shape:
        return mask
    return mask.expand_as(scores_BCHW).contiguous()  # sums of a view could round otherwise than those of a copy


def pool_each(x_BCHW: Tensor, weight_BKCHW: Tensor) -> Tensor:
    """Return for each of K weights the mean (B, K, C) over places of ``weight * x``.

    >>> x, weight = torch.tensor([[[[2.0, 4.0]]]]), torch.tensor([[[[[1.0, 0.0]]], [[[0.5, 0.5]]]]])
    >>> pool_each(x, weight).flatten().tolist()
    [1.0, 1.5]
    """
    return (weight_BKCHW * x_BCHW[:, None]).mean((3, 4))


def each_head(linear: nn.Linear, pooled_BKC: Tensor) -> Tensor:
    """Return (B, K): answer k of a linear layer, asked about the k-th of K inputs alone.

    >>> layer = nn.Linear(1, 2, bias=False)
    >>> _ = layer.load_state_dict({"weight": torch.tensor([[2.0], [10.0]])})
    >>> each_head(layer, torch.tensor([[[3.0], [4.0]]])).tolist()
    [[6.0, 40.0]]
    """
    return (pooled_BKC * linear.weight).sum(2) + (0.0 if linear.bias is None else linear.bias)


class Scores(nn.Sequential):
    """One sub-network: convolution 3 x 3, batch normalisation, ReLU, convolution 1 x 1 back to all channels."""

    def __init__(self, channels: int, *, hidden: int, groups: int, start: float = 0.0) -> None:
        if channels % groups or hidden % groups:
            raise FieldmarkError(
                f"{groups} groups can't share {channels} channels and {hidden} hidden ones evenly: change groups."
            )
        last = nn.Conv2d(hidden, channels, 1)
        assert last.bias is not None  # for the type checker: a convolution has one unless told otherwise
        nn.init.constant_(last.bias, start)
        super().__init__(
            nn.Conv2d(channels, hidden, 3, padding=1, groups=groups, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            last,
        )


class Seen(NamedTuple):
    """What K heads make of B feature maps."""

    scores_BKChw: Tensor
    mask_BKChw: Tensor  # in (0, 1), as learnt
    weight_BKChw: Tensor  # transformed: what the features are weighted by, less the 1 of a residual
    answers_BK: Tensor


class AttentionHeads(nn.Module):
    """K heads, each with a sub-network, a mask and a linear answer; they share nothing but the features."""

    def __init__(
        self, channels: int, heads: int, *, kind: Kind, hidden: int, groups: int, residual: bool, start: float = 0.0,
        transform: Transform | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.linear = nn.Linear(channels, heads)
        self.networks = nn.ModuleList(Scores(channels, hidden=hidden, groups=groups, start=start) for _ in range(heads))
        self.kind, self.residual, self.transform = kind, residual, transform

    def forward(self, x_BCHW: Tensor, *, transformed: bool = True) -> Seen:
        """Answer; without transformation if so asked."""
        scores_BKhwC = torch.stack([network(x_BCHW).movedim(1, 3) for network in self.networks], 1)
        scores_BKChw = scores_BKhwC.movedim(4, 2)  # channels last in memory, as features are: no copies
        mask_BKChw = attention_mask(scores_BKChw.flatten(0, 1), self.kind).view(scores_BKChw.shape)
        weight_BKChw = mask_BKChw
        if transformed and self.transform is not None:
            weight_BKChw = self.transform(mask_BKChw)
        pooled_BKC = pool_each(x_BCHW, 1 + weight_BKChw if self.residual else weight_BKChw)
        return Seen(scores_BKChw, mask_BKChw, weight_BKChw, each_head(self.linear, pooled_BKC))

    def observe(self, seen: Seen, presence_BK: Tensor) -> None:
        """Tell the transformation whose class or attribute was there: 0 to 1, NaN where unknown."""
        if self.transform is not None:
            self.transform.observe(seen.mask_BKChw, presence_BK)
