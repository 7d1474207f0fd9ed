"""Where a cell comes from, down to the sha256 of each source image: an in-toto Statement with SLSA provenance.

Formats: in-toto Statement v1 (https://in-toto.io/Statement/v1), predicate https://slsa.dev/provenance/v1.
"""

import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from fieldmark.core.errors import FieldmarkError
from fieldmark.core.store import canonical, fingerprint, read_table, sha256
from fieldmark.tracking import dvclock

RESULTS = (":(exclude)dvc.lock", ":(exclude)data")  # what a repro rewrites: no reason to call the code changed
LOCK_FILE = "requirements.lock"
CELL = ("weights.safetensors", "config.json")  # what a trained cell is


class Code(NamedTuple):
    """The state of the working tree, results aside."""

    commit: str
    tree: str  # sha256 of everything committed but results: equal trees, equal code and params
    changed: list[str]  # files that differ from the commit or are unknown to it; empty = clean


def code(root: Path) -> Code:
    """Return the commit and what differs from it.

    Raises:
        FieldmarkError: not a git repository, no commit yet, or no git.
    """
    commit = _git(root, "rev-parse", "--verify", "HEAD").strip()
    tree = _git(root, "ls-tree", "-r", "-z", "HEAD", ".")
    kept = [row for row in tree.split("\0") if row and not _is_result(row.partition("\t")[2])]
    status = _git(root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", ".", *RESULTS)
    return Code(commit, fingerprint(kept), sorted(row[3:] for row in status.split("\0") if row))


def reproduction(root: Path) -> str:
    """Return the key under which runs of the same code and params belong together; committing results keeps it."""
    return fingerprint([code(root).tree, sha256(root / "params.yaml")])


def cell_fingerprint(folder: Path) -> str:
    """Return the name of a trained cell's content: sha256 over its weights and config."""
    return fingerprint({name: sha256(folder / name) for name in CELL})


def manifest(root: Path, cell: str, *, index: Path) -> dict[str, Any]:
    """Return the provenance of a cell such as ``train@erm-0``; the same state gives the same manifest.

    Args:
        root: the project.
        cell: its address in DVC.
        index: the table of source images its data was made from.

    Raises:
        FieldmarkError: something in the trail is missing or not what ``dvc.lock`` says.
    """
    stages = dvclock.read(root)
    names = dvclock.ancestors(stages, cell)
    hashes = dvclock.contents(stages, names)
    orphans = [path for path in hashes if path.startswith("data/") and not dvclock.producers(stages, path)]
    if orphans:
        raise FieldmarkError(
            f"lineage is incomplete: dvc.lock does not say what made {', '.join(orphans)}; run dvc repro."
        )
    outputs = [out["path"] for out in stages[cell].get("outs", [])]
    for path in outputs:
        _demand_unchanged(root / path, path, hashes[path])
    state = code(root)
    inputs = [_dvc_resource(path, md5) for path, md5 in sorted(hashes.items()) if path not in outputs]
    files = [_file_resource(root, root / LOCK_FILE), _file_resource(root, index)]
    commit = {"name": "git commit", "digest": {"gitCommit": state.commit}, "annotations": {"changed": state.changed}}
    definition = {
        "buildType": "https://dvc.org/doc/user-guide/project-structure/dvcyaml-files",
        "externalParameters": {name: stages[name].get("params", {}) for name in names},
        "internalParameters": {name: {"cmd": stages[name]["cmd"], "lock": fingerprint(stages[name])} for name in names},
        "resolvedDependencies": [commit, *files, *inputs],
    }
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [_file_resource(root, file) for path in outputs for file in _files(root / path)],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": definition,
            "runDetails": {"builder": {"id": "dvc"}, "metadata": {"cell": cell}},
        },
    }


def demand_committed(root: Path) -> Code:
    """Return the state of the code.

    Raises:
        FieldmarkError: code, params or lock files are not committed.
    """
    state = code(root)
    if state.changed:
        some = ", ".join(state.changed[:5]) + (f" and {len(state.changed) - 5} more" if len(state.changed) > 5 else "")
        raise FieldmarkError(
            f"a model is registered from committed code only, and {some} differ: git add and git commit them."
        )
    return state


def sources(index: Path) -> dict[str, str]:
    """Return the sha256 of each source image.

    Raises:
        FieldmarkError: the index is missing, empty, or an image has no hash.
    """
    if not index.exists():
        raise FieldmarkError(
            f"{index} does not exist, so source images are unknown: run dvc repro pull (or dvc checkout)."
        )
    table = read_table(index)
    found = dict(zip(table["source_id"].astype(str), table["sha256"].astype(str), strict=True))
    nameless = [source for source, digest in found.items() if len(digest) != 64]
    if nameless or not found:
        raise FieldmarkError(
            f"{index} has {len(found)} images, {len(nameless)} without sha256: run dvc repro pull again."
        )
    return found


def tags(statement: dict[str, Any]) -> dict[str, str]:
    """Return a manifest as short texts for MLflow (at most 5000 characters each)."""
    definition = statement["predicate"]["buildDefinition"]
    commit, requirements, index, *_ = definition["resolvedDependencies"]
    locks = {name: entry["lock"] for name, entry in definition["internalParameters"].items()}
    values = {
        "git_commit": commit["digest"]["gitCommit"],
        "git_dirty": str(bool(commit["annotations"]["changed"])).lower(),
        "requirements_lock": requirements["digest"]["sha256"],
        "source_index": index["digest"]["sha256"],
        "dvc_lock": _short(locks),
        "params": _short(definition["externalParameters"]),
        "manifest": fingerprint(statement),
    }
    return {f"fieldmark.{name}": value for name, value in values.items()}


def _short(value: Any) -> str:
    """Return the JSON of ``value``; where a tag can't hold it, its sha256: the manifest has it in full."""
    text = canonical(value)
    return text if len(text) <= 5000 else f"sha256:{fingerprint(value)}"


def _git(root: Path, *arguments: str) -> str:
    try:
        command = ["git", "--no-optional-locks", "-C", str(root), *arguments]  # never in the way of a commit
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise FieldmarkError("git is not installed, and lineage needs a commit: install git.") from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise FieldmarkError(
            f"lineage needs a git commit and {root} has none ({said}): run git init, git add and git commit there."
        ) from None
    return done.stdout


def _is_result(path: str) -> bool:
    return path == "dvc.lock" or path.startswith("data/")


def _demand_unchanged(file: Path, path: str, md5: str) -> None:
    if not file.exists() or dvclock.content_hash(file) != md5:
        raise FieldmarkError(f"{path} is not what dvc.lock says: run dvc checkout {path} to restore it, or dvc repro.")


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())


def _dvc_resource(path: str, md5: str) -> dict[str, Any]:
    return {"name": path, "digest": {"dvcFolder": md5[:-4]} if md5.endswith(".dir") else {"md5": md5}}


def _file_resource(root: Path, file: Path) -> dict[str, Any]:
    if not file.exists():
        raise FieldmarkError(
            f"lineage is incomplete: {file} does not exist; restore it (git checkout or dvc checkout)."
        )
    return {"name": file.relative_to(root).as_posix(), "digest": {"sha256": sha256(file)}}
