"""What all tests share: one thread of arithmetic, memory that is kept, and the whole flow on shapes, made once."""

import fcntl
import gc
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fieldmark.core.allocator import keep_memory

Once = Callable[[str, Callable[[Path], object]], Path]

#: What takes minutes goes first, so that workers end together.
LONG = (
    "test_graph", "test_pipelines", "test_apart", "test_stages", "test_audit", "test_report", "test_parallel",
    "test_attacked_cells",
)  # fmt: skip


def pytest_configure() -> None:
    """Collect garbage seldom: a tenth of the time goes into walking through what libraries have loaded."""
    gc.set_threshold(100_000, 50, 100)


def pytest_collection_finish() -> None:
    """Leave what is loaded by now out of it altogether."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files in front."""
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Keep tests that run side by side from fighting for the same cores."""
    import torch  # here, as all that takes seconds: whoever only hands out tests to workers needs none of it

    torch.set_num_threads(1)
    keep_memory()


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Return what makes a folder once, whatever the number of workers, and tells all of them where it is."""
    mine = tmp_path_factory.getbasetemp()
    everyones = mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = everyones / name, everyones / f"{name}.done"
        with (everyones / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                make(folder)
                done.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def mlruns(once: Once) -> Path:
    """Return a project's ``mlruns/`` before its first run, to be copied: MLflow takes ten seconds to make one."""
    from fieldmark.tracking import database

    return once("mlflow", database.prepare) / "mlruns"


@pytest.fixture(scope="session")
def world(once: Once, mlruns: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of a project with every cell trained, measured and reported; to change it, ``world.copy`` it."""
    import world as worlds

    made = once("world", lambda root: worlds.make(root, mlruns))
    return worlds.copy(made, tmp_path_factory.mktemp("world") / "project")


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return somebody else's classifier, which leans on the background."""
    import audited

    return audited.trained(tmp_path_factory.mktemp("network") / "data")


@pytest.fixture(scope="session")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that is no project, where all audits keep their pictures."""
    return tmp_path_factory.mktemp("audits")
