"""A shard is an uncompressed tar: any image in it can be read by offset, and the same members give the same bytes."""

import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from tqdm import tqdm

from fieldmark.core import tables
from fieldmark.core.errors import FieldmarkError


class Member(NamedTuple):
    """One encoded image inside a shard."""

    name: str
    offset: int  # bytes from the start of the shard
    content: bytes


def write(shard: Path, members: Mapping[str, bytes]) -> None:
    """Write ``members`` (name -> content) sorted by name, with no time and no owner."""
    with tarfile.open(shard, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(members):
            header = tarfile.TarInfo(name)  # its defaults are what we want: mtime 0, uid 0, mode 0644
            header.size = len(members[name])
            tar.addfile(header, io.BytesIO(members[name]))


def read(shard: Path) -> Iterator[Member]:
    """Yield the members of a shard in their order.

    Raises:
        FieldmarkError: the shard is not a whole tar.
    """
    try:
        with tarfile.open(shard, "r:") as tar:
            for header in tar:
                content = tar.extractfile(header)
                if content is not None:  # a link or a folder has none
                    yield Member(header.name, header.offset_data, content.read())
    except tarfile.TarError as error:
        raise FieldmarkError(f"{shard} is damaged ({error}): pull again.") from error


def is_note(name: str) -> bool:
    """Tell whether a member is no image, but says whose the images are."""
    return name.endswith(".txt")


def index(root: Path, facts: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """Return the INDEX table of the cut-outs and scenes in the shards under ``root``, sorted by ``source_id``.

    Args:
        root: folder of ``*.tar`` shards.
        facts: member name -> the columns that bytes can't tell (source_id, role, label, background, attributes,
            licence, attribution).

    Raises:
        FieldmarkError: the shards do not hold exactly the members of ``facts``, or one of them can't be decoded.
    """
    members = (
        (shard.name, member)
        for shard in sorted(root.glob("*.tar"))
        for member in read(shard)
        if not is_note(member.name)
    )
    rows, found = [], set()
    for shard, member in tqdm(members, desc="index", unit="image", total=len(facts)):
        found.add(member.name)
        rows.append(_measure(shard, member) | dict(facts.get(member.name, {})))
    if found != set(facts):
        differ = ", ".join(sorted(found ^ set(facts)))
        raise FieldmarkError(f"the shards in {root} lack images or hold unknown ones ({differ}): pull again.")
    return tables.conform(pd.DataFrame(rows).sort_values("source_id"), tables.INDEX)


def _measure(shard: str, member: Member) -> dict[str, str | int]:
    """Say what the bytes themselves tell; a cut-out's mask is its alpha channel, so no mask file is named."""
    width, height = _decoded_size(member)
    return {
        "shard": shard,
        "offset": member.offset,
        "bytes": len(member.content),
        "sha256": hashlib.sha256(member.content).hexdigest(),
        "width": width,
        "height": height,
        "mask_shard": "",
        "mask_offset": 0,
        "mask_bytes": 0,
    }


def _decoded_size(member: Member) -> tuple[int, int]:
    """Decode all pixels, because a truncated image has a whole header, and return width and height in px."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(member.content)) as image:
            image.load()
            return image.size
    except (Image.DecompressionBombError, OSError, SyntaxError) as error:  # of bytes that are no whole image
        raise FieldmarkError(f"{member.name} can't be decoded as an image ({error}): pull again.") from error
