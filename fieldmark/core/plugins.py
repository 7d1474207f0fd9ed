"""A plugin is a file: the word in ``params.yaml`` is the file's name, its room is a package."""

import pkgutil
from importlib import import_module
from types import ModuleType

from fieldmark.core.errors import FieldmarkError


def names(room: str) -> list[str]:
    """Return the plugin names of a room, sorted; files that start with ``_`` are not plugins.

    >>> "erm" in names("models")
    True
    """
    package = import_module(f"fieldmark.{room}")
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


def find(room: str, name: str) -> ModuleType:
    """Import plugin ``name`` of ``room``.

    Raises:
        FieldmarkError: the room has no such file; the message lists the names it has.
    """
    known = names(room)
    if name not in known:
        raise FieldmarkError(
            f"there is no '{name}' in fieldmark/{room}/: use one of {', '.join(known)}, or add fieldmark/{room}/{name}.py."
        )
    return import_module(f"fieldmark.{room}.{name}")
