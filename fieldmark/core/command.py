"""How a stage becomes a command: arguments, parameters, threads, and one sentence for a mistake."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from fieldmark.core.allocator import keep_memory
from fieldmark.core.errors import exit_on_mistake
from fieldmark.core.params import load


def run(main: Callable[..., None], *arguments: tuple[str, type]) -> None:
    """Call ``main(params, root, **arguments)`` with ``arguments`` read from the command line.

    ``root`` is the folder DVC runs in (``DVC_ROOT``), or else the current one.
    """
    parser = argparse.ArgumentParser(description=(main.__doc__ or "").splitlines()[0])
    for name, kind in arguments:
        parser.add_argument(name, type=kind)
    values = vars(parser.parse_args())
    keep_memory()
    root = Path(os.environ.get("DVC_ROOT", "."))
    exit_on_mistake(lambda: main(load(root / "params.yaml"), root.resolve(), **values))
