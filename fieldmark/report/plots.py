"""The plots of the report, as SVG."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fieldmark.report import curves as measured
from fieldmark.report._canvas import FAINT, Drawing, Looks, error_bars, known_row, looks, spread, svg
from fieldmark.report.about import FEW, About, panels
from fieldmark.report.dots import dots
from fieldmark.report.leaderboard import Row, find, interval, metrics, title
from fieldmark.report.tables import GROUP_MEANS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DELETIONS = ("deletion_own", "deletion_magnitude", "deletion_cam", "deletion_random")
MASKS = ("token_auc", "mask_iou_top_area", "energy_pointing")


class Curve(NamedTuple):
    """One measure of one training, epoch by epoch."""

    model: str
    seed: int
    measure: str
    values: Sequence[float]


def drawings(
    rows: Sequence[Row],
    order: Sequence[str],
    curves: Sequence[Curve],
    about: Mapping[str, About] | None = None,
    lines: Sequence[measured.Line] = (),
) -> list[Drawing]:
    """Return every plot there are numbers for: of all models, then of few at a time, beside the first and the ends."""
    styles = looks(order, about)
    drawn = [average_against_worst(rows, order, styles), gaps(rows, order)]
    for heading, number, models in panels(order, about or {}):
        place = [*heading.split(), *([str(number + 1)] if number else [])]
        details = [*_details(rows, models, curves, styles), *measured.drawings(lines, models, styles)]
        drawn += [
            drawing and drawing._replace(section=heading, name="-".join([drawing.name, *place])) for drawing in details
        ]
    return [drawing for drawing in drawn if drawing]


def _details(rows: Sequence[Row], order: Sequence[str], curves: Sequence[Curve], styles: Looks) -> list[Drawing | None]:
    """Return the plots in which every model is a series."""
    variants = [m for m in metrics(rows) if m.startswith("acc_") and m not in GROUP_MEANS]
    by_metric = {title(m).removeprefix("accuracy, "): {x: find(rows, x, m) for x in order} for m in variants}
    by_mask = {title(m): {x: find(rows, x, m) for x in order} for m in MASKS}
    by_ranking = {x: {title(m).removeprefix("deletion, "): find(rows, x, m) for m in DELETIONS} for x in order}
    return [
        dots(
            "variants",
            "What is left when the picture changes",
            "Accuracy when the object stands alone, is cut out, or has another background; dashes mark chance.",
            "accuracy",
            by_metric,
            styles,
        ),
        dots(
            "masks",
            "Do the masks find the object?",
            "Dashes mark chance: a mask that knows nothing.",
            "",
            by_mask,
            styles,
        ),
        dots(
            "deletion",
            "Do the masks rank what matters?",
            "Mean probability of the label while tokens go, least important first. A ranking worth having stands to"
            " the right of magnitude and of random.",
            "area under the deletion curve",
            by_ranking,
        ),
        training([curve for curve in curves if curve.model in order], order, styles),
    ]


def gaps(rows: Sequence[Row], order: Sequence[str]) -> Drawing | None:
    """Plot how much of the gap each model closes, the most at the top."""
    found = {model: find(rows, model, "gap_closed") for model in order}
    known = {model: row for model, row in found.items() if row and known_row(row)}
    return dots(
        "gap",
        "How much of the gap is closed?",
        "Worst-group accuracy on the way from the plain network (0) to the true mask on the pixels (1). Bars are"
        " intervals of the share, paired by seed and source.",
        "share of the gap closed",
        {model: {"share": known[model]} for model in sorted(known, key=lambda model: -known[model]["mean"])},
        least=-1.0,
    )


def average_against_worst(rows: Sequence[Row], order: Sequence[str], styles: Looks) -> Drawing | None:
    """Plot worst-group over average accuracy; labels stand in a column at the right, where they can't overlap."""
    points = {model: (find(rows, model, "average"), find(rows, model, "worst_group")) for model in order}
    known = {model: (x, y) for model, (x, y) in points.items() if x and y and known_row(x) and known_row(y)}
    if not known:
        return None

    few = len(known) <= FEW
    tall = max(4.0, 0.7 + 0.21 * len(known))  # inches: a line of text for every label

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        lower = (row["mean"] - error_bars(row)[0][0] * few for pair in known.values() for row in pair)
        low = math.floor(20 * min(lower) - 0.2) / 20
        axes.set(xlabel="average accuracy", ylabel="worst-group accuracy", xlim=(low, 1.0), ylim=(low, 1.0))
        axes.plot([low, 1], [low, 1], color=FAINT, linestyle="--", linewidth=1, zorder=1)
        heights = spread([y["mean"] for _, y in known.values()], gap=0.26 / tall * (1 - low))
        for (model, (x, y)), height in zip(known.items(), heights, strict=True):
            style = styles[model]
            xerr, yerr = (error_bars(x), error_bars(y)) if few else (None, None)  # of many bars one sees nothing else
            axes.errorbar(x["mean"], y["mean"], xerr=xerr, yerr=yerr, linewidth=1.2, markersize=6, **style)
            axes.annotate(
                model,
                (x["mean"], y["mean"]),
                (1.03, height),
                textcoords=("axes fraction", "data"),
                color=style["color"],
                va="center",
                annotation_clip=False,
                arrowprops={"arrowstyle": "-", "color": FAINT, "linewidth": 0.7, "shrinkB": 5},
            )

    return Drawing(
        "average-worst",
        "Average against worst group",
        "Up is better. On the dashed line a model is as good in its worst group as on average; below it, some group"
        " pays." + (" Bars are intervals." if few else ""),
        "; ".join(f"{model}: average {interval(x)}, worst group {interval(y)}" for model, (x, y) in known.items()),
        svg(5.4, tall, draw),
    )


def training(curves: Sequence[Curve], order: Sequence[str], styles: Looks) -> Drawing | None:
    """Plot each measure over epochs: per model the mean over seeds, in a band from the least to the greatest."""
    if not curves:
        return None
    measures = list(dict.fromkeys(curve.measure for curve in curves))

    def draw(figure: "Figure") -> None:
        panels = figure.subplots(len(measures), 1, sharex=True, squeeze=False)[:, 0]
        for axes, measure in zip(panels, measures, strict=True):
            axes.set_ylabel(title(measure))
            for model in order:
                runs_SE = [curve.values for curve in curves if (curve.model, curve.measure) == (model, measure)]
                if runs_SE:
                    epochs, style = range(1, len(runs_SE[0]) + 1), {**styles[model], "markersize": 4, "markevery": 5}
                    axes.plot(epochs, np.mean(runs_SE, 0), label=model, linewidth=1.5, **style)
                    axes.fill_between(epochs, np.min(runs_SE, 0), np.max(runs_SE, 0), color=style["color"], alpha=0.15)
        panels[-1].set_xlabel("epoch")
        handles = {
            label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=3, frameon=False)

    said = "; ".join(f"{c.model} seed {c.seed}, {c.measure}: ends at {c.values[-1]:.3f}" for c in curves)
    caption = "Mean over seeds; the band runs from the lowest seed to the highest."
    return Drawing("training", "How training went", caption, said, svg(5.4, 1.0 + 1.6 * len(measures), draw))
