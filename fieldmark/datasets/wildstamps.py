"""Birds and land mammals cut out of photographs, and photographs of water and land, from five Debian packages.

``wildstamps.csv`` pins each image by sha256 and says what it shows. Its licences and authors are copied from the file
of the package named in ``stated_in``: the changelog of the stamps where it credits an image, else their copyright file;
AUTHORS of tuxpaint-data; metadata.json beside each Plasma wallpaper; the copyright files of mate and lomiri.

Attributes: ``waterbird``; ``prop`` = the mask holds more than the animal (log, stump, grass, branch, a young one);
``animal`` = the scene shows small animals; ``deck`` = it is largely a wooden deck; ``border`` = it has black bars.
"""

import csv
import hashlib
import tempfile
from importlib import resources
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from fieldmark.core.errors import FieldmarkError
from fieldmark.datasets import _debian, _shards

CLASSES = ("bird", "land mammal")
BACKGROUNDS = ("land", "water")
_ORIGIN = ("stated_in", "package", "member", "sha256")  # columns of the table that the index does not carry


def pinned() -> list[dict[str, str]]:
    """Return one row per image: what it is, its licence and author, where it lies in which package, its sha256.

    >>> len(pinned()), sorted({row["package"] for row in pinned()})[0]
    (124, 'lomiri-wallpapers-16.04')
    """
    text = resources.files("fieldmark.datasets").joinpath("wildstamps.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def pull(into: Path) -> None:
    """Bring the pinned images into one shard per Debian package; any version of a package will do if its images match.

    Raises:
        FieldmarkError: apt is missing or fails, or images are missing or differ from their sha256 (all are listed).
    """
    hashes: dict[str, dict[str, str]] = {}
    for row in pinned():
        hashes.setdefault(row["package"], {})[row["member"]] = row["sha256"]
    differing: list[str] = []
    with tempfile.TemporaryDirectory(prefix=".debs-", dir=into) as folder:  # where there is room for the data anyway
        debs = _debian.download(sorted(hashes), Path(folder))
        for package, deb in tqdm(debs.items(), desc="unpack", unit="package"):
            images = _debian.members(deb, hashes[package])
            differing += [
                f"{deb.name}: {member}"
                for member, expected in hashes[package].items()
                if hashlib.sha256(images.get(member, b"")).hexdigest() != expected
            ]
            _shards.write(into / f"{package}.tar", images)
    if differing:
        raise FieldmarkError(
            f"{len(differing)} images are missing or differ from the pinned ones ({', '.join(differing)}): "
            f"use a Debian release whose packages still hold them, {_debian.INSTEAD}."
        )


def index(root: Path) -> pd.DataFrame:
    """Return the INDEX table of the shards under ``root``.

    Raises:
        FieldmarkError: an image is missing, unknown, or can't be decoded.
    """
    facts = {row["member"]: {name: value for name, value in row.items() if name not in _ORIGIN} for row in pinned()}
    return _shards.index(root, facts)
