"""MLflow's own pages, on this machine only."""

import os
import socket
import sys
from pathlib import Path

from fieldmark.core.errors import FieldmarkError
from fieldmark.tracking import database, moved
from fieldmark.tracking.store import connect

HOST = "127.0.0.1"


def serve(root: Path, port: int) -> None:
    """Say what to open, and become MLflow's server; where one runs already, only say so.

    Raises:
        FieldmarkError: the port can't be had, or the store does not answer.
    """
    uri = database.prepare(root)
    moved.settle(root)
    if uri.startswith("http"):
        print(f"open {database.shown(uri)}: {database.NAMED} names a server that runs already")
        return
    if database.file(root) is None:  # of what else MLflow takes, only opening tells whether it is there
        with connect(root):
            pass
    port = free(port)
    page = f"http://{HOST}:{port}/#/experiments/1/runs?workflowType=machine_learning"  # not its GenAI pages
    print(f"open {page} (Ctrl-C ends it)", flush=True)
    server = ["-m", "mlflow", "server", "--backend-store-uri", uri, "--host", HOST, "--port", str(port)]
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # of GenAI: three processes we have no use for
    os.execv(sys.executable, [sys.executable, *server, "--workers", "1"])  # one reader: up in a quarter of the time


def free(port: int) -> int:
    """Return the port if a server can have it; for 0, one that can be had.

    Raises:
        FieldmarkError: it is taken, kept from us, or no port.
    """
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: one that has ended is no matter
        try:
            one.bind((HOST, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or "ports go up to 65535"
            raise FieldmarkError(
                f"{HOST} has no port {port} for a server ({reason}): end what listens there, or choose another with "
                "--port."
            ) from None
        found: int = one.getsockname()[1]
    return found
