"""Files are written whole or not at all, and content has a name: its sha256."""

import errno
import glob
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from fieldmark.core.errors import FieldmarkError

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it (file or folder) to ``path`` once the block succeeds.

    Raises:
        FieldmarkError: the disk is full, or one may not write there; what stood at ``path`` before is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(path)
        workspace = Path(tempfile.mkdtemp(prefix=f".{path.name}.{os.getpid()}.", dir=path.parent))
    except OSError as error:
        if error.errno in FULL_DISK:
            raise _full(path) from error
        raise FieldmarkError(f"{path} can't be written ({error}): make its folder one you may write to.") from error
    try:
        yield workspace / path.name
        _sync(workspace / path.name)
        if path.is_dir():  # a folder can't be replaced in one step: move the old one aside first
            path.rename(workspace / "replaced")
        (workspace / path.name).replace(path)
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        raise _full(path) from error
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def _full(path: Path) -> FieldmarkError:
    return FieldmarkError(
        f"the disk is full: {path} could not be written and nothing was changed; "
        "free some space and run the command again."
    )


def _clear_abandoned(path: Path) -> None:
    """Remove what a killed process left half-written beside ``path``."""
    for workspace in path.parent.glob(f".{glob.escape(path.name)}.*.*"):
        pid = workspace.name.removeprefix(f".{path.name}.").partition(".")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(workspace, ignore_errors=True)


def _sync(path: Path) -> None:
    """Flush a written file to the disk, so that a rename never promotes an empty one after a crash."""
    if path.is_file():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())


def canonical(value: Any) -> str:
    """Return ``value`` as JSON with sorted keys, without spaces, NaN as null: equal values, equal text.

    >>> canonical({"b": float("nan"), "a": (1, 2)})
    '{"a":[1,2],"b":null}'
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(value: Any) -> str:
    """Return the sha256 of the canonical JSON of ``value``.

    >>> fingerprint({"a": 1})[:12]
    '015abd7f5cc5'
    """
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def sha256(path: Path) -> str:
    """Return the sha256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as readable JSON: sorted keys, two spaces, NaN as null."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(_plain(value), sort_keys=True, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; null stays ``None``."""
    return json.loads(path.read_text())


def writable(folder: Path) -> Path:
    """Return a folder that something can be written into, made if need be.

    Raises:
        FieldmarkError: it can't.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FieldmarkError(f"{folder} can't be made ({error}): name a folder you may write to.") from None
    if not os.access(folder, os.W_OK):
        raise FieldmarkError(f"{folder} can't be written to: name a folder you may write to.")
    return folder


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object that somebody else wrote.

    Raises:
        FieldmarkError: it is not there, or no JSON object.
    """
    try:
        found = read_json(path)
    except (OSError, ValueError) as error:
        raise FieldmarkError(f"{path} can't be read as JSON ({error}): fetch it again.") from None
    if not isinstance(found, dict):
        raise FieldmarkError(f"{path} holds no JSON object: fetch it again.")
    return found


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write ``table`` as parquet; the same table gives the same bytes."""
    with atomic(path) as temporary:
        table.to_parquet(temporary, index=False, compression="zstd")


def read_table(path: Path) -> pd.DataFrame:
    """Read a parquet table."""
    return pd.read_parquet(path)


def _plain(value: Any) -> Any:
    """Turn tuples, paths and NumPy scalars into what JSON knows; NaN and infinity become null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
