"""``python -m pipelines.flow``: run the flow once, on a server and a worker of this machine, and wait for its end."""

import argparse
import sys
import time
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelled

from fieldmark.core.errors import exit_on_mistake
from pipelines.deploy import connect, deploy, deployment, has_ended
from pipelines.graph import at_a_time
from pipelines.local import CODE, Worker, server


def main(root: Path, home: Path, workers: int) -> FlowRun:
    """Reproduce the project in ``root`` as a flow run, wait for it and return it; an interrupt cancels it."""
    with server(home) as at, connect(at) as client:
        worker = Worker(at) if at.ours else None
        try:
            known = deploy(at, client) if at.ours else deployment(client)
            if at.ours:
                at.announce()
            parameters = {"root": str(root.resolve()), "workers": workers}
            run = client.create_flow_run_from_deployment(known, parameters=parameters)
            print(f"open {at.url}/runs/flow-run/{run.id}", flush=True)
            try:
                return follow(client, run, worker)
            except KeyboardInterrupt:
                client.set_flow_run_state(run.id, Cancelled(), force=True)
                raise
        finally:
            if worker:
                worker.stop()


def follow(client: SyncPrefectClient, run: FlowRun, worker: Worker | None) -> FlowRun:
    """Say what becomes of ``run`` until it ends, and keep ``worker`` alive."""
    shown = ""
    while not has_ended(run):
        if worker:
            worker.tend()
        time.sleep(0.5)
        run = client.read_flow_run(run.id)
        if run.state and run.state.name != shown:
            shown = run.state.name or ""
            print(f"run {run.name}: {shown} {run.state.message or ''}".rstrip(), flush=True)
    return run


def _command() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=CODE, help="the project to reproduce (default: this one)")
    parser.add_argument("--home", type=Path, default=CODE / ".prefect", help="where Prefect keeps its database")
    parser.add_argument("--workers", type=at_a_time, default=2, help="cells at a time (default: 2)")
    arguments = parser.parse_args()
    try:
        run = main(arguments.root, arguments.home.resolve(), arguments.workers)
    except KeyboardInterrupt:
        sys.exit("cancelled")
    sys.exit(0 if run.state and run.state.is_completed() else 1)


if __name__ == "__main__":
    exit_on_mistake(_command)
