"""Intervals, paired differences and tests, and what a test of this size could have seen."""

from fieldmark.stats.bootstrap import difference, interval, share_of_gap
from fieldmark.stats.intervals import Interval, verdict
from fieldmark.stats.observations import OBSERVATION, Observed, describe, from_table, recorded, to_table
from fieldmark.stats.splits import share_over_splits

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
    "share_over_splits",
    "to_table",
    "verdict",
]
