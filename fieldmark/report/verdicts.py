"""How an interval judges a claim."""

import math
from typing import NamedTuple

from fieldmark.core.contracts import Interval
from fieldmark.report.leaderboard import figure

SUPPORTED, PARTLY, REFUTED, INCONCLUSIVE = "supported", "partly", "refuted", "inconclusive"
NOT_RUN = "not run"


class Bar(NamedTuple):
    """What an estimate has to reach, or to stay below."""

    threshold: float
    floor: float | None = None
    at_most: bool = False

    def __str__(self) -> str:
        """Say it.

        >>> print(Bar(0.1), Bar(0.0), Bar(0.02, at_most=True), Bar(1.0, floor=0.85), sep="; ")
        at least 0.100; above 0; below 0.020; at least 1.000, lower end at least 0.850
        """
        if self.at_most:
            return f"below {figure(self.threshold)}"
        said = f"at least {figure(self.threshold)}" if self.threshold else "above 0"
        return said if self.floor is None else f"{said}, lower end at least {figure(self.floor)}"


def verdict(found: Interval, threshold: float, floor: float | None = None, at_most: bool = False) -> str:
    """Judge "at least ``threshold``" by an interval.

    What must be excluded is 0, or the threshold itself when the claim is that little is lost, or little gained.
    Inconclusive whenever the interval covers it; partly, if the direction is right but the estimate stays below the
    threshold, or the lower end below the floor.

    >>> from types import SimpleNamespace as I
    >>> verdict(I(mean=0.18, low=0.12, high=0.24), 0.10), verdict(I(mean=0.06, low=0.02, high=0.12), 0.10)
    ('supported', 'partly')
    >>> verdict(I(mean=0.02, low=-0.01, high=0.05), 0.0), verdict(I(mean=0.0, low=-0.008, high=0.01), -0.01)
    ('inconclusive', 'supported')
    >>> verdict(I(mean=1.1, low=0.8, high=1.4), 1.0, floor=0.85)
    'partly'
    >>> verdict(I(mean=0, low=-0.03, high=0.01), 0.02, at_most=True)
    'supported'
    """
    bar = threshold if at_most else min(threshold, 0.0)
    if math.isnan(found.low) or math.isnan(found.high) or found.low <= bar <= found.high:
        return INCONCLUSIVE
    if at_most:
        return SUPPORTED if found.high < bar else REFUTED
    if found.high < bar:
        return REFUTED
    return SUPPORTED if found.mean >= threshold and (floor is None or found.low >= floor) else PARTLY
