"""A user's mistake is one sentence and a non-zero exit code, never a stack trace."""

import sys
from collections.abc import Callable


class FieldmarkError(Exception):
    """A mistake the user can mend; its text says what was found, what was expected and what to do."""


def exit_on_mistake(command: Callable[[], None]) -> None:
    """Run ``command``; on a ``FieldmarkError`` print its sentence and exit with code 1."""
    try:
        command()
    except FieldmarkError as mistake:
        print(f"fieldmark: {mistake}", file=sys.stderr)
        sys.exit(1)
