"""What ``dvc.lock`` (schema 2.0) knows: which content each stage read and wrote."""

import hashlib
import json
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from fieldmark.core.errors import FieldmarkError

Entry = dict[str, Any]  # one stage: cmd, deps, params, outs

_MEND = "run make repro, or git checkout dvc.lock"

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is ten times as fast


def read(root: Path) -> dict[str, Entry]:
    """Return the stages of ``dvc.lock`` by address, such as ``train@erm-0``.

    Raises:
        FieldmarkError: there is no such file, or it is no lock of schema 2.0.
    """
    path = root / "dvc.lock"
    if not path.exists():
        raise FieldmarkError(
            f"{path} does not exist, so nothing is known about where results come from: run dvc repro."
        )
    try:
        lock = _parsed(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FieldmarkError(f"{path} can't be read ({' '.join(str(error).split())}): {_MEND}.") from None
    if not isinstance(lock, dict):
        raise FieldmarkError(f"{path} holds a {type(lock).__name__} and no stages: {_MEND}.")
    if lock.get("schema") != "2.0":
        raise FieldmarkError(f"{path} has schema {lock.get('schema')!r}, expected '2.0': run dvc repro with DVC 3.")
    return dict(lock.get("stages", {}))


@lru_cache(maxsize=1)  # register asks once for each cell
def _parsed(text: str) -> Any:
    return yaml.load(text, _LOADER) or {}  # noqa: S506  # both are safe


def ancestors(stages: dict[str, Entry], cell: str) -> list[str]:
    """Return ``cell`` and every stage it builds on, sorted: a stage builds on those that write what it reads.

    >>> stages = {"b": {"deps": [{"path": "x/part"}]}, "a": {"outs": [{"path": "x"}]}, "c": {"outs": [{"path": "y"}]}}
    >>> ancestors(stages, "b")
    ['a', 'b']

    Raises:
        FieldmarkError: ``dvc.lock`` does not know the cell.
    """
    if cell not in stages:
        near = get_close_matches(cell, sorted(stages), 3, cutoff=0)
        raise FieldmarkError(
            f"dvc.lock does not know '{cell}' (of {len(stages)} stages, nearest are {', '.join(near) or 'none'}): "
            "correct the name, or run make repro if params.yaml has it."
        )
    found, waiting = set[str](), [cell]
    while waiting:
        name = waiting.pop()
        found.add(name)
        for dep in stages[name].get("deps", []):
            waiting += [other for other in producers(stages, dep["path"]) if other not in found]
    return sorted(found)


def producers(stages: dict[str, Entry], path: str) -> list[str]:
    """Return the stages with an output at, above or below ``path``."""
    return [name for name, entry in stages.items() if any(_meet(path, out["path"]) for out in entry.get("outs", []))]


def contents(stages: dict[str, Entry], names: list[str]) -> dict[str, str]:
    """Return the DVC hash of every path these stages read or wrote.

    Raises:
        FieldmarkError: a hash is missing, or two stages saw different content at one path.
    """
    hashes: dict[str, str] = {}
    for name in names:
        for item in [*stages[name].get("deps", []), *stages[name].get("outs", [])]:
            path, md5 = item["path"], item.get("md5")
            if not md5:
                raise FieldmarkError(f"dvc.lock has no hash for {path} of '{name}': run dvc repro {name}.")
            if hashes.setdefault(path, md5) != md5:
                raise FieldmarkError(f"the stages up to '{name}' saw different content in {path}: run dvc repro.")
    return hashes


def content_hash(path: Path) -> str:
    """Return what DVC 3 calls a file or folder: its md5, for a folder the md5 of its listing and ``.dir``."""
    if path.is_file():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "md5").hexdigest()
    text = json.dumps([{"md5": md5, "relpath": name} for name, md5 in sorted(files(path).items())], sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"


def files(folder: Path) -> dict[str, str]:
    """Return the md5 of each file in a folder by its path there; byte code does not count, as in ``.dvcignore``."""
    found = (file for file in folder.rglob("*") if file.is_file() and file.suffix != ".pyc")
    return {
        file.relative_to(folder).as_posix(): content_hash(file) for file in found if "__pycache__" not in file.parts
    }


def _meet(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")
