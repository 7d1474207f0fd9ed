"""Observations with the sources they come from: what a bootstrap redraws, and how it lies on disk."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fieldmark.core.contracts import Score
from fieldmark.core.tables import conform

#: One row per observation; what the whole measure needs besides (``describe``) is kept as JSON.
OBSERVATION = {
    "metric": "str",
    "example_id": "str",
    "fg_source": "str",
    "bg_source": "str",
    "cell": "str",
    "value": "float64",  # NaN = unknown
}


class Observed(NamedTuple):
    """A score and the sources behind it."""

    score: Score
    sources: pd.DataFrame  # fg_source, bg_source; observation i is about the row at position score.rows[i]


def to_table(scores: Mapping[str, Score], recipes: pd.DataFrame) -> pd.DataFrame:
    """Return all observations of ``scores`` (by metric name) on ``recipes`` as one OBSERVATION table."""
    tables = [_observations(metric, score, recipes) for metric, score in scores.items()]
    return conform(pd.concat(tables) if tables else pd.DataFrame(columns=list(OBSERVATION)), OBSERVATION)


def _observations(metric: str, score: Score, recipes: pd.DataFrame) -> pd.DataFrame:
    table = recipes[["example_id", "fg_source", "bg_source"]].iloc[score.rows]
    return table.assign(metric=metric, cell=score.cells, value=score.values)


def describe(score: Score) -> dict[str, Any]:
    """Return what is true of the whole score, ready for JSON; ``from_table`` needs combine, chance and weights."""
    return {
        "value": score.value,
        "means": score.means(),
        "counts": score.counts(),
        "combine": score.combine,
        "chance": score.chance,
        "weights": score.weights,
    }


def recorded(
    found: Mapping[str, tuple[Score, Mapping[str, Any]]], recipes: pd.DataFrame, part: str
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return how measures of a part lie on disk: each described with its facts, for JSON, and all observations.

    Args:
        found: metric -> score, and what its measure says of itself (``plugins.measured``).
        recipes: that were measured.
        part: theirs.
    """
    described = {metric: {**describe(score), **facts} for metric, (score, facts) in found.items()}
    return described, to_table({metric: score for metric, (score, _) in found.items()}, recipes).assign(part=part)


def from_table(table: pd.DataFrame, described: Mapping[str, Mapping[str, Any]]) -> dict[str, Observed]:
    """Return each metric of ``described`` with its observations: the way back from ``to_table`` and ``describe``."""
    known = dict(list(table.groupby("metric")))
    empty = table.iloc[:0]
    return {metric: _observed(known.get(metric, empty), facts) for metric, facts in described.items()}


def _observed(table: pd.DataFrame, facts: Mapping[str, Any]) -> Observed:
    chance = facts["chance"]
    score = Score(
        values=table["value"].to_numpy(np.float64),
        cells=table["cell"].to_numpy(np.str_),
        rows=np.arange(len(table)),
        combine=facts["combine"],
        chance=float("nan") if chance is None else float(chance),  # JSON has no NaN
        weights=facts["weights"],
    )
    return Observed(score, table[["fg_source", "bg_source"]].reset_index(drop=True))
