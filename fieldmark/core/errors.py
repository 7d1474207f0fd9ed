"""A user's mistake is one sentence and a non-zero exit code, never a stack trace."""

import os
import select
import sys
from collections.abc import Callable


class FieldmarkError(Exception):
    """A mistake the user can mend; its text says what was found, what was expected and what to do."""


class TryAgainError(FieldmarkError):
    """Nothing is wrong with the request: a network, a lock or a server was not there just now."""


TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: the flow runs such a cell again
INTERRUPTED, UNREAD = 130, 141  # as a shell says it of SIGINT and SIGPIPE


def exit_on_mistake(command: Callable[[], None]) -> None:
    """Run ``command``; on a ``FieldmarkError`` print its sentence and exit with code 1 (75: trying again may help).

    Ctrl-C is one word and 130; a reader of the output who has seen enough (``| head``) is no word and 141.
    """
    try:
        command()
        sys.stdout.flush()
    except FieldmarkError as mistake:
        print(f"fieldmark: {mistake}", file=sys.stderr)
        sys.exit(TRY_AGAIN if isinstance(mistake, TryAgainError) else 1)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)  # without our name: the flow takes what bears it for a mistake
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        if not _nobody_reads():  # it is another pipe, to a server or a worker
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python still wants to say at its end
        sys.exit(UNREAD)


def _nobody_reads() -> bool:
    """Say whether whoever read our output has gone."""
    asked = select.poll()
    asked.register(sys.stdout.fileno(), 0)  # errors alone
    return bool(asked.poll(0))
