"""What ``register`` shows of a reproduction in MLflow; publishing the same thing again changes nothing."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fieldmark.core.store import sha256
from fieldmark.tracking import lineage
from fieldmark.tracking.record import Dataset, Run
from fieldmark.tracking.runs import find_or_restore
from fieldmark.tracking.store import Store

MANIFEST = "lineage/manifest.json"  # of a cell's run
SOURCES = "lineage/sources.json"  # of the parent run: source_id -> sha256
CARD = "card.json"  # of a registered cell's run: what `fieldmark why` tells


def publish_cell(
    store: Store,
    parent: str,
    statement: dict[str, Any],
    *,
    fingerprint: str,
    params: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    datasets: Sequence[Dataset],
    pictures: Iterable[Path],
) -> Run:
    """Return the run of a trained cell, with its lineage, the data it read and pictures of what it does.

    Args:
        store: the open store.
        parent: id of the reproduction's run.
        statement: the cell's ``lineage.manifest``.
        fingerprint: the cell's ``lineage.cell_fingerprint``; a run with it is found, or made as "restored".
        params: the cell's settings, for a restored run.
        history: the cell's curves, for a restored run.
        datasets: what it was trained and measured on.
        pictures: PNG files.
    """
    cell = statement["predicate"]["runDetails"]["metadata"]["cell"]
    run = find_or_restore(store, parent, cell, fingerprint, params, history)
    run.tag(lineage.tags(statement))
    run.log_inputs(datasets)
    run.log_json(statement, MANIFEST)
    run.log_files(pictures, "pictures")
    return run


def publish_sources(store: Store, parent: str, index: Path) -> None:
    """Keep the sha256 of every source image with the parent run: once for all its cells."""
    sources = {"index_sha256": sha256(index), "sources": lineage.sources(index)}
    Run(store, parent).log_json(sources, SOURCES)
