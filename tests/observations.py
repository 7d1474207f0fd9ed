"""Observations of a few sources, and how intervals are drawn of them."""

import numpy as np
import pandas as pd

from fieldmark.core.contracts import Score
from fieldmark.stats import Observed

HOW = {"draws": 2000, "level": 0.95, "cluster": ["fg_source"]}
TWO_WAY = HOW | {"cluster": ["fg_source", "bg_source"]}


def observed(values, fg, *, bg="scene", cells="all", combine="mean", weights=None) -> Observed:
    values, size = np.array(values, float), len(values)
    score = Score(values, np.broadcast_to(cells, size).astype(str), np.arange(size), combine, weights=weights)
    sources = {"fg_source": np.broadcast_to(fg, size), "bg_source": np.broadcast_to(bg, size)}
    return Observed(score, pd.DataFrame(sources).astype("str"))


def clustered(rng, *, truth=0.7, sources=30, each=8) -> Observed:
    """Values that lie around ``truth`` with one common error per source, much larger than their own."""
    fg = np.repeat(np.arange(sources), each)
    return observed(truth + rng.normal(0, 0.15, sources)[fg] + rng.normal(0, 0.05, len(fg)), fg)
