"""How every plot is drawn: colour-blind safe, labelled, and the same bytes from the same numbers."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldmark.report.about import BOTTOM, TOP, About
from fieldmark.report.leaderboard import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, FAINT = "#222222", "#b8b8b8"
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito, less yellow and black
_MARKERS = "osDPXhd"
_ENDS = {TOP: {"color": INK, "marker": "^"}, BOTTOM: {"color": INK, "marker": "v"}}  # black is theirs alone
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "svg.fonttype": "none",  # text stays text: small, and found by a search
    "svg.hashsalt": "fieldmark",  # ids are random otherwise
}


class Drawing(NamedTuple):
    """A plot for people: how to read it, and what it says to those who can't see it."""

    name: str  # of its file
    title: str
    caption: str
    alt: str
    svg: str
    section: str = ""  # of the page: the kind of models it shows


Looks = Mapping[str, dict[str, Any]]


def looks(series: Sequence[str], about: Mapping[str, About] | None = None) -> Looks:
    """Return each series' colour and marker; 42 of them differ, in print and to colour-blind eyes too.

    Models keep theirs in every plot of a page. The two controls at the ends are black triangles, up and down.
    """
    known = about or {}
    ends = {name: known[name].end for name in series if name in known and known[name].end}
    others = [name for name in series if name not in ends]
    return {
        **{name: dict(_ENDS[end]) for name, end in ends.items()},
        **{
            name: {"color": _COLOURS[place % len(_COLOURS)], "marker": _MARKERS[place % len(_MARKERS)]}
            for place, name in enumerate(others)
        },
    }


def svg(width: float, height: float, draw: Callable[["Figure"], None]) -> str:
    """Return what ``draw`` puts on a figure of ``width`` x ``height`` inches; no date, no version: equal bytes."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure((width, height), layout="constrained")
        draw(figure)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def spread(values: Sequence[float], gap: float) -> npt.NDArray[np.float64]:
    """Return ``values`` moved as little as possible (least squares) so that any two are at least ``gap`` apart.

    Labels then don't overlap. With gaps taken off, the order must not fall: isotonic regression.

    >>> spread([0.0, 5.0, 0.0], 1.0)
    array([-0.5,  5. ,  0.5])
    """
    from scipy.optimize import isotonic_regression

    order = np.argsort(values, kind="stable")
    steps = gap * np.arange(len(values))
    moved = np.empty(len(values))
    moved[order] = isotonic_regression(np.asarray(values, float)[order] - steps).x + steps
    return moved


def known_row(row: Row) -> bool:
    """Return whether there is an estimate to draw."""
    return row["mean"] is not None and not math.isnan(row["mean"])


def error_bars(row: Row) -> list[list[float]]:
    """Return distances to the interval's ends as matplotlib wants them; none where the interval isn't known."""
    ends = [row["low"], row["high"]]
    if any(end is None or math.isnan(end) for end in ends):
        return [[0.0], [0.0]]
    return [[max(0.0, row["mean"] - row["low"])], [max(0.0, row["high"] - row["mean"])]]
