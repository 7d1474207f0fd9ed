"""What a claim is: a sentence, and the numbers that may contradict it."""

from collections.abc import Iterator
from typing import NamedTuple

#: Model and metric. Several models: the one that is best in the metric on validation, so that test picks nothing.
Side = tuple[str | tuple[str, ...], str]
Key = tuple[str, str, str]  # model, metric, part


class Claim(NamedTuple):
    """That ``plus`` exceeds ``minus`` (or 0, where there is none) by at least ``threshold``, on the test part.

    A threshold below 0 claims that hardly anything is lost. With ``full`` what counts is the share of the way from
    ``minus`` to ``full`` that ``plus`` comes; with ``here`` too, the interval is about other splits of these sources
    and not about other sources. With ``at_most`` the claim is that ``plus`` stays below the threshold.
    """

    name: str  # of the row: E1, K3, ...
    claim: str
    source: str  # whose claim it is: an arXiv id, or "ours"
    plus: Side
    minus: Side | None = None
    threshold: float = 0.0
    full: Side | None = None
    floor: float | None = None  # the interval's lower end must reach it too
    at_most: bool = False
    here: bool = False
    about: str = "method"  # or "benchmark": whether the data test what they should

    def sides(self) -> Iterator[Side]:
        """Yield what must be measured."""
        yield from (side for side in (self.plus, self.minus, self.full) if side)


def candidates(side: Side) -> tuple[str, ...]:
    """Return the models of a side.

    >>> candidates(("erm", "average")), candidates((("amt", "abn"), "average"))
    (('erm',), ('amt', 'abn'))
    """
    return (side[0],) if isinstance(side[0], str) else side[0]


def needed(claim: Claim) -> Iterator[Key]:
    """Yield what must be measured, and on which part."""
    for side in claim.sides():
        models = candidates(side)
        yield from ((model, side[1], part) for model in models for part in ("test", "val")[: 1 + (len(models) > 1)])
