"""Composites whose background goes with the label in training alone, as in Waterbirds (arXiv 1911.08731).

Cut-outs are split by file. Scenes, which are few, are split by region: each part crops from its own band of every
scene, so that kinds of background return in all parts and no pixel does. Split by file, a shortcut learned from some
scenes would not carry to the others, and a fall on the test part would prove nothing.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fieldmark.core.errors import FieldmarkError
from fieldmark.core.tables import PARTS, RECIPE, conform

#: Which share of the sources a part draws from; the two training parts share theirs, no run trains on both.
_SIDE = {"train": 0, "train_unbiased": 0, "val": 1, "test": 2}
#: What a fresh recipe has not: variants set it.
_PLAIN: dict[str, Any] = {
    "erase": "",
    "occluder_x": 0.5,
    "occluder_y": 0.5,
    "occluder_side": 0.0,
    "corruption": "",
    "keep": "",
    "masked": False,
}

Cells = dict[tuple[str, str], int]  # (label, background) -> examples
Names = npt.NDArray[np.str_]


def assign(
    index: pd.DataFrame,
    *,
    seed: int,
    correlation: float,
    pairs: Mapping[str, str],
    train: int,
    val: int,
    test: int,
    shares: Sequence[float] = (0.5, 0.15, 0.35),
    bands: Sequence[float] = (0.45, 0.2, 0.35),
    crop: Sequence[float] = (0.35, 0.95),
    scale: Sequence[float] = (0.5, 0.75),
    angle: float = 15.0,
) -> pd.DataFrame:
    """Return the RECIPE table of parts ``train``, ``train_unbiased``, ``val`` and ``test``, labels balanced in each.

    Args:
        index: An INDEX table; its cut-outs and scenes are used. The order of rows does not matter.
        seed: Varies which cut-out goes where and everything that is drawn.
        correlation: Exact share of each label's examples in ``train`` that stand on ``pairs[label]``; the rest is
            spread over the other backgrounds. All other parts are balanced over label x background.
        pairs: Label -> the background it goes with in ``train``.
        train: Examples in ``train``, and in ``train_unbiased``.
        val: Examples in ``val``.
        test: Examples in ``test``.
        shares: Of each label's cut-outs that go to training, validation and test.
        bands: Of each scene's width, from left to right, likewise.
        crop: Least and greatest side of a square crop, as a share of the largest square in its band.
        scale: Least and greatest long side of the object, as a share of the frame.
        angle: Greatest turn of the object to either side, degrees; all of it stays inside the frame.

    Raises:
        FieldmarkError: sizes or correlation can't be met exactly, an option is out of range, sources are missing.
    """
    _demand_options(shares, bands, crop, scale, angle)
    scenes = index[index["role"] == "scene"].set_index("source_id").sort_index()
    backgrounds = sorted(set(scenes["background"]))
    _demand_sources(index, pairs, backgrounds)
    files = {label: _dealt(index, label, shares, seed) for label in sorted(pairs)}
    edges = np.cumsum([0.0, *bands])
    parts = []
    for number, (part, size) in enumerate(zip(PARTS, (train, train, val, test), strict=True)):
        rng, side = np.random.default_rng([seed, number]), _SIDE[part]  # its own: one part's size changes no other part
        cells = _balanced(part, size, sorted(pairs), backgrounds)
        if part == "train":
            cells = _biased(size, pairs, backgrounds, correlation)
        drawn = _cast(cells, {label: dealt[side] for label, dealt in files.items()}, scenes, rng)
        drawn = drawn.assign(part=part, example_id=[f"{part}-{row:05d}" for row in range(size)])
        drawn = drawn.assign(**_crops(scenes.loc[drawn["bg_source"]], edges[side : side + 2].tolist(), crop, rng))
        parts.append(drawn.assign(**_poses(size, scale, angle, rng)))
    return conform(pd.concat(parts).assign(**_PLAIN), RECIPE)


def _demand_options(
    shares: Sequence[float], bands: Sequence[float], crop: Sequence[float], scale: Sequence[float], angle: float
) -> None:
    for name, parts in {"shares": shares, "bands": bands}.items():
        if len(parts) != 3 or min(parts) <= 0 or abs(sum(parts) - 1) > 1e-9:
            raise FieldmarkError(f"split.options.{name} is {list(parts)}: give three shares above 0 that add up to 1.")
    for name, ends in {"crop": crop, "scale": scale}.items():
        if len(ends) != 2 or not 0 < ends[0] <= ends[1] <= 1:
            raise FieldmarkError(f"split.options.{name} is {list(ends)}: give the least and greatest share, in (0, 1].")
    if not 0 <= angle <= 45 or scale[1] * _reach(angle) > 1:
        raise FieldmarkError(f"an object of scale {scale[1]} turned by {angle} degrees leaves the frame: lower either.")


def _demand_sources(index: pd.DataFrame, pairs: Mapping[str, str], backgrounds: list[str]) -> None:
    unpaired = sorted(set(index.loc[index["role"] == "cutout", "label"]) - set(pairs))
    if unpaired:
        raise FieldmarkError(f"split.pairs names no background for the labels {unpaired}: add them.")
    absent = sorted(set(pairs.values()) - set(backgrounds))
    if absent:
        raise FieldmarkError(
            f"split.pairs asks for the backgrounds {absent}, but the scenes show {backgrounds}: correct it."
        )
    if len(backgrounds) < 2:
        raise FieldmarkError(
            f"all scenes show {backgrounds}: add another kind, a background misleads only where two exist."
        )


def _dealt(index: pd.DataFrame, label: str, shares: Sequence[float], seed: int) -> list[Names]:
    """Deal a label's cut-outs to training, validation and test."""
    files = sorted(index.loc[(index["role"] == "cutout") & (index["label"] == label), "source_id"])
    ends = np.round(np.cumsum(shares) * len(files)).astype(int)
    if np.diff(ends, prepend=0).min() < 1:
        raise FieldmarkError(
            f"label '{label}' has {len(files)} cut-outs, too few for three parts with shares {list(shares)}: add some."
        )
    return np.split(np.random.default_rng([seed, len(PARTS)]).permutation(files), ends[:-1])


