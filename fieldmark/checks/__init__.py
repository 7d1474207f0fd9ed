"""The only door to Great Expectations: whether a table may pass."""

from fieldmark.checks.docs import write_docs
from fieldmark.checks.index import check_index
from fieldmark.checks.split import check_split
from fieldmark.checks.verdict import Finding, Verdict, demand

__all__ = ["Finding", "Verdict", "check_index", "check_split", "demand", "write_docs"]
