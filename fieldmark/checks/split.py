"""Whether the recipes of a split may pass: no leak, and exactly the shortcut that was asked for."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from fieldmark.checks import leakage
from fieldmark.checks.expectations import Rule, among, between, judge, never, unique
from fieldmark.checks.verdict import Verdict
from fieldmark.core.tables import PARTS, RECIPE, conform

INDEPENDENT = 0.05  # largest association of label and background that counts as none
BALANCED = ("val", "test")
SLACK = 1e-9  # of floating-point sums

#: Fault -> what is expected instead, in the order in which they are looked for.
SOURCE_FAULTS = {
    "unknown": "every source is in the index",
    "miscast": "objects come from cut-outs or photos, backgrounds from scenes or photos",
    "mislabelled": "label and background are those of the sources",
    "misgrouped": "groups are named '<label> on <background>'",
}


def check_split(recipes: pd.DataFrame, index: pd.DataFrame, *, correlation: float, pairs: Mapping[str, str]) -> Verdict:
    """Judge a RECIPE table against the INDEX table of its sources.

    Args:
        recipes: the table; its order of rows does not matter.
        index: where sizes, roles, labels and backgrounds of the sources stand.
        correlation: declared share of ``train`` whose background is ``pairs[label]``.
        pairs: label -> the background it goes with in training.

    Raises:
        FieldmarkError: the columns or types are not those of RECIPE.
    """
    table = _examples(conform(recipes, RECIPE), index)
    parts, groups = _parts(table, pairs), _groups(table, pairs)
    results = [
        *judge(table, "example_id", _example_rules(pairs)),
        *judge(parts, "part", _part_rules(parts, correlation)),
        *judge(groups, "group", _group_rules()),
    ]
    counts = pd.crosstab(table["part"], table["group"])
    return Verdict.of(results, {"parts": parts.set_index("part").to_dict("index"), "groups": counts.to_dict("index")})


def phi(label: "pd.Series[str]", background: "pd.Series[str]") -> float:
    """Return Cramér's phi (V) of label and background, in [0, 1]; NaN when either is always the same.

    >>> phi(pd.Series(["a", "a", "b", "b"]), pd.Series(["x", "x", "y", "y"]))
    1.0
    >>> phi(pd.Series(["a", "a", "b", "b"]), pd.Series(["x", "y", "x", "y"]))
    0.0
    """
    from scipy.stats.contingency import association

    counts = pd.crosstab(label, background)
    return float(association(counts, method="cramer")) if min(counts.shape) > 1 else float("nan")


def _examples(recipes: pd.DataFrame, index: pd.DataFrame) -> pd.DataFrame:
    """Add to each example the facts that take more than one column or table to see."""
    found = {which: index.set_index("source_id").reindex(recipes[f"{which}_source"]) for which in ("fg", "bg")}
    width, height = found["bg"]["width"].to_numpy(), found["bg"]["height"].to_numpy()
    x, y, side = (recipes[f"crop_{name}"] for name in ("x", "y", "side"))
    # An unknown scene has no size to leave: comparisons with NaN are false, and the fault is reported as "unknown".
    leaves = (x < 0) | (y < 0) | (side < 1) | (x + side > width) | (y + side > height)
    return recipes.assign(
        sources=_source_fault(recipes, found["fg"], found["bg"]),
        crop_inside=~leaves,
        object_inside=_object_inside(recipes),
        shares_source=leakage.shared_source(recipes, index),
        shares_pixel=leakage.shared_pixel(recipes, index),
    )


def _source_fault(recipes: pd.DataFrame, fg: pd.DataFrame, bg: pd.DataFrame) -> Any:
    label, background = recipes["label"].to_numpy(), recipes["background"].to_numpy()
    wrong = {
        "unknown": (fg["role"].isna().to_numpy() | bg["role"].isna().to_numpy()),
        "miscast": ~(fg["role"].isin(["cutout", "photo"]).to_numpy() & bg["role"].isin(["scene", "photo"]).to_numpy()),
        "mislabelled": (fg["label"].to_numpy() != label) | (bg["background"].to_numpy() != background),
        "misgrouped": (recipes["group"] != recipes["label"] + " on " + recipes["background"]).to_numpy(),
    }
    return np.select([wrong[fault] for fault in SOURCE_FAULTS], list(SOURCE_FAULTS), "")


def _object_inside(recipes: pd.DataFrame) -> Any:
    """Tell whether the object stays in the frame whatever its shape: the square around its long side does.

    A photo in its own place has no geometry but its crop.
    """
    turn = np.radians(recipes["fg_angle"])
    half = recipes["fg_scale"] * (np.abs(np.cos(turn)) + np.abs(np.sin(turn))) / 2
    centre = recipes[["fg_x", "fg_y"]].to_numpy()  # where, unlike in pandas, the least of a number and NaN is NaN
    inside = (centre.min(1) >= half - SLACK) & (centre.max(1) <= 1 - half + SLACK) & (recipes["fg_scale"] > 0)
    return inside | (recipes["fg_source"] == recipes["bg_source"])


def _parts(table: pd.DataFrame, pairs: Mapping[str, str]) -> pd.DataFrame:
    """Return one row per part: how many examples, objects and scenes, and how label and background go together."""
    rows = [
        {
            "part": part,
            "examples": len(rows),
            "objects": rows["fg_source"].nunique(),
            "scenes": rows["bg_source"].nunique(),
            "aligned": float((rows["label"].map(pairs) == rows["background"]).mean()),
            "phi": phi(rows["label"], rows["background"]),
        }
        for part, rows in table[table["part"].isin(PARTS)].groupby("part")
    ]
    return pd.DataFrame(rows, columns=["part", "examples", "objects", "scenes", "aligned", "phi"])


def _groups(table: pd.DataFrame, pairs: Mapping[str, str]) -> pd.DataFrame:
    """Return one row per balanced part and group: its examples, and how many more than the part's least group."""
    backgrounds = sorted(set(table["background"].dropna()) | set(pairs.values()))
    names = [f"{label} on {background}" for label, background in product(sorted(pairs), backgrounds)]
    counts = table.groupby(["part", "group"]).size().to_dict()
    rows = []
    for part in BALANCED:
        examples = {name: int(counts.get((part, name), 0)) for name in names}
        least = min(filter(None, examples.values()), default=0)  # an empty group is another expectation's business
        rows += [(f"{part}: {name}", count, max(0, count - least)) for name, count in examples.items()]
    return pd.DataFrame(rows, columns=["group", "examples", "excess"])