def _balanced(part: str, size: int, labels: list[str], backgrounds: list[str]) -> Cells:
    cells = list(product(labels, backgrounds))
    if size % len(cells):
        key, groups = part.partition("_")[0], len(cells)
        raise FieldmarkError(
            f"split.{key} is {size}, which {groups} groups can't share evenly: use a multiple of {groups}."
        )
    return dict.fromkeys(cells, size // len(cells))


def _biased(size: int, pairs: Mapping[str, str], backgrounds: list[str], correlation: float) -> Cells:
    """Give each label exactly its aligned examples, and the rest to the other backgrounds as evenly as can be."""
    each = size // len(pairs)
    aligned = round(each * correlation)
    if abs(aligned - each * correlation) > 1e-6:
        raise FieldmarkError(
            f"split.train is {size}, {each} examples a label: a correlation of {correlation} would put "
            f"{each * correlation:g} of them on their own background; choose a size at which that is a whole number."
        )
    cells = {}
    for turn, (label, paired) in enumerate(sorted(pairs.items())):
        cells[label, paired] = aligned
        others = [background for background in backgrounds if background != paired]
        for place, background in enumerate(others):
            cells[label, background] = (each - aligned + (place + turn) % len(others)) // len(others)
    return cells


def _cast(cells: Cells, files: Mapping[str, Names], scenes: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Choose who stands where: in each cell every file and every scene equally often (within one)."""
    chosen = []
    for (label, background), count in sorted(cells.items()):
        stage = scenes.index[scenes["background"] == background].to_numpy(str)
        cast = {"fg_source": _equally(files[label], count, rng), "bg_source": _equally(stage, count, rng)}
        named = {"label": label, "background": background, "group": f"{label} on {background}"}
        chosen.append(pd.DataFrame(cast).assign(**named))
    return pd.concat(chosen).sample(frac=1, random_state=rng, ignore_index=True)


def _equally(names: Names, count: int, rng: np.random.Generator) -> Names:
    return rng.permutation(np.resize(rng.permutation(names), count))


def _crops(shown: pd.DataFrame, band: list[float], crop: Sequence[float], rng: np.random.Generator) -> dict[str, Any]:
    """Draw a square inside the band (from, to: shares of the width) of each row's scene."""
    width, height = shown["width"].to_numpy(), shown["height"].to_numpy()
    left, right = np.round(band[0] * width).astype(int), np.round(band[1] * width).astype(int)
    side = (np.minimum(right - left, height) * rng.uniform(crop[0], crop[1], len(shown))).astype(int)
    if side.min() < 1:
        scene = shown.index[side.argmin()]
        raise FieldmarkError(
            f"scene '{scene}' is too small to be cut into bands: leave it out or widen split.options.bands."
        )
    x, y = (rng.integers(0, room + 1) for room in (right - left - side, height - side))
    return {"crop_x": left + x, "crop_y": y, "crop_side": side}


def _poses(count: int, scale: Sequence[float], angle: float, rng: np.random.Generator) -> dict[str, Any]:
    """Draw the objects' geometry so that even a square object stays inside the frame."""
    drawn, turn = rng.uniform(scale[0], scale[1], count), rng.uniform(-angle, angle, count)
    half = drawn * _reach(turn) / 2
    x, y = rng.uniform(half, 1 - half), rng.uniform(half, 1 - half)
    mirrored, seed = rng.random(count) < 0.5, rng.integers(2**31, size=count)
    return {"fg_x": x, "fg_y": y, "fg_scale": drawn, "fg_angle": turn, "fg_flip": mirrored, "seed": seed}


def _reach(angle: Any) -> Any:
    """Return the side of the box around a unit square turned by ``angle`` degrees."""
    return np.abs(np.cos(np.radians(angle))) + np.abs(np.sin(np.radians(angle)))
