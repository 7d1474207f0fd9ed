"""The leaderboard: one row per model, metric and part.

A row is ``{"model", "metric", "part", "mean", "low", "high", "n", "seeds", "chance", "higher_is_better"}``, in
fractions; what is unknown is NaN (``None`` once it went through JSON) and printed as the word.
"""

import math
from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]

#: The columns everybody sees first, if they were measured.
HEADLINE = ("average", "worst_group", "gap_closed", "bg_gap", "token_auc")

_TITLES = {  # in the order to show them
    "average": "average",
    "worst_group": "worst group",
    "gap_closed": "gap closed",
    "gap_closed_here": "gap closed, on these objects",
    "bg_gap": "BG-Gap",
    "token_auc": "mask AUC",
    "alignment_gap": "alignment gap",
    "acc_groupmean": "accuracy, group mean",
    "acc_trainprior": "accuracy, training prior",
    "acc_original": "accuracy, unchanged",
    "acc_mixed_same": "accuracy, own class's backgrounds",
    "acc_mixed_rand": "accuracy, random backgrounds",
    "acc_mixed_next": "accuracy, next class's backgrounds",
    "acc_only_fg": "accuracy, object alone",
    "acc_no_fg": "accuracy, object blackened",
    "acc_only_bg_box": "accuracy, object's box blackened",
    "acc_only_bg_tiled": "accuracy, object tiled over",
    "acc_on_object:0.25": "accuracy, a quarter of the object covered",
    "acc_off_object:0.25": "accuracy, as much covered beside it",
    "acc_gaussian_noise:3": "accuracy, noise",
    "flip_rate": "flip rate",
    "challenge_accuracy": "accuracy, worst of many backgrounds",
    "foreground_sensitivity": "relative foreground sensitivity",
    "occlusion_random": "accuracy, patches anywhere covered",
    "occlusion_object": "accuracy, object covered bit by bit",
    "occlusion_background": "accuracy, background covered bit by bit",
    "occlusion_gap": "accuracy, background covered minus object covered",
    "corruption_accuracy": "accuracy, corrupted",
    "robust_pgd": "accuracy under attack, PGD",
    "robust_apgd": "accuracy under attack, APGD",
    "robust_worst_group": "worst group under attack",
    "robust_background": "accuracy, background attacked",
    "robust_object": "accuracy, object attacked",
    "attention_drift": "mask, drift under attack",
    "ece_15_equal_width": "calibration error (15 bins of equal width)",
    "brier": "Brier score",
    "nll": "cross-entropy (nats)",
    "aurc": "risk when it may abstain (AURC)",
    "mask_iou_top_area": "mask IoU, top area",
    "mask_iou_otsu": "mask IoU, Otsu",
    "mask_dice_otsu": "mask Dice, Otsu",
    "rank_accuracy": "mask, rank accuracy",
    "pointing_game": "mask, pointing game",
    "energy_pointing": "mask energy on object",
    "leak": "leak of what the mask hides",
    "mask_stability_iou": "mask, IoU under another background",
    "mask_stability_cosine": "mask, cosine under another background",
    "mono_background_weight": "classifier's weight on background units",
    "area_correlation": "mask area, rank correlation with the object's",
    "deletion_own": "deletion, own ranking",
    "deletion_magnitude": "deletion, by magnitude",
    "deletion_cam": "deletion, by evidence (CAM)",
    "deletion_random": "deletion, random",
    "deletion_weighted_own": "weighted deletion, own ranking",
    "deletion_weighted_magnitude": "weighted deletion, by magnitude",
    "deletion_weighted_cam": "weighted deletion, by evidence (CAM)",
    "deletion_weighted_random": "weighted deletion, random",
    "insertion": "insertion",
    "morf_lerf": "least minus most relevant first",
    "mask_area": "mask, mean weight",
    "active_fraction": "mask, share above 0.5",
    "mask_entropy": "mask, relative entropy",
    "neighbour_difference": "mask, difference of neighbours",
    "neighbour_difference_relative": "mask, relative difference of neighbours",
    "border_bias": "mask, empty corners minus interior",
    "loss": "training loss",
    "val_accuracy": "validation, average",
    "val_worst_group": "validation, worst group",
}

