"""Plots of dots with intervals: series beside one another in every line."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fieldmark.report._canvas import INK, Drawing, Looks, error_bars, known_row, looks, svg
from fieldmark.report.leaderboard import Row, interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def dots(
    name: str,
    heading: str,
    caption: str,
    axis: str,
    table: Mapping[str, Mapping[str, Row | None]],
    styles: Looks | None = None,
    least: float = -math.inf,
) -> Drawing | None:
    """Plot a dot with its interval for each series (inner keys) in each line (outer keys); dashes mark chance.

    What is below ``least`` is written at the edge: one far away would leave no room for the others.
    """
    lines = {line: {s: row for s, row in cells.items() if row and known_row(row)} for line, cells in table.items()}
    lines = {line: cells for line, cells in lines.items() if cells}
    if not lines:
        return None
    series = [s for s in next(iter(table.values())) if any(s in cells for cells in lines.values())]
    styles = styles or looks(series)

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        rows = [row for cells in lines.values() for row in cells.values()]
        near = [row for row in rows if row["mean"] >= least]
        if 0 < len(near) < len(rows):
            axes.set_xlim(*_room(near))
        offsets = np.linspace(-0.32, 0.32, len(series)) if len(series) > 1 else [0.0]
        for column, offset in zip(series, offsets, strict=True):
            found = [(y + offset, cells[column]) for y, cells in enumerate(lines.values()) if column in cells]
            errors = np.hstack([error_bars(row) for _, row in found]) if found else np.empty((2, 0))
            means, heights = [row["mean"] for _, row in found], [y for y, _ in found]
            axes.errorbar(means, heights, xerr=errors, label=column, linestyle="", markersize=4.5, **styles[column])
            for y, row in found:
                if row["mean"] < least:
                    axes.text(0.01, y, f"← {interval(row)}", transform=axes.get_yaxis_transform(), va="center")
        _chances(axes, [[row["chance"] for row in cells.values()] for cells in lines.values()])
        axes.set(xlabel=axis, yticks=range(len(lines)), yticklabels=list(lines), ylim=(len(lines) - 0.5, -0.5))
        axes.grid(visible=False, axis="y")
        for y in range(1, len(lines)):
            axes.axhline(y - 0.5, color="#e6e6e6", linewidth=0.8)
        if len(series) > 1:
            figure.legend(loc="outside upper left", ncols=3, frameon=False)

    said = (f"{line}, {column}: {interval(row)}" for line, cells in lines.items() for column, row in cells.items())
    return Drawing(name, heading, caption, "; ".join(said), svg(5.4, 1.1 + 0.11 * len(lines) * (len(series) + 1), draw))


def _room(rows: Sequence[Row]) -> tuple[float, float]:
    """Return where the axis must begin and end to show these rows' intervals, and a little more."""
    ends = [row["mean"] + sign * error_bars(row)[side][0] for row in rows for side, sign in ((0, -1), (1, 1))]
    margin = 0.05 * (max(ends) - min(ends)) or 0.05
    return min(ends) - margin, max(ends) + margin


def _chances(axes: "Axes", chances: Sequence[Sequence[float | None]]) -> None:
    """Mark each line's chance levels by short dashes: one where all series share it, one each where they don't."""
    for y, levels in enumerate(chances):
        known = {level for level in levels if level is not None and not math.isnan(level)}
        axes.vlines(sorted(known), y - 0.42, y + 0.42, color=INK, linestyle=(0, (2, 2)), linewidth=0.8, zorder=1)
