"""Debian packages made on the spot, and an apt-get that serves them."""

import hashlib
import io
import lzma
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

ORIGINS = {  # member -> package, role, label, background
    "usr/stamps/duck.png": ("stamps", "cutout", "bird", ""),
    "usr/stamps/goat.png": ("stamps", "cutout", "land mammal", ""),
    "usr/scenes/lake.png": ("scenes", "scene", "", "water"),
}


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="png")
    return stream.getvalue()


CONTENTS = {member: png(seed) for seed, member in enumerate(ORIGINS)}


def pins(contents: dict[str, bytes]) -> list[dict[str, str]]:
    """Rows as in wildstamps.csv, for ``contents``."""
    return [
        {
            "source_id": f"{role}/{Path(member).stem}",
            "role": role,
            "label": label,
            "background": background,
            "attributes": "{}",
            "licence": "CC0-1.0",
            "attribution": "nobody",
            "stated_in": "usr/share/doc",
            "package": package,
            "member": member,
            "sha256": hashlib.sha256(contents[member]).hexdigest(),
        }
        for member, (package, role, label, background) in ORIGINS.items()
    ]


def serve(debs: Path, contents: dict[str, bytes]) -> None:
    """Write both packages, each with a file beside its ``contents`` that nobody asks for."""
    for package in ("stamps", "scenes"):
        mine = {f"./{name}": content for name, content in contents.items() if ORIGINS[name][0] == package}
        build(debs / f"{package}_1%3a2.0_all.deb", {"./usr/other": b"not asked for"} | mine)


def build(deb: Path, members: dict[str, bytes], links: dict[str, str] | None = None, suffix: str = ".xz") -> None:
    """Write a .deb: an ar archive that ends with data.tar; names are taken as they are, hostile ones too."""
    pack = {".xz": lzma.compress, ".zst": _zstd, ".lz": bytes}[suffix]
    data = pack(_tar(members, links or {}))
    with deb.open("wb") as stream:
        stream.write(b"!<arch>\n")
        for name, content in {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", f"data.tar{suffix}": data}.items():
            stream.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode())
            stream.write(content + b"\n" * (len(content) % 2))


def _tar(members: dict[str, bytes], links: dict[str, str]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
        for name, target in links.items():
            header = tarfile.TarInfo(name)
            header.type, header.linkname = tarfile.SYMTYPE, target
            tar.addfile(header)
    return stream.getvalue()


def _zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as packed:
        packed.write(content)
    return sink.getvalue().to_pybytes()


def install_apt_get(programs: Path, debs: Path) -> None:
    """Write an apt-get that copies NAME_*.deb from ``debs`` to the current folder, or says what apt says."""
    apt_get = programs / "apt-get"
    apt_get.write_text(
        '#!/bin/sh\nfor word; do :; done\n[ "$word" = update ] && exit 0\n'
        f'cp "{debs}/$word"_*.deb . 2>/dev/null || {{ echo "E: Unable to locate package $word" >&2; exit 100; }}\n'
    )
    apt_get.chmod(0o755)