#: Measures on which no model is best, and why.
UNRANKED = dict.fromkeys(
    ("acc_no_fg", "acc_only_bg_box", "acc_only_bg_tiled", "occlusion_object"),
    "the object is gone: above chance, the background tells",
) | dict.fromkeys(
    (f"deletion_{family}{order}" for family in ("", "weighted_") for order in ("magnitude", "cam", "random")),
    "for comparison with the own ranking",
)


_MAPS = {"gradcam": "Grad-CAM", "integrated_gradients": "integrated gradients"}

#: What the derived columns mean; every other metric's plugin says it.
MEANINGS = {
    "gap_closed": (
        "Worst-group accuracy on the way from the plain network (0) to the true mask on the pixels (1); unknown where"
        " the two can't be told apart."
    ),
    "gap_closed_here": (
        "The same share; its interval says what other splits of these objects and scenes would give, and nothing of"
        " other objects."
    ),
}


def title(metric: str) -> str:
    """Return what people call a metric.

    >>> title("bg_gap"), title("acc_some_variant"), title("token_auc@gradcam")
    ('BG-Gap', 'accuracy, some variant', 'mask AUC (Grad-CAM)')
    """
    measure, _, of = metric.partition("@")  # of another map than the model's own mask
    said = _TITLES.get(measure, measure.replace("acc_", "accuracy, ").replace("_", " "))
    return f"{said} ({_MAPS.get(of, of.replace('_', ' '))})" if of else said


def figure(value: float | None) -> str:
    """Return a number with three decimals, or the word for one that isn't known.

    >>> figure(0.73149), figure(-0.0001), figure(float("nan")), figure(None)
    ('0.731', '0.000', 'unknown', 'unknown')
    """
    return "unknown" if value is None or math.isnan(value) else f"{round(value, 3) + 0.0:.3f}"  # no minus before 0


def interval(row: Row | None) -> str:
    """Return an estimate with its interval.

    >>> interval({"mean": 0.5, "low": 0.45, "high": 0.5512})
    '0.500 [0.450, 0.551]'
    >>> interval({"mean": 0.5, "low": None, "high": None})
    '0.500 [unknown]'
    """
    if row is None or figure(row["mean"]) == "unknown":
        return "unknown"
    low, high = figure(row["low"]), figure(row["high"])
    return f"{figure(row['mean'])} [{'unknown' if 'unknown' in (low, high) else f'{low}, {high}'}]"


def find(rows: Sequence[Row], model: str, metric: str, part: str = "test") -> Row | None:
    """Return the row of a model's metric on a part; ``None`` if it was not measured."""
    wanted = (model, metric, part)
    return next((row for row in rows if (row["model"], row["metric"], row["part"]) == wanted), None)


def metrics(rows: Sequence[Row], part: str = "test") -> list[str]:
    """Return the metrics of a part in the order to show them; those without a place in it come last, as they are."""
    seen = dict.fromkeys(row["metric"] for row in rows if row["part"] == part)
    places = {metric: place for place, metric in enumerate(_TITLES)}
    return sorted(seen, key=lambda metric: places.get(metric.partition("@")[0], len(places)))


def headline(rows: Sequence[Row]) -> list[str]:
    """Return the headline metrics that were measured on the test part."""
    seen = metrics(rows)
    return [metric for metric in HEADLINE if metric in seen]


def leaderboard_records(rows: Sequence[Row], order: Sequence[str]) -> list[dict[str, str]]:
    """Return a line per model: its name and the headline metrics with their intervals, as text."""
    return [
        {"model": model} | {title(metric): interval(find(rows, model, metric)) for metric in headline(rows)}
        for model in order
    ]


def leaderboard_text(rows: Sequence[Row], order: Sequence[str]) -> str:
    """Return the leaderboard for a terminal, columns aligned."""
    lines = _lines(rows, order)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))])
        for name, *cells in lines
    )


def leaderboard_markdown(rows: Sequence[Row], order: Sequence[str]) -> str:
    """Return the leaderboard as a Markdown table."""
    header, *body = _lines(rows, order)
    rule = [":--"] + ["--:"] * (len(header) - 1)
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *body))


def _lines(rows: Sequence[Row], order: Sequence[str]) -> list[list[str]]:
    header = ["model", *map(title, headline(rows))]
    return [header, *(list(record.values()) for record in leaderboard_records(rows, order))]
