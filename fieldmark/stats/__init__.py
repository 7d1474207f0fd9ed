"""Intervals and paired differences."""

from fieldmark.stats.bootstrap import Interval, difference, interval, verdict
from fieldmark.stats.observations import OBSERVATION, Observed, describe, from_table, to_table

__all__ = [
    "OBSERVATION",
    "Interval",
    "Observed",
    "describe",
    "difference",
    "from_table",
    "interval",
    "to_table",
    "verdict",
]
