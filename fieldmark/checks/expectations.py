"""Rules as data, judged by Great Expectations. All that the project knows of its interface stands here."""

import warnings
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import pandas as pd

from fieldmark.checks.verdict import SHOWN, Finding
from fieldmark.core import telemetry


class Rule(NamedTuple):
    """One expectation, and the sentence that says it to people."""

    sentence: str
    column: str  # "" = the table as a whole
    kind: str  # class in great_expectations.expectations
    arguments: dict[str, Any] = {}
    where: tuple[str, list[str]] | None = None  # only rows whose column holds one of the values


def unique(sentence: str, column: str) -> Rule:
    """Expect no value twice."""
    return Rule(sentence, column, "ExpectColumnValuesToBeUnique")


def among(sentence: str, column: str, values: Iterable[Any], where: tuple[str, list[str]] | None = None) -> Rule:
    """Expect only these values."""
    return Rule(sentence, column, "ExpectColumnValuesToBeInSet", {"value_set": list(values)}, where)


def never(sentence: str, column: str, value: str) -> Rule:
    """Expect any value but this."""
    return Rule(sentence, column, "ExpectColumnValuesToNotBeInSet", {"value_set": [value]})


def between(
    sentence: str, column: str, low: float | None, high: float | None, where: tuple[str, list[str]] | None = None
) -> Rule:
    """Expect numbers from ``low`` to ``high``, both included."""
    return Rule(sentence, column, "ExpectColumnValuesToBeBetween", {"min_value": low, "max_value": high}, where)


def judge(table: pd.DataFrame, key: str, rules: Sequence[Rule]) -> list[Finding]:
    """Return what becomes of each rule on ``table``, whose column ``key`` tells rows apart.

    Great Expectations passes over missing values; here one more rule refuses them in each column that is looked at.

    Raises:
        RuntimeError: an expectation could not be evaluated, which is a fault of the rule, not of the table.
    """
    columns = sorted({rule.column for rule in rules if rule.column} | {key})
    complete = among(f"no value that is checked is missing, for each {key}", "known", [True])
    rules = [complete, *rules]
    table = table.assign(known=table[columns].notna().all(axis=1)).sort_values(key, kind="stable")
    by_number = {result.expectation_config.meta["rule"]: result for result in _validate(table, key, rules)}
    return [_finding(rule, by_number[number], key) for number, rule in enumerate(rules)]


def _validate(table: pd.DataFrame, key: str, rules: Sequence[Rule]) -> Any:
    """Return Great Expectations' results, in an order of its own."""
    batch = _any_table().get_batch({"dataframe": table})
    from great_expectations import ExpectationSuite

    suite = ExpectationSuite(name=key, expectations=[_expectation(number, rule) for number, rule in enumerate(rules)])
    how = {"result_format": "SUMMARY", "partial_unexpected_count": SHOWN, "unexpected_index_column_names": [key]}
    return batch.validate(suite, result_format=how).results


@cache
def _any_table() -> Any:
    """Return what makes a batch of the table it is given; to build it takes as long as to judge."""
    telemetry.silence()
    with warnings.catch_warnings():
        # Great Expectations 1.24 imports two modules of the standard library that Python 3.11 deprecates.
        warnings.filterwarnings("ignore", r"module 'sre_\w+' is deprecated", DeprecationWarning)
        import great_expectations as gx
    from great_expectations.data_context.types import base

    config = base.DataContextConfig(
        store_backend_defaults=base.InMemoryStoreBackendDefaults(init_temp_docs_sites=False),  # no folder left in /tmp
        progress_bars=base.ProgressBarsConfig(globally=False),  # they are of its inner sums
    )
    context = gx.get_context(mode="ephemeral", project_config=config)
    asset = context.data_sources.add_pandas("fieldmark").add_dataframe_asset("table")
    return asset.add_batch_definition_whole_dataframe("whole")


def _expectation(number: int, rule: Rule) -> Any:
    import great_expectations.expectations as kinds
    from great_expectations.expectations.row_conditions import Column

    arguments = {**rule.arguments, "meta": {"rule": number}}
    if rule.column:
        arguments["column"] = rule.column
    if rule.where:
        column, values = rule.where
        arguments["row_condition"] = Column(column).is_in(values)
    return getattr(kinds, rule.kind)(**arguments)


def _finding(rule: Rule, result: Any, key: str) -> Finding:
    if result.exception_info.get("raised_exception", True):  # several exceptions come by name, without this flag
        raise RuntimeError(f"'{rule.sentence}' could not be evaluated: {result.exception_info}")
    rows = result.result.get("partial_unexpected_index_list") or []
    return Finding(
        expectation=rule.sentence,
        column=rule.column,
        passed=bool(result.success),
        unexpected_count=int(result.result.get("unexpected_count", not result.success)),
        failing_ids=[] if result.success else [str(row[key]) for row in rows],
    )
