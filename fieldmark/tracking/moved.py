"""A project that was moved or copied: MLflow keeps where its files lay, from the disk's root on."""

import sqlite3
from contextlib import closing
from pathlib import Path

from fieldmark.tracking import database

#: Where MLflow keeps a path of an artifact.
PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)


def settle(root: Path) -> None:
    """Let the project in ``root`` find what it has recorded, wherever it was when it did."""
    here, own = root.resolve() / "mlruns", database.file(root)
    if own != here / "mlflow.db":  # of several projects, maybe
        return
    with closing(sqlite3.connect(own, timeout=database.PATIENCE)) as records:
        told = [Path(location) for (location,) in records.execute("SELECT artifact_location FROM experiments")]
        for before in {str(path.parent) for path in told if path.parts[-2:] == ("mlruns", "artifacts")} - {str(here)}:
            with database.locked(database.lock_file(root)), records:
                for table, column in PLACES:
                    moved = f"{column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?"
                    values = str(here), len(before) + 1, len(before) + 1, f"{before}/"
                    records.execute(f"UPDATE {table} SET {moved}", values)  # noqa: S608  # words of ours
