"""Intentional transformation of attention masks: five ways to emphasise (after arXiv 1905.02719).

The paper changes the masks "on purpose", so that features which matter for an attribute count more, and gives no
formula; these families are ours. Each maps [0, 1] to [0, 1], and at its neutral strength changes no bit:

==========  ============================  =======
``pow:a``   M ** a                        a = 1
``shift:d`` M + d, clipped                d = 0
``gain:a``  1 + a (M - 1), clipped        a = 1
``top:q``   M in the top share q, else r M  q = 1
``imp:a``   M (1 + a w), clipped          a = 0
==========  ============================  =======

w, in [-1, 1], is a channel's importance for a head. B batch, K heads, C channels, H W places.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.importance import Importance

Family = Literal["pow", "shift", "gain", "top", "imp"]
When = Literal["test", "always"]

GONE = 1e-30  # share of its sum at which a changed mask counts as empty: beyond, no scale is finite


class Range(NamedTuple):
    """What strengths a family takes."""

    neutral: float
    least: float
    greatest: float


FAMILIES: dict[Family, Range] = {
    "pow": Range(1.0, 0.05, 20.0),
    "shift": Range(0.0, -1.0, 1.0),
    "gain": Range(1.0, 0.0, 20.0),
    "top": Range(1.0, 0.001, 1.0),
    "imp": Range(0.0, -20.0, 20.0),
}


def parse(said: str) -> tuple[Family, float]:
    """Return the family and the strength of ``"<family>:<strength>"``.

    Raises:
        FieldmarkError: no such family, or a strength that it does not take.

    >>> parse("pow:2")
    ('pow', 2.0)
    """
    name, _, number = said.partition(":")
    for family, (_, least, greatest) in FAMILIES.items():
        if name == family:
            try:
                strength = float(number)
            except ValueError:
                strength = math.nan
            if least <= strength <= greatest:
                return family, strength
            raise FieldmarkError(f"transform is '{said}': {name} takes a strength from {least:g} to {greatest:g}.")
    raise FieldmarkError(f"transform is '{said}': write one of {', '.join(FAMILIES)}, a colon and a strength.")


def power(mask: Tensor, exponent: float) -> Tensor:
    """Return ``mask ** exponent``: below 1 lifts what is weak, above 1 sharpens.

    Where the mask is 0 it stays 0 and has no gradient: that of a root would be infinite.

    >>> power(torch.tensor([0.0, 0.25, 1.0]), 0.5).tolist()
    [0.0, 0.5, 1.0]
    """
    positive = mask > 0
    return torch.where(positive, torch.where(positive, mask, 1.0) ** exponent, 0.0)


def shift(mask: Tensor, by: float) -> Tensor:
    """Return ``mask + by``, clipped to [0, 1].

    >>> shift(torch.tensor([0.25, 0.75]), 0.5).tolist()
    [0.75, 1.0]
    """
    return (mask + by).clamp(0, 1)


def gain(mask: Tensor, factor: float) -> Tensor:
    """Return ``1 + factor * (mask - 1)``, not below 0: factor 0 takes the mask away, above 1 deepens it.

    >>> gain(torch.tensor([0.25, 0.75]), 2.0).tolist(), gain(torch.tensor([0.3]), 0.0).tolist()
    ([0.0, 0.5], [1.0])
    """
    return torch.lerp(torch.ones_like(mask), mask, factor).clamp_min(0)  # lerp is exact at both ends


def top(mask_BKCHW: Tensor, share: float, rest: float = 0.0) -> Tensor:
    """Keep each head's largest values, over channels and places; multiply the others by ``rest``.

    At least one is kept, and of equal ones at the border all.

    >>> top(torch.tensor([0.1, 0.4, 0.2, 0.3]).view(1, 1, 4, 1, 1), 0.5).flatten().tolist()
    [0.0, 0.4000000059604645, 0.0, 0.30000001192092896]
    """
    values_BKN = mask_BKCHW.flatten(2)
    count = max(1, math.ceil(share * values_BKN.shape[2] - 1e-9))  # 0.1 * 30 is a little more than 3
    border_BK111 = values_BKN.detach().topk(count, dim=2).values[..., -1, None, None, None]
    return torch.where(mask_BKCHW >= border_BK111, mask_BKCHW, rest * mask_BKCHW)


def emphasise(mask_BKCHW: Tensor, strength: float, importance_KC: Tensor) -> Tensor:
    """Return ``mask * (1 + strength * importance)``, clipped to [0, 1].

    >>> mask, importance = torch.full((1, 1, 2, 1, 1), 0.5), torch.tensor([[1.0, -0.5]])
    >>> emphasise(mask, 0.5, importance).flatten().tolist()
    [0.75, 0.375]
    """
    return (mask_BKCHW * (1 + strength * importance_KC[..., None, None])).clamp(0, 1)


def rescaled(changed_BKCHW: Tensor, mask_BKCHW: Tensor) -> Tensor:
    """Scale each head's changed mask to the mean it had, so that its logit keeps its scale; one that is gone stays so.

    Values may exceed 1: clipped, they would not keep the mean.

    >>> mask = torch.tensor([0.25, 0.75]).view(1, 1, 2, 1, 1)
    >>> rescaled(power(mask, 2.0), mask).flatten().tolist()
    [0.10000000149011612, 0.9000000357627869]
    """
    was, now = (value.sum((2, 3, 4), keepdim=True) for value in (mask_BKCHW, changed_BKCHW))
    gone = now <= GONE * was
    return changed_BKCHW * torch.where(gone, 0.0, was / torch.where(gone, 1.0, now))


class Transform(nn.Module):
    """One family at one strength, with or without rescaling, at test time only or always."""

    importance: Importance | None

    def __init__(
        self, said: str, heads: int, channels: int, *, rest: float = 0.0, rescale: bool = False, when: When = "test",
        shuffled: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.family, self.strength = parse(said)
        if not 0 <= rest <= 1:
            raise FieldmarkError(f"rest is {rest}: give a factor from 0 to 1, as masks stay in [0, 1].")
        self.rest, self.rescale, self.when = rest, rescale, when
        self.importance = Importance(heads, channels, shuffled=shuffled) if self.family == "imp" else None

    def forward(self, mask_BKCHW: Tensor) -> Tensor:
        """Return the mask that weights the features: in [0, 1], unless it is rescaled."""
        if self.training and self.when == "test":
            return mask_BKCHW
        changed = self._family()(mask_BKCHW)
        return rescaled(changed, mask_BKCHW) if self.rescale else changed

    def observe(self, mask_BKCHW: Tensor, presence_BK: Tensor) -> None:
        """While training, learn which channels matter (``imp`` alone)."""
        if self.training and self.importance is not None:
            self.importance.observe(mask_BKCHW, presence_BK)

    def _family(self) -> Callable[[Tensor], Tensor]:
        if self.importance is not None:
            importance_KC = self.importance()
            return lambda mask: emphasise(mask, self.strength, importance_KC)
        if self.family == "top":
            return lambda mask: top(mask, self.strength, self.rest)
        simple = {"pow": power, "shift": shift, "gain": gain}[self.family]
        return lambda mask: simple(mask, self.strength)
