"""Curves: what is left of a measure as more is covered, removed, disturbed or attacked.

A curve is a score whose cells are named ``"<name>:<number>"``, or by the number alone, and averaged; any such score is
drawn, whatever it measures.
"""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from fieldmark.core.contracts import Score
from fieldmark.report._canvas import INK, Drawing, Looks, svg
from fieldmark.report.leaderboard import metrics, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_POINT = re.compile(r"(?:(?P<name>.*):)?(?P<number>\d+(?:\.\d+)?)")
_TICKS = 6  # points that are each named below the axis
_UNORDERED = frozenset({"background"})  # numbers that only tell one from the other

#: First word of the metrics -> heading, caption and what the numbers are.
_TOPICS = {
    "occlusion": (
        "What is left as more is covered",
        "Accuracy while patches hide the picture.",
        "share covered",
    ),
    "corruption": ("What is left as pictures get worse", "Accuracy by kind of corruption.", "severity"),
    "robust": ("What is left under attack", "Accuracy while pixels change on purpose.", "largest change, in 1/255"),
    "deletion": ("Do the maps rank what matters? Removal", "What is left while tokens go.", "share of tokens gone"),
    "insertion": (
        "Do the maps rank what matters? Insertion",
        "What is won while tokens come.",
        "share of tokens there",
    ),
}


class Line(NamedTuple):
    """A measure of one model along a number."""

    model: str
    metric: str
    name: str  # of its cells: what stands before the number
    x: Sequence[float]
    mean: Sequence[float]  # over seeds; NaN where unknown
    low: Sequence[float]  # of all seeds
    high: Sequence[float]
    chance: float


def lines(model: str, metric: str, scores: Sequence[Score]) -> list[Line]:
    """Return the curves in a metric, given its scores by seed; none if its cells are no points of a curve.

    >>> import numpy as np
    >>> cells = np.array(["drop:0.5", "drop:0"])
    >>> score = Score(np.array([0.6, 0.9]), cells, np.arange(2), weights={"drop:0": 1.0, "drop:0.5": 1.0})
    >>> [(line.name, line.x, line.mean) for line in lines("erm", "occlusion_random", [score])]
    [('drop', [0.0, 0.5], [0.9, 0.6])]
    """
    table = pd.DataFrame([score.means() for score in scores])
    points = [_POINT.fullmatch(cell) for cell in table.columns]
    if scores[0].combine != "mean" or not all(point and point["name"] not in _UNORDERED for point in points):
        return []
    chance = float(pd.Series([score.chance for score in scores]).mean())
    found = []
    for name in dict.fromkeys(point["name"] or "" for point in points if point):
        x = {point[0]: float(point["number"]) for point in points if point and (point["name"] or "") == name}
        order = sorted(x, key=lambda cell: x[cell])
        if len(order) > 1:
            mean, low, high = (getattr(table[order], how)().tolist() for how in ("mean", "min", "max"))
            found.append(Line(model, metric, name, [x[cell] for cell in order], mean, low, high, chance))
    return found


def drawings(told: Sequence[Line], order: Sequence[str], looks: Looks) -> list[Drawing]:
    """Return a drawing for each kind of curve that the models of ``order`` have, a panel for each curve of it."""
    told = [line for line in told if line.model in order and not all(map(math.isnan, line.mean))]
    ranked = metrics([{"metric": line.metric, "part": "test"} for line in told])
    topics = dict.fromkeys(_topic(metric) for metric in ranked)
    panels = {
        topic: {
            (metric, name): [line for line in told if (line.metric, line.name) == (metric, name)]
            for metric in ranked
            if _topic(metric) == topic
            for name in dict.fromkeys(line.name for line in told if line.metric == metric)
        }
        for topic in topics
    }
    return [_drawing(topic, found, looks) for topic, found in panels.items()]


def _topic(metric: str) -> str:
    return metric.partition("@")[0].partition("_")[0]


def _drawing(topic: str, panels: dict[tuple[str, str], list[Line]], looks: Looks) -> Drawing:
    heading, caption, axis = _TOPICS.get(topic, (title(next(iter(panels))[0]), "", ""))
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)

    def draw(figure: "Figure") -> None:
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        for axes, (panel, shown) in zip(grid.flat, panels.items(), strict=False):
            axes.set_title(_label(panel, panels), fontsize=9, loc="left")
            _panel(axes, shown, looks)
        for axes in grid.flat[max(0, len(panels) - columns) : len(panels)]:
            axes.set_xlabel(axis)
        drawn = {line.model: None for shown in panels.values() for line in shown}
        handles = [figure.axes[0].plot([], [], label=model, markersize=4.5, **looks[model])[0] for model in drawn]
        figure.legend(handles, drawn, loc="outside upper left", ncols=3, frameon=False)

    said = [
        f"{_label(panel, panels)}, {line.model}: "
        + ", ".join(f"{line.mean[end]:.3f} at {line.x[end]:g}" for end in (0, -1))
        for panel, shown in panels.items()
        for line in shown
    ]
    models = len({line.model for shown in panels.values() for line in shown})
    told = f"{caption} Means over seeds, in a band from the lowest seed to the highest; dashes mark chance.".strip()
    tall = 0.6 + 0.2 * math.ceil(models / 3) + (1.7 if columns == 2 else 2.6) * rows
    return Drawing(f"curve-{topic}", heading, told, "; ".join(said), svg(5.4, tall, draw))


def _label(panel: tuple[str, str], panels: dict[tuple[str, str], list[Line]]) -> str:
    """Return what a panel is called: by its metric, by the name of its cells, or by both where one is not enough."""
    metric, name = panel
    names = [other for metric_, other in panels if metric_ == metric]
    if len(names) == 1:
        return title(metric)
    said = name.replace("_", " ")
    return said if len({metric_ for metric_, _ in panels}) == 1 else f"{title(metric)}, {said}"


def _panel(axes: "Axes", shown: Sequence[Line], looks: Looks) -> None:
    if len(shown[0].x) <= _TICKS:
        axes.set_xticks(shown[0].x, [f"{x:g}" for x in shown[0].x])
    for line in shown:
        style = looks[line.model]
        axes.fill_between(line.x, line.low, line.high, color=style["color"], alpha=0.12, linewidth=0)
        every = max(1, len(line.x) // _TICKS)
        axes.plot(line.x, line.mean, linewidth=1.3, markersize=3.5, markevery=every, **style)
    chances = {line.chance for line in shown if not math.isnan(line.chance)}
    for chance in chances if len(chances) == 1 else ():  # else a random ranking of each model's own
        axes.axhline(chance, color=INK, linestyle=(0, (2, 2)), linewidth=0.8, zorder=1)
