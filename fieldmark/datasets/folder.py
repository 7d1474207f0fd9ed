"""Pictures of your own: cut-outs in `objects/<class>/`, backgrounds in `scenes/<background>/`.

A cut-out is a PNG or WebP whose alpha channel is the mask; a scene is any PNG, JPEG or WebP. ``licence.txt`` and
``attribution.txt``, at the top or in any folder, say whose they are: the nearest counts. They are copied once: when
pictures have come or gone, ``dvc repro --force pull`` copies them again.
"""

import io
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from fieldmark.core.errors import FieldmarkError
from fieldmark.datasets import _shards

CLASSES: tuple[str, ...] = ()  # those of the folders
BACKGROUNDS: tuple[str, ...] = ()
KINDS = {"objects": (".png", ".webp"), "scenes": (".png", ".webp", ".jpg", ".jpeg")}
LAYOUT = "objects/<class>/*.png (cut-outs with a transparent ground) and scenes/<background>/*.jpg"
NOTES = {"licence.txt": "not stated", "attribution.txt": "not stated"}
_VISIBLE = 128  # alpha from which a pixel counts as object


def pull(into: Path, *, path: str = "") -> None:
    """Copy the pictures under ``path`` into two shards; a scene that a camera turned is written upright.

    Raises:
        FieldmarkError: no such folder, nothing in it, a picture that can't be read, a cut-out that is not cut out.
    """
    folder = Path(path).expanduser()
    if not path or not folder.is_dir():
        raise FieldmarkError(f"there is no folder '{path}': set dataset.options.path to one that holds {LAYOUT}.")
    for kind, endings in KINDS.items():
        found = [file for file in sorted((folder / kind).glob("*/*")) if file.suffix.lower() in endings]
        if not found:
            raise FieldmarkError(f"{folder} holds no {kind}: put there {LAYOUT}.")
        members = {file.relative_to(folder).as_posix(): _content(file, cut_out=kind == "objects") for file in found}
        members |= {note.relative_to(folder).as_posix(): note.read_bytes() for note in _notes(folder, kind)}
        try:
            _shards.write(into / f"{kind}.tar", members)
        except ValueError as error:  # a tar has room for 100 characters of a file's name
            raise FieldmarkError(f"{folder / kind} has a file whose name is too long ({error}): rename it.") from None


def index(root: Path, **_: object) -> pd.DataFrame:
    """Return the INDEX table of the shards under ``root``; where the pictures came from is not needed.

    Raises:
        FieldmarkError: a shard is damaged or an image can't be decoded.
    """
    members = [member for shard in sorted(root.glob("*.tar")) for member in _shards.read(shard)]
    notes = {member.name: member.content.decode(errors="replace") for member in members if _shards.is_note(member.name)}
    names = [member.name for member in members if not _shards.is_note(member.name)]
    return _shards.index(root, {name: _facts(name, notes) for name in names})


def _notes(folder: Path, kind: str) -> Iterator[Path]:
    """Return the notes above and beside the pictures of a kind; those of the top go with the scenes alone."""
    places = [folder / kind, *sorted((folder / kind).glob("*")), *([folder] if kind == "scenes" else [])]
    return (place / name for place in places for name in NOTES if (place / name).is_file())


def _content(file: Path, *, cut_out: bool) -> bytes:
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            image.load()
            if image.mode[0] in "IF":  # Pillow would cut all above 255 off
                raise FieldmarkError(f"{file} has more than 8 bits a pixel's grey: save it with 8.")
            turned = image.getexif().get(0x0112, 1) != 1  # the camera's orientation
            alpha_HW = np.asarray(image.convert("RGBA").getchannel("A"))  # opaque where the file has none
            if cut_out and (alpha_HW.min() >= _VISIBLE or alpha_HW.max() < _VISIBLE):
                what = "nothing to be seen" if alpha_HW.max() < _VISIBLE else "no transparent ground"
                raise FieldmarkError(f"{file} has {what}: cut the object out and save it with an alpha channel.")
            if not turned:
                return file.read_bytes()
            stream = io.BytesIO()
            ImageOps.exif_transpose(image).save(stream, "PNG")
            return stream.getvalue()
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:  # of no whole image
        raise FieldmarkError(f"{file} can't be read as a picture ({error}): replace it or take it out.") from None


def _facts(name: str, notes: dict[str, str]) -> dict[str, str]:
    """Say what a member is.

    >>> _facts("objects/red fox/a.png", {"licence.txt": "CC0-1.0"})["licence"]
    'CC0-1.0'
    """
    kind, what, _ = PurePosixPath(name).parts
    above = [str(folder / note) for folder in PurePosixPath(name).parents for note in NOTES]  # the nearest first
    said = {
        note: next((notes[path].strip() for path in above if path.endswith(note) and path in notes), "") or nothing
        for note, nothing in NOTES.items()
    }
    return {
        "source_id": name,
        "role": "cutout" if kind == "objects" else "scene",
        "label": what if kind == "objects" else "",
        "background": "" if kind == "objects" else what,
        "attributes": "{}",
        "licence": said["licence.txt"],
        "attribution": said["attribution.txt"],
    }
