"""A second look as a recipe: nearer, or with part of the picture painted over. The sources give the detail."""

import json
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fieldmark.core.contracts import Fill
from fieldmark.core.store import canonical
from fieldmark.core.tables import DROPS

_LENGTHS = ("fg_scale", "occluder_side")
_PLACE = ["crop_x", "crop_y", "crop_side", "fg_x", "fg_y", "fg_scale", "occluder_x", "occluder_y", "occluder_side"]


def zoomed(recipes: pd.DataFrame, boxes_N3: npt.NDArray[np.floating[Any]]) -> pd.DataFrame:
    """Return recipes whose frame is a square of the old frame, so that rendering them loses no detail.

    Scene crops are whole pixels of the scene: there the frame is exact to half of one. What was lost of the picture
    stays lost, however near one looks; noise and blur are those of the new picture.

    Args:
        recipes: a RECIPE table.
        boxes_N3: for each row centre x, centre y and side of the square, as fractions of the frame that holds it.

    >>> row = {"crop_x": 10, "crop_y": 0, "crop_side": 100, "fg_x": 0.5, "fg_y": 0.5, "fg_scale": 0.4, "keep": "",
    ...        "corruption": "", "occluder_x": 0.5, "occluder_y": 0.5, "occluder_side": 0.0}
    >>> near = zoomed(pd.DataFrame([row]), np.array([[0.75, 0.5, 0.5]]))
    >>> near[["crop_x", "crop_y", "crop_side", "fg_x", "fg_y", "fg_scale"]].to_numpy().tolist()
    [[60.0, 25.0, 50.0, 0.0, 0.5, 0.8]]
    """
    x_N, y_N, side_N = np.asarray(boxes_N3, np.float64).T
    start = {"x": x_N - side_N / 2, "y": y_N - side_N / 2}
    near = {"crop_side": (recipes["crop_side"] * side_N).round().clip(lower=1).astype(np.int64)}
    for axis, origin in ((name, recipes[f"crop_{name}"]) for name in start):
        wanted = (origin + recipes["crop_side"] * start[axis]).round().astype(np.int64)
        near[f"crop_{axis}"] = wanted.clip(origin, origin + recipes["crop_side"] - near["crop_side"])  # not beyond it
    near |= {
        f"{what}_{axis}": (recipes[f"{what}_{axis}"] - start[axis]) / side_N
        for what in ("fg", "occluder")
        for axis in start
    }
    near |= {name: recipes[name] / side_N for name in _LENGTHS}
    frames = [*zip(start["x"].tolist(), start["y"].tolist(), side_N.tolist(), strict=True)]
    keep = [_moved(said, *frame) for said, frame in zip(recipes["keep"], frames, strict=True)]
    lost = [
        _followed(*row) for row in zip(recipes["corruption"], frames, recipes[_PLACE].to_dict("records"), strict=True)
    ]
    return recipes.assign(**near, keep=keep, corruption=lost)


def kept(recipes: pd.DataFrame, keep_Nhw: npt.NDArray[np.bool_], fill: Fill = "grey") -> pd.DataFrame:
    """Return recipes of which only some tokens' pixels remain; the others are painted over.

    Args:
        recipes: a RECIPE table in which nothing is painted over yet.
        keep_Nhw: the tokens of each row's frame that stay.
        fill: ``black``, ``grey`` (the middle of the range) or ``blur`` (the picture without detail).
    """
    grid = list(keep_Nhw.shape[1:])
    said = [
        canonical({"fill": fill, "grid": grid, "bits": np.packbits(keep_hw).tobytes().hex(), "frame": [0.0, 0.0, 1.0]})
        for keep_hw in keep_Nhw
    ]
    return recipes.assign(keep=said)


def _moved(keep: str, left: float, top: float, side: float) -> str:
    """Say where the frame that ``keep`` speaks of lies, seen from a square of the present frame."""
    if not keep:
        return ""
    said = json.loads(keep)
    return canonical({**said, "frame": _seen_from(said["frame"], left, top, side)})


def _followed(corruption: str, square: tuple[float, float, float], place: Mapping[Hashable, Any]) -> str:
    """Say of lost patches which picture they are of, and where its frame lies, seen from a square of the present one.

    Which patches are lost hangs on the whole picture's object: its geometry goes with the name, for ``loading``.
    """
    name, _, told = corruption.partition("|")
    if not name.startswith(DROPS):
        return corruption
    said: dict[str, Any] = json.loads(told) if told else {"frame": [0.0, 0.0, 1.0], "whole": place}
    return f"{name}|{canonical({**said, 'frame': _seen_from(said['frame'], *square)})}"


def _seen_from(frame: Sequence[float], left: float, top: float, side: float) -> list[float]:
    x, y, old = frame
    return [(x - left) / side, (y - top) / side, old / side]
