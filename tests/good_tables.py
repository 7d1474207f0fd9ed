"""Tables that pass all checks, an index with its images and the recipes of a split, and what the checks say of them."""

import hashlib
from io import BytesIO
from itertools import product

import numpy as np
import pandas as pd
from PIL import Image

from fieldmark.checks import Verdict, check_index, check_split
from fieldmark.core.tables import INDEX, RECIPE, conform


def failing(verdict: Verdict) -> dict[str, list[str]]:
    assert verdict.passed == (not verdict.failures())
    return {finding["expectation"]: finding["failing_ids"] for finding in verdict.failures()}


# The index: two cut-outs, two scenes, and a photo with its mask, all in one shard.


def png(mode: str, size: tuple[int, int], colour: object) -> bytes:
    stream = BytesIO()
    Image.new(mode, size, colour).save(stream, format="png")
    return stream.getvalue()


IMAGES = {
    "bird-0": png("RGBA", (8, 6), (255, 0, 0, 255)),
    "dog-0": png("RGBA", (8, 6), (0, 255, 0, 255)),
    "field": png("RGB", (30, 20), (0, 99, 0)),
    "lake": png("RGB", (30, 20), (0, 0, 99)),
    "photo-0": png("RGB", (30, 20), (99, 99, 99)),
    "photo-0 mask": png("L", (30, 20), 255),
}
SOURCES = pd.DataFrame(
    [
        ("bird-0", "cutout", 8, 6, "bird", ""),
        ("dog-0", "cutout", 8, 6, "dog", ""),
        ("field", "scene", 30, 20, "", "land"),
        ("lake", "scene", 30, 20, "", "water"),
        ("photo-0", "photo", 30, 20, "dog", "water"),
    ],
    columns=["source_id", "role", "width", "height", "label", "background"],
)


def root(tmp_path):
    (tmp_path / "all.bin").write_bytes(b"".join(IMAGES.values()))
    return tmp_path


def index():
    ends = np.cumsum([len(content) for content in IMAGES.values()])
    size = np.diff(ends, prepend=0)
    masked = SOURCES["role"] == "photo"
    columns = {
        "shard": "all.bin",
        "offset": (ends - size)[:5],
        "bytes": size[:5],
        "sha256": [hashlib.sha256(content).hexdigest() for content in IMAGES.values()][:5],
        "mask_shard": np.where(masked, "all.bin", ""),
        "mask_offset": np.where(masked, ends[4], 0),
        "mask_bytes": np.where(masked, size[5], 0),
        "attributes": "{}",
        "licence": "CC0-1.0",
        "attribution": "fieldmark",
    }
    return conform(SOURCES.assign(**columns), INDEX)


def judged(index, root) -> Verdict:
    return check_index(index, root, classes=["bird", "dog"], backgrounds=["land", "water"])


# The split: one cut-out per label and side, one scene per background with a band per side.

PAIRS = {"bird": "water", "dog": "land"}
BAND = {
    "train": 0,
    "train_unbiased": 0,
    "val": 40,
    "test": 80,
}  # left edge of each part's crops; the last 40 px are free


def sources():
    rows = [
        (f"{label}-{side}", "cutout", label, "") for label in [*PAIRS, "cat"] for side in ("train", "val", "test", "x")
    ]
    rows += [("lake", "scene", "", "water"), ("field", "scene", "", "land"), ("photo", "photo", "bird", "land")]
    columns = ["source_id", "role", "label", "background"]
    return pd.DataFrame(rows, columns=columns).assign(width=160, height=40)


def example(name: str, part: str, label: str, background: str) -> dict[str, object]:
    numbers = dict.fromkeys([column for column, kind in RECIPE.items() if kind != "str"], 0)
    return {
        **numbers,
        "example_id": name,
        "part": part,
        "label": label,
        "background": background,
        "group": f"{label} on {background}",
        "fg_source": f"{label}-{part.removesuffix('_unbiased')}",
        "bg_source": {"water": "lake", "land": "field"}[background],
        "crop_x": BAND.get(part, 120),
        "crop_side": 40,
        "fg_x": 0.5,
        "fg_y": 0.5,
        "fg_scale": 0.6,
        "erase": "",
        "corruption": "",
        "keep": "",
    }


def recipes():
    """8 examples a part, 3 of 4 aligned in train, 2 of 4 elsewhere; ids such as val-dog-water-1."""
    rows = []
    for part, label, background in product(BAND, PAIRS, ("water", "land")):
        count = (3 if PAIRS[label] == background else 1) if part == "train" else 2
        rows += [example(f"{part}-{label}-{background}-{n}", part, label, background) for n in range(count)]
    return conform(pd.DataFrame(rows), RECIPE)


def checked(recipes, sources, correlation=0.75) -> Verdict:
    return check_split(recipes, sources, correlation=correlation, pairs=PAIRS)
