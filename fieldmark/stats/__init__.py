"""Intervals and paired differences."""

from fieldmark.stats.bootstrap import Interval, difference, interval, share_of_gap, verdict
from fieldmark.stats.observations import OBSERVATION, Observed, describe, from_table, to_table

__all__ = [
    "OBSERVATION",
    "Interval",
    "Observed",
    "describe",
    "difference",
    "from_table",
    "interval",
    "share_of_gap",
    "to_table",
    "verdict",
]
