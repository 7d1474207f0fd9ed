"""Drawn shapes on drawn ground, with masks known exactly: for tests, and for places without apt or a network.

Member names say all there is to know: ``cutout/disc/red-003.png``, ``scene/sea/waves-01.png``. Each image is drawn from
its own name and the seed alone, so asking for more of them leaves the others as they were.
"""

import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from fieldmark.core import store
from fieldmark.core.errors import FieldmarkError
from fieldmark.datasets import _drawing, _shards

CLASSES = tuple(_drawing.SHAPES)
BACKGROUNDS = tuple(_drawing.GROUNDS)


def pull(
    into: Path,
    *,
    classes: Sequence[str] = ("disc", "square"),
    backgrounds: Sequence[str] = ("sand", "sea"),
    objects_per_class: int = 40,
    scenes_per_background: int = 8,
    seed: int = 0,
) -> None:
    """Draw cut-outs (RGBA, 96 to 128 px) and scenes (RGB, 640 x 320 px) as PNG into two shards.

    Raises:
        FieldmarkError: a class or background that is not drawn here.
    """
    _refuse_unknown(classes, CLASSES)
    _refuse_unknown(backgrounds, BACKGROUNDS)
    cutouts = {name: _drawing.cutout(*_parts(name), _rng(name, seed)) for name in _cutouts(classes, objects_per_class)}
    scenes = {
        name: _drawing.scene(_parts(name)[0], _rng(name, seed)) for name in _scenes(backgrounds, scenes_per_background)
    }
    for shard, images in (("cutouts", cutouts), ("scenes", scenes)):
        _shards.write(into / f"{shard}.tar", {name: _png(image) for name, image in images.items()})


def index(root: Path, **_: object) -> pd.DataFrame:
    """Return the INDEX table of the shards under ``root``; the options that drew them are not needed.

    Raises:
        FieldmarkError: a shard is damaged or an image can't be decoded.
    """
    names = [member.name for shard in sorted(root.glob("*.tar")) for member in _shards.read(shard)]
    return _shards.index(root, {name: _facts(name) for name in names})


def _cutouts(classes: Sequence[str], count: int) -> Iterator[str]:
    """Name cut-outs; colours go round in every class alike, so that colour says nothing of the class."""
    colours = list(_drawing.COLOURS)
    return (f"cutout/{shape}/{colours[i % len(colours)]}-{i:03d}.png" for shape in classes for i in range(count))


def _scenes(backgrounds: Sequence[str], count: int) -> Iterator[str]:
    return (
        f"scene/{ground}/{_drawing.GROUNDS[ground].texture}-{i:02d}.png" for ground in backgrounds for i in range(count)
    )


def _parts(name: str) -> tuple[str, str]:
    """Split a member name.

    >>> _parts("cutout/disc/red-003.png")
    ('disc', 'red')
    """
    _, what, which = name.split("/")
    return what, which.split("-")[0]


def _facts(name: str) -> dict[str, str]:
    """Say what a member is.

    >>> _facts("scene/sea/waves-01.png")["background"], _facts("cutout/disc/red-003.png")["attributes"]
    ('sea', '{"colour":"red","shape":"disc"}')
    """
    (what, which), is_cutout = _parts(name), name.startswith("cutout/")
    return {
        "source_id": name.removesuffix(".png"),
        "role": "cutout" if is_cutout else "scene",
        "label": what if is_cutout else "",
        "background": "" if is_cutout else what,
        "attributes": store.canonical({"shape": what, "colour": which} if is_cutout else {"texture": which}),
        "licence": "CC0-1.0",
        "attribution": "fieldmark",
    }


def _rng(name: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _png(image: npt.NDArray[np.uint8]) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(
        stream, format="png", compress_level=1
    )  # grain: higher levels take 4 x the time and save nothing
    return stream.getvalue()


def _refuse_unknown(asked: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise FieldmarkError(f"shapes does not draw {', '.join(unknown)}: use some of {', '.join(known)}.")
