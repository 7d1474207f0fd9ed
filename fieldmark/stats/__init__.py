"""Intervals, paired differences and tests, and what a test of this size could have seen."""

from fieldmark.stats.bootstrap import difference, interval, share_of_gap
from fieldmark.stats.intervals import Interval, verdict
from fieldmark.stats.observations import OBSERVATION, Observed, describe, from_table, recorded, to_table

__all__ = [
    "OBSERVATION",
    "Interval",
    "Observed",
    "describe",
    "difference",
    "from_table",
    "interval",
    "recorded",
    "share_of_gap",
    "to_table",
    "verdict",
]
