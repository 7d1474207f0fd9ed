"""The page's template, and how it says what it is given."""

import base64
import math
from typing import Any

from fieldmark.report import leaderboard, pictures
from fieldmark.report._canvas import Drawing
from fieldmark.report.claims import evidence, tally

SHADES = 10


def template(name: str, **filters: Any) -> Any:
    """Return a template of ``templates/``; ``filters`` are added to those that every template has."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("fieldmark.report"),
        autoescape=True,
        undefined=StrictUndefined,  # a misspelt name is an error, not a gap in the page
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        figure=leaderboard.figure,
        interval=leaderboard.interval,
        title=leaderboard.title,
        evidence=evidence,
        tally=tally,
        heat=heat,
        source=_source,
        photo=pictures.photo,
        small=pictures.small,
        seen=pictures.seen,
        map=pictures.weights,
        **filters,
    )
    return environment.get_template(name)


def heat(row: leaderboard.Row | None) -> str:
    """Return how dark an accuracy is shown, a class of the style sheet: ten shades from 0 to 1.

    >>> heat({"mean": 0.73}), heat({"mean": 1.0}), heat(None)
    ('h7', 'h9', 'h')
    """
    if row is None or row["mean"] is None or math.isnan(row["mean"]):
        return "h"
    return f"h{min(max(int(row['mean'] * SHADES), 0), SHADES - 1)}"


def _source(drawing: Drawing) -> str:
    """Return an SVG as a data URI: as a picture of its own, so that ids of two plots can't meet."""
    return "data:image/svg+xml;base64," + base64.b64encode(drawing.svg.encode()).decode()
