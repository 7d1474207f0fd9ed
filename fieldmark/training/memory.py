"""Feature maps that were computed once, by name, in a file that can be thrown away at any time."""

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fieldmark.core.errors import FieldmarkError

Halves = npt.NDArray[np.float16]


class Memory:
    """Arrays of one shape in half precision, in SQLite: written whole or not at all, by any number of processes."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.shape = shape
        self._database = sqlite3.connect(path, timeout=600)
        self._database.execute("PRAGMA synchronous = OFF")  # a lost entry is computed again
        self._database.execute("CREATE TABLE IF NOT EXISTS maps (name TEXT PRIMARY KEY, map BLOB) WITHOUT ROWID")

    def recall(self, names: Iterable[str]) -> dict[str, Halves]:
        """Return the arrays that are known."""
        found = {}
        for name in names:
            row = self._database.execute("SELECT map FROM maps WHERE name = ?", (name,)).fetchone()
            if row and len(row[0]) == 2 * int(np.prod(self.shape)):
                found[name] = np.frombuffer(row[0], np.float16).reshape(self.shape)
        return found

    def keep(self, arrays: Mapping[str, Halves]) -> None:
        """Remember arrays.

        Raises:
            FieldmarkError: the disk is full.
        """
        rows = [(name, np.ascontiguousarray(array).tobytes()) for name, array in arrays.items()]
        try:
            with self._database:
                self._database.executemany("INSERT OR REPLACE INTO maps VALUES (?, ?)", rows)
        except sqlite3.OperationalError as error:
            if "full" not in str(error):
                raise
            raise FieldmarkError("the disk is full: free some space (.cache can be deleted) and try again.") from error
