"""``python -m pipelines.serve``: Prefect's server, a worker and the nightly schedule on this machine, until Ctrl-C."""

import argparse
import signal
import sys
import time
from pathlib import Path

from fieldmark.core.errors import FieldmarkError, exit_on_mistake
from pipelines.deploy import connect, deploy
from pipelines.local import CODE, Worker, server


def main(home: Path, port: int) -> None:
    """Keep server and worker alive until interrupted.

    Raises:
        FieldmarkError: another server runs on the same database, the port is taken, or this one did not start.
    """
    with server(home, port) as at, connect(at) as client:
        if not at.ours:
            raise FieldmarkError(f"a server is already running: open {at.url}, or stop it first.")
        worker = Worker(at)
        try:
            deploy(at, client)
            at.announce()
            print(f"open {at.url} (runs), start one now with `make flow`, stop with Ctrl-C", flush=True)
            while True:
                worker.tend()
                time.sleep(1)
        finally:
            worker.stop()


def _command() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, default=CODE / ".prefect", help="where Prefect keeps its database")
    parser.add_argument("--port", type=int, default=4200, help="where the server listens on 127.0.0.1")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born deaf to Ctrl-C
    try:
        main(arguments.home.resolve(), arguments.port)
    except KeyboardInterrupt:
        print("stopped")


if __name__ == "__main__":
    exit_on_mistake(_command)
