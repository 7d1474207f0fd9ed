"""What report shows of every model against the baseline: differences, tested."""

from typing import Any

import pandas as pd

from fieldmark.core.params import DECIDES
from fieldmark.report import page
from fieldmark.report.leaderboard import HEADLINE, UNRANKED
from fieldmark.stats.comparisons import Comparison, compare, holm
from fieldmark.stats.power import note
from stages._results import Key, Results


def comparisons(results: Results) -> page.Comparisons:
    """Return each model against the baseline on the headline measures, and what these tests could have seen."""
    measured = [
        metric for metric in HEADLINE if (results.params.register_.baseline, metric, "test") in results.observed
    ]
    rows = [row for metric in measured for row in _family(results, metric)]
    register = results.params.register_
    return page.Comparisons(
        rows, [_seen(results, "test", [*results.params.models]), _seen(results, "val", register.candidates)]
    )


def _family(results: Results, metric: str) -> list[dict[str, Any]]:
    """Return a row for each model but the baseline; their p-values are adjusted together."""
    baseline = results.params.register_.baseline, metric, "test"
    keys = [(model, metric, "test") for model in results.params.models if model != baseline[0]]
    keys = [key for key in keys if key in results.observed]
    found = [_against(results, key, baseline) for key in keys]
    better = None if metric in UNRANKED else results.facts[baseline]["higher_is_better"]
    rows = []
    for (model, _, _), one, adjusted in zip(keys, found, holm([one.p for one in found]), strict=True):
        about = {"model": model, "baseline": baseline[0], "metric": metric, "higher_is_better": better}
        tested = {"p": one.p, "p_holm": adjusted, "effect": one.effect, "detectable": one.detectable}
        row = {**about, **one.difference._asdict(), **tested}
        del row["lost"]
        rows.append(row)
    return rows


def _against(results: Results, key: Key, baseline: Key) -> Comparison:
    return compare(results.observed[key], results.observed[baseline], **results.how)


def _seen(results: Results, part: str, models: list[str]) -> str:
    """Say which difference in the worst group the comparisons of a part could have seen."""
    params, own = results.params, (results.params.register_.baseline, DECIDES, part)
    found = [_against(results, (model, DECIDES, part), own).detectable for model in models if model != own[0]]
    sources = pd.concat([one.sources for one in results.observed[own]])[params.stats.cluster].nunique().sum()
    examples = sum(len(one.score.values) for one in results.observed[own])
    measure = "the worst group" + (" on validation, where the gate decides," if part == "val" else "")
    return note(found, measure=measure, sources=int(sources), examples=examples, seeds=len(params.seeds))
