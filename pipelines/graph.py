"""The graph as DVC sees it: one cell for each element of each stage's matrix."""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import yaml

from fieldmark.core.errors import FieldmarkError

#: DVC's command line, in the environment this process runs in.
DVC = (sys.executable, "-m", "pipelines.fastdvc", "--wait-for-lock")

#: What DVC says after every cell, for people who type.
HINT = re.compile(
    r"\s*(Data and pipelines are up|To track the changes|git add |To enable auto|dvc config core|Use `dvc push`|$)"
)


class Cell(NamedTuple):
    """One element of the graph, and what ``meta`` in ``dvc.yaml`` says about running it."""

    name: str  # as DVC says it: "train@ersm-0"
    after: tuple[str, ...]  # names of the cells it reads from
    gpu: bool = False
    timeout: float = 3600  # seconds, without the time it waits for a slot
    retries: int = 0  # only for reasons that may pass: a lock, the network, a lost process


class Graph(NamedTuple):
    """All cells, and the same as a picture."""

    cells: tuple[Cell, ...]
    mermaid: str


def at_a_time(words: str) -> int:
    """Read how many cells may run side by side; a command's argument has this as its type.

    Raises:
        FieldmarkError: none could ever run.

    >>> at_a_time("2")
    2
    """
    if not words.isdecimal() or not int(words):
        raise FieldmarkError(f"{words!r} is no number of cells at a time: give a whole one from 1 on, or none at all.")
    return int(words)


def read(root: Path) -> Graph:
    """Ask DVC for the graph of the project in ``root``.

    Raises:
        FieldmarkError: DVC can't read the project; its own words are passed on.
    """
    answer = subprocess.run([*DVC, "dag", "--mermaid"], cwd=root, capture_output=True, text=True)
    if answer.returncode:
        raise FieldmarkError(f"dvc can't read the graph in {root}: {answer.stderr.strip()}")
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    after = edges(answer.stdout)
    metas = {name: stages[name.partition("@")[0]].get("meta", {}) for name in after}
    return Graph(tuple(Cell(name, tuple(after[name]), **metas[name]) for name in after), answer.stdout)


def edges(mermaid: str) -> dict[str, list[str]]:
    r"""Read DVC's Mermaid: each cell's name and the names of the cells it reads from.

    >>> edges('flowchart TD\n\tnode1["eval@a-0"]\n\tnode2["train@a-0"]\n\tnode2-->node1')
    {'eval@a-0': ['train@a-0'], 'train@a-0': []}
    """
    names = dict(re.findall(r'^\s*(node\d+)\["(.+)"\]$', mermaid, re.MULTILINE))
    after: dict[str, list[str]] = {name: [] for name in names.values()}
    for source, target in re.findall(r"^\s*(node\d+)-->(node\d+)$", mermaid, re.MULTILINE):
        after[names[target]].append(names[source])
    return after
