"""Verdicts of other jobs: claims that take more models, seeds or other pictures than the job that is reported."""

from collections.abc import Mapping, Sequence
from typing import Any

from fieldmark.report.verdicts import NOT_RUN

Entry = Mapping[str, Any]


def joined(own: Sequence[Entry], others: Mapping[str, Sequence[Entry]]) -> list[dict[str, Any]]:
    """Return a job's ledger with what other jobs found of the same claims, each under the name of its job.

    A claim that the job itself did not run stays in the ledger only if no other job decided it either.

    >>> found = {"name": "E1", "verdict": "supported"}
    >>> joined([{"name": "E1", "verdict": NOT_RUN}], {"papers": [found]})
    [{'name': 'E1, papers', 'verdict': 'supported'}]
    """
    ledger = []
    for entry in own:
        elsewhere = [
            {**found, "name": f"{entry['name']}, {where}"}
            for where, entries in others.items()
            for found in entries
            if found["name"] == entry["name"] and found["verdict"] != NOT_RUN
        ]
        if entry["verdict"] != NOT_RUN or not elsewhere:
            ledger.append(dict(entry))
        ledger += elsewhere
    return ledger
