"""A user's mistake is one sentence and a non-zero exit code, never a stack trace."""

import sys
from collections.abc import Callable


class FieldmarkError(Exception):
    """A mistake the user can mend; its text says what was found, what was expected and what to do."""


class TryAgainError(FieldmarkError):
    """Nothing is wrong with the request: a network, a lock or a server was not there just now."""


TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: the flow runs such a cell again


def exit_on_mistake(command: Callable[[], None]) -> None:
    """Run ``command``; on a ``FieldmarkError`` print its sentence and exit with code 1 (75: trying again may help)."""
    try:
        command()
    except FieldmarkError as mistake:
        print(f"fieldmark: {mistake}", file=sys.stderr)
        sys.exit(TRY_AGAIN if isinstance(mistake, TryAgainError) else 1)
