"""Facts about leakage: which examples share a source, or a pixel of a scene, with another side of the split."""

import numpy as np
import numpy.typing as npt
import pandas as pd

Bits = npt.NDArray[np.bool_]
Boxes = npt.NDArray[np.int64]  # (N, 4): left, top, right, bottom; right and bottom are outside


def sides(part: "pd.Series[str]") -> "pd.Series[str]":
    """Return the side of the split each example is on: both training parts are one, as no run sees both."""
    return part.replace("train_unbiased", "train")


def shared_source(recipes: pd.DataFrame, index: pd.DataFrame) -> Bits:
    """Tell which examples show a cut-out or photo, as object or as background, that another side shows too."""
    role, side = index.set_index("source_id")["role"], sides(recipes["part"])
    shown = pd.concat([recipes["fg_source"], recipes["bg_source"]])
    shown = shown[shown.map(role) != "scene"]
    counts = side.reindex(shown.index).groupby(shown.to_numpy()).transform("nunique")
    return recipes.index.isin(shown.index[(counts > 1).to_numpy()])


def shared_pixel(recipes: pd.DataFrame, index: pd.DataFrame) -> Bits:
    """Tell which examples' crop of a scene overlaps a crop that another side takes of the same scene."""
    role = index.set_index("source_id")["role"]
    corner, length = recipes[["crop_x", "crop_y"]].to_numpy(), recipes[["crop_side"]].to_numpy()
    boxes_N4, side_N = np.hstack([corner, corner + length]), sides(recipes["part"]).to_numpy()
    scenes = recipes["bg_source"].where(recipes["bg_source"].map(role) == "scene")
    shared_N = np.zeros(len(recipes), bool)
    for rows in scenes.groupby(scenes).indices.values():
        for side in pd.unique(side_N[rows]):
            here = side_N[rows] == side
            shared_N[rows[here]] |= overlap(boxes_N4[rows[here]], boxes_N4[rows[~here]])
    return shared_N


def overlap(boxes_N4: Boxes, others_M4: Boxes) -> Bits:
    """Tell which boxes share a pixel with any of the others; boxes that only touch share none.

    >>> overlap(np.array([[0, 0, 4, 4], [4, 0, 8, 4]]), np.array([[3, 3, 4, 5]])).tolist()
    [True, False]
    """
    if not len(boxes_N4) or not len(others_M4):
        return np.zeros(len(boxes_N4), bool)
    hull_4 = np.concatenate([others_M4[:, :2].min(0), others_M4[:, 2:].max(0)])
    near_N = _meet(boxes_N4, hull_4)  # in a split by region there are none, and the exact test below costs nothing
    near_N[near_N] = _meet(boxes_N4[near_N, None], others_M4[None]).any(1)
    return near_N


def _meet(a: Boxes, b: Boxes) -> Bits:
    return np.asarray(((a[..., :2] < b[..., 2:]) & (b[..., :2] < a[..., 2:])).all(-1))
