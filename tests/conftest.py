"""What all tests share: one thread of arithmetic, memory that is kept, and the whole flow on shapes, made once."""

from pathlib import Path

import pytest
import torch
import world as worlds

from fieldmark.core.allocator import keep_memory


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Keep tests that run side by side from fighting for the same cores."""
    torch.set_num_threads(1)
    keep_memory()


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with every cell trained, measured and reported; copy it to change it (``world.copy``)."""
    return worlds.make(tmp_path_factory.mktemp("world") / "project")
