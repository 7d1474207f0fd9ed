"""From a model's alias, or a cell, down to the sha256 of every source image."""

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from fieldmark.core import plugins
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.store import read_json, sha256
from fieldmark.tracking import lineage
from fieldmark.tracking.model import CODE
from fieldmark.tracking.publish import CARD, MANIFEST, SOURCES
from fieldmark.tracking.registry import resolve
from fieldmark.tracking.runs import PARENT
from fieldmark.tracking.store import Store

SHOWN = 5  # source images of a short tree


class Trace(NamedTuple):
    """All that stands behind a model."""

    what: str
    run_id: str  # "" for a cell read from the working folder
    manifest: dict[str, Any]
    sources: dict[str, str]  # source_id -> sha256


def trace_model(store: Store, uri: str) -> Trace:
    """Follow ``models:/name@alias`` to its run, the run's manifest and the parent run's sources.

    Raises:
        FieldmarkError: no such model, or its run lost an artifact, or the sources are not those of the manifest.
    """
    version = resolve(store, uri)
    manifest = artifact(store, version.run_id, MANIFEST)
    parent = store.client.get_run(version.run_id).data.tags[PARENT]
    known = artifact(store, parent, SOURCES)
    index = _dependencies(manifest)[2]
    if known["index_sha256"] != index["digest"]["sha256"]:
        raise FieldmarkError(
            f"{uri} was made from another {index['name']} than its parent run {parent} holds: run dvc repro."
        )
    aliases = f" ({', '.join(version.aliases)})" if version.aliases else ""
    return Trace(f"{version.name} {version.version}{aliases}", version.run_id, manifest, known["sources"])


def trace_cell(root: Path, cell: str, index: Path) -> Trace:
    """Follow a cell such as ``train@erm-0`` through ``dvc.lock``; no MLflow needed."""
    return Trace(cell, "", lineage.manifest(root, cell, index=index), lineage.sources(index))


def artifact(store: Store, run_id: str, name: str) -> Any:
    """Return a JSON artifact of a run.

    Raises:
        FieldmarkError: the run has none of that name.
    """
    folder, _, file = name.rpartition("/")
    if name not in [one.path for one in store.client.list_artifacts(run_id, folder or None)]:
        raise FieldmarkError(
            f"run {run_id} has no {file}, so its trail ends here: run dvc repro, which registers again."
        )
    with tempfile.TemporaryDirectory() as workspace:
        return read_json(Path(store.client.download_artifacts(run_id, name, workspace)))


def card(store: Store, uri: str) -> tuple[Any, Any]:
    """Return the version behind ``uri`` and what was written about it when it was registered."""
    version = resolve(store, uri)
    return version, artifact(store, version.run_id, CARD)


def weights_problems(store: Store, uri: str) -> list[str]:
    """Return which files of a registered model are not those of its manifest, or not the code it was logged with."""
    version = resolve(store, uri)
    promised = {
        Path(one["name"]).name: one["digest"]["sha256"] for one in artifact(store, version.run_id, MANIFEST)["subject"]
    }
    logged_with = store.client.get_logged_model(version.model_id).tags.get(CODE)
    with tempfile.TemporaryDirectory() as workspace:
        from mlflow.artifacts import download_artifacts

        kept = Path(download_artifacts(f"models:/{version.model_id}", dst_path=workspace))
        files = {path.name: sha256(path) for path in (kept / "artifacts").rglob("*") if path.is_file()}
        entries = [path.read_bytes() for path in kept.rglob("_pyfunc.py")]  # what MLflow runs, and its copy in the code
        same_code = plugins.code(kept / "code" / "fieldmark") == logged_with and entries == entries[:1] * 2
    names = sorted({*files, *lineage.CELL})
    wrong = [f"{uri}: {name} is not what its manifest says" for name in names if files.get(name) != promised.get(name)]
    return wrong if same_code or logged_with is None else [*wrong, f"{uri}: its code is not what it was logged with"]


def tree(trace: Trace, *, everything: bool = False) -> str:
    """Return a trace as text; ``everything`` names each source image, else the first few."""
    definition = trace.manifest["predicate"]["buildDefinition"]
    commit, requirements, index, *inputs = definition["resolvedDependencies"]
    changed = commit["annotations"]["changed"]
    shown = list(trace.sources.items())[: None if everything else SHOWN]
    hidden = len(trace.sources) - len(shown)
    run = [f"├─ run {trace.run_id}"] if trace.run_id else []
    return "\n".join(
        [
            trace.what,
            *run,
            f"├─ commit {commit['digest']['gitCommit']}"
            + (f", but {len(changed)} files changed since" if changed else ""),
            f"├─ {_line(requirements)}",
            "├─ made",
            *(f"│  ├─ {_line(one)}" for one in trace.manifest["subject"]),
            "├─ by the stages",
            *(f"│  ├─ {name}: {entry['cmd']}" for name, entry in definition["internalParameters"].items()),
            "├─ from",
            *(f"│  ├─ {_line(one)}" for one in inputs),
            f"└─ {len(trace.sources)} source images of {_line(index)}",
            *(f"   ├─ {source}  sha256 {digest}" for source, digest in shown),
            *([f"   └─ {hidden} more: --all shows them"] if hidden else []),
        ]
    )


def _dependencies(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = manifest["predicate"]["buildDefinition"]["resolvedDependencies"]
    return found


def _line(resource: dict[str, Any]) -> str:
    return f"{resource['name']}  " + " ".join(f"{kind} {digest}" for kind, digest in resource["digest"].items())
