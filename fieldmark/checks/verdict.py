"""What the checks found: nothing that changes from run to run, so that equal tables give equal files."""

from typing import Any, NamedTuple, TypedDict

from fieldmark.core.errors import FieldmarkError

SHOWN = 20  # failing ids kept of each expectation; unexpected_count tells how many there are


class Finding(TypedDict):
    """What became of one expectation."""

    expectation: str  # a sentence
    column: str  # "" = the table as a whole
    passed: bool
    unexpected_count: int
    failing_ids: list[str]  # sorted, at most SHOWN; empty where no single row is to blame


class Verdict(NamedTuple):
    """Whether a table may pass; ``_asdict()`` is ready for JSON."""

    passed: bool
    results: list[Finding]  # in the order in which the expectations are written
    statistics: dict[str, Any]  # facts for people: counts, correlations

    @classmethod
    def of(cls, results: list[Finding], statistics: dict[str, Any]) -> "Verdict":
        """Return the verdict that follows from ``results``: one failure is enough."""
        return cls(all(finding["passed"] for finding in results), results, statistics)

    def failures(self) -> list[Finding]:
        """Return what did not pass."""
        return [finding for finding in self.results if not finding["passed"]]

    def summary(self) -> str:
        """Say in one line how many expectations hold, and which do not for which rows.

        >>> odd = Finding(expectation="ids are unique", column="", passed=False, unexpected_count=2, failing_ids=["a"])
        >>> Verdict.of([odd], {}).summary()
        '0 of 1 expectations hold; not so: ids are unique (2: a, ...)'
        """
        failures = self.failures()
        held = f"{len(self.results) - len(failures)} of {len(self.results)} expectations hold"
        return "; ".join([held, *(f"not so: {_blame(finding)}" for finding in failures)])


def demand(verdict: Verdict, what: str) -> None:
    """Let ``what`` pass.

    Raises:
        FieldmarkError: an expectation fails; the sentence names each, and the rows that fail it.
    """
    if not verdict.passed:
        raise FieldmarkError(
            f"{what} may not pass: {verdict.summary()}: correct that where it comes from, and run the command again."
        )


def _blame(finding: Finding) -> str:
    ids, count = finding["failing_ids"], finding["unexpected_count"]
    if not ids:
        return finding["expectation"]
    return f"{finding['expectation']} ({count}: {', '.join(ids)}{', ...' if count > len(ids) else ''})"
