"""Debian packages as an ordinary user: apt fetches and verifies them, Python reads the few members we want."""

import io
import lzma
import os
import subprocess
import tarfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import IO, cast

from tqdm import tqdm

from fieldmark.core.errors import FieldmarkError, TryAgainError

INSTEAD = (
    "or use `shapes`, which downloads nothing"
    " (in params.yaml `dataset.name: shapes` and `split.pairs: {disc: sand, square: sea}`)"
)


def download(packages: Iterable[str], into: Path) -> dict[str, Path]:
    """Download ``packages`` into ``into`` and return where each .deb lies; needs no root and leaves apt's own state be.

    Raises:
        FieldmarkError: there is no apt-get, or it could not get a package.
    """
    for folder in ("lists/partial", "cache/archives/partial"):  # apt makes these for root only
        (into / folder).mkdir(parents=True)
    updated = _apt_get("update", into)  # may grumble about one of the user's other sources; the download decides
    debs = {}
    for package in tqdm(list(packages), desc="download", unit="package"):
        downloaded = _apt_get("download", into, package)
        if downloaded.returncode != 0:
            said = [*updated.stderr.splitlines()[:1], *downloaded.stderr.splitlines()[-1:]]
            raise TryAgainError(
                f"apt-get could not download {package} ({'; '.join(said)}): "
                f"check the network and apt's sources, {INSTEAD}."
            )
        (debs[package],) = into.glob(f"{package}_*.deb")
    return debs


def _apt_get(command: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run apt-get with all it writes kept under ``folder``."""
    options = {
        "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",  # root's apt would otherwise become a user who can't enter our folder
        "Acquire::Languages": "none",
    }
    settings = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    try:
        return subprocess.run(
            ["apt-get", "-q", *settings, command, *words],
            cwd=folder,
            env=os.environ | {"LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,  # the caller knows which failures matter
        )
    except FileNotFoundError:
        raise FieldmarkError(
            f"apt-get was not found, and wildstamps comes from Debian packages: run this where apt is, {INSTEAD}."
        ) from None


def members(deb: Path, wanted: Collection[str]) -> dict[str, bytes]:
    """Return the content of each of the ``wanted`` paths that is a plain file in the package.

    The archive is streamed and nothing is unpacked to the disk, so no path in it can leave any folder; links are not
    followed. Reading stops at the last wanted member.

    Raises:
        FieldmarkError: the file is not a whole Debian package.
    """
    found: dict[str, bytes] = {}
    try:
        with deb.open("rb") as stream, tarfile.open(fileobj=_data(stream), mode="r|") as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                if name in wanted and member.isreg():
                    found[name] = cast(IO[bytes], tar.extractfile(member)).read()
                if len(found) == len(wanted):
                    break
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise FieldmarkError(f"{deb.name} is not a whole Debian package ({error}): pull again.") from error
    return found


def _data(stream: IO[bytes]) -> IO[bytes]:
    """Return the decompressed data.tar of a .deb.

    It is an ar archive (man 5 deb, man 5 ar): 60-byte headers, each followed by a content padded to an even size.
    """
    if stream.read(8) != b"!<arch>\n":
        raise tarfile.ReadError("it does not start as an ar archive")
    while len(header := stream.read(60)) == 60:
        name, size = header[:16].decode("ascii").rstrip(" /"), int(header[48:58])
        if name.startswith("data.tar"):
            return _decompress(stream, name.removeprefix("data.tar"))
        stream.seek(size + size % 2, io.SEEK_CUR)
    raise tarfile.ReadError("it has no data.tar")


def _decompress(stream: IO[bytes], suffix: str) -> IO[bytes]:
    """Return a reader of the decompressed bytes; data.tar is the last member, so the stream ends where it ends."""
    if suffix == ".zst":  # Ubuntu's choice; the standard library has it from Python 3.14 on
        import pyarrow as pa

        return cast(IO[bytes], pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd"))
    if suffix == ".xz":  # Debian's
        return cast(IO[bytes], lzma.open(stream))
    raise tarfile.ReadError(f"data.tar{suffix} is packed in a way that is not known here")
