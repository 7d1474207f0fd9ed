"""What of a model is trained after what."""

from collections.abc import Callable, Iterable

from torch import nn


def phases(module: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    """Return name and module of each phase; the last, which for most models is the only one, has no name.

    A phase is trained to its end before the next one is asked for, so that a model can fix what has been trained.

    >>> [name for name, _ in phases(nn.Linear(1, 1))]
    ['']
    """
    said: Callable[[], Iterable[tuple[str, nn.Module]]] | None = getattr(module, "phases", None)
    return said() if said else [("", module)]


def named(row: dict[str, float], phase: str) -> dict[str, float]:
    """Return a row of a phase's history under names that other phases do not use.

    >>> named({"epoch": 0, "loss": 0.7}, "first"), named({"loss": 0.7}, "")
    ({'epoch': 0, 'first/loss': 0.7}, {'loss': 0.7})
    """
    return {f"{phase}/{name}" if phase and name != "epoch" else name: value for name, value in row.items()}
