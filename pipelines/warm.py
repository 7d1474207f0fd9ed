"""``python -m pipelines.warm COMMAND...``: run a command whose stages start in no time.

A stage works for a second or two and loads libraries for five. This process loads them once, at the first stage, and
from then on every ``python -m stages ...`` below the command runs in a fork of it: its own folder, environment, output
and exit code, and it dies with the process that asked. Stages stay processes of their own, so nothing of one reaches
another. A fork that has loaded torch is safe on Linux alone, and as long as nothing was computed before it: so only
libraries are loaded here, and elsewhere stages start as ever.
"""

import argparse
import gc
import json
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

from pipelines import leash

#: The stages that run often, and what they would load only when they need it.
OFTEN = tuple(f"stages.{name}" for name in ("split", "embed", "train", "evaluate", "explain", "report", "register"))
LATE = (
    "alembic.command",
    "mlflow.pyfunc",
    "mlflow.store.tracking.sqlalchemy_store",
    "pyarrow.dataset",
    "scipy.stats",
    "sqlalchemy.dialects.sqlite",
    "torch._dynamo",
    "transformers.models.auto.modeling_auto",
)
#: What stages that judge tables load beside it: as long as all the rest, so only when one of them is asked for.
JUDGING = dict.fromkeys(("validate", "split"), ("great_expectations.expectations",))
CODE = ("fieldmark", "stages")
LONGEST = 70  # characters: of an address there may be 107
TICK = 0.02  # seconds between two looks at who has ended
GRACE = 5.0  # seconds that a stage has to clean up after itself when who asked for it is gone


class Order(NamedTuple):
    """A stage that is asked for."""

    line: socket.socket  # to who asked
    files: Sequence[int]  # standard input, output and error
    words: Sequence[str]
    folder: str
    environ: dict[str, str]


def serve(command: Sequence[str], modules: Sequence[str] = OFTEN + LATE) -> tuple[int, Order | None]:
    """Run ``command`` and fork for each stage it asks for.

    Returns:
        The command's exit code; or, in a fork, the stage that it now has to run.
    """
    folder, before = tempfile.mkdtemp(prefix="fieldmark-"), stamps(Path())
    door = socket.socket(socket.AF_UNIX)
    door.bind(address := f"{folder}/door")
    door.listen()
    door.settimeout(TICK)
    process = subprocess.Popen(command, env={**os.environ, "FIELDMARK_WARM": address})
    running: dict[int, socket.socket] = {}
    while process.poll() is None:
        with suppress(KeyboardInterrupt):  # the command got it too, and says when it has ended
            tell_ended(running)
            if (order := accepted(door)) is None:
                continue
            if order.folder == str(Path.cwd()) and stamps(Path()) == before:
                for module in (*modules, *JUDGING.get(order.words[0], ())):
                    import_module(module)
                gc.freeze()  # a collection in a fork would copy every page it looks at
                if (pid := os.fork()) == 0:
                    return 0, order
                running[pid] = order.line
            else:  # not the code that is loaded here
                tell(order.line, "no")
            for file in order.files:
                os.close(file)
    shutil.rmtree(folder)
    return process.returncode, None


def accepted(door: socket.socket) -> Order | None:
    """Return the next order; None if there is none yet."""
    try:
        line, _ = door.accept()
    except TimeoutError:
        return None
    line.settimeout(None)
    size, files, _, _ = socket.recv_fds(line, 4, 3)
    with line.makefile("rb") as stream:
        told = stream.read(int.from_bytes(size, "big"))
    if not told or len(told) < int.from_bytes(size, "big"):  # whoever asked has gone
        line.close()
        for file in files:
            os.close(file)
        return None
    order: dict[str, Any] = json.loads(told)
    return Order(line, files, **order)


def tell_ended(running: dict[int, socket.socket]) -> None:
    """Tell those who asked how their stages ended: exit code, or minus the signal."""
    for pid in [*running]:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with suppress(ProcessLookupError):  # what it started
                os.killpg(pid, signal.SIGKILL)
            tell(running.pop(pid), str(os.waitstatus_to_exitcode(status)))


def tell(line: socket.socket, answer: str) -> None:
    """Answer who asked, if it is still there."""
    with line, suppress(OSError):
        line.sendall(answer.encode())


def run(order: Order) -> None:
    """Be the process of a stage, until it ends."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is born deaf to it
    for number, file in enumerate(order.files):
        os.dup2(file, number)
    os.environ.update(order.environ)
    Thread(target=leash.follow, args=[order.line.fileno(), GRACE], daemon=True).start()
    name, *arguments = order.words
    sys.argv = [f"stages {name}", *arguments]
    sys.modules.pop(f"stages.{name}", None)  # it runs once more, as the program
    runpy.run_module(f"stages.{name}", run_name="__main__", alter_sys=True)


def stamps(root: Path) -> dict[str, int]:
    """Return when each file of the code was written."""
    return {str(path): path.stat().st_mtime_ns for room in CODE for path in (root / room).rglob("*.py")}


def _command() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", nargs=argparse.REMAINDER)
    words = parser.parse_args().command or parser.error("which command?")
    if sys.platform != "linux" or len(tempfile.gettempdir()) > LONGEST:
        sys.exit(subprocess.call(words))
    code, order = serve(words)
    if order:
        run(order)
    sys.exit(code if code >= 0 else 128 - code)  # as a shell says that it was killed


if __name__ == "__main__":
    _command()