def _example_rules(pairs: Mapping[str, str]) -> list[Rule]:
    known = sorted(pairs)
    return [
        unique("example ids are unique", "example_id"),
        among(f"parts are {', '.join(PARTS)}", "part", PARTS),
        among(f"labels are those with a paired background: {', '.join(known)}", "label", known),
        *(never(text, "sources", fault) for fault, text in SOURCE_FAULTS.items()),
        among("crops lie inside their scene", "crop_inside", [True]),
        among("objects lie inside the frame", "object_inside", [True]),
        among("no cut-out or photo is in two of training, validation and test", "shares_source", [False]),
        among("no pixel of a scene is in two of training, validation and test", "shares_pixel", [False]),
    ]


def _part_rules(parts: pd.DataFrame, correlation: float) -> list[Rule]:
    one_example = 1 / max(1, int(parts.loc[parts["part"] == "train", "examples"].sum())) + SLACK
    low, high = correlation - one_example, correlation + one_example
    train, rest = ("part", ["train"]), ("part", ["train_unbiased", *BALANCED])
    needed = ["train", *BALANCED]
    return [
        Rule(f"there are {', '.join(needed)}", "part", "ExpectColumnDistinctValuesToContainSet", {"value_set": needed}),
        between(f"{correlation:g} of train has the background its label goes with", "aligned", low, high, train),
        between("outside of train, label and background are independent", "phi", 0, INDEPENDENT, rest),
    ]


def _group_rules() -> list[Rule]:
    return [
        between("validation and test have every group", "examples", 1, None),
        between("validation and test groups are equal within one example", "excess", 0, 1),
    ]
