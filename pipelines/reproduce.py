"""The flow ``reproduce``: what ``dvc repro`` does, with the same bytes, as one task a cell and side by side."""

from graphlib import TopologicalSorter
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated, Any
from uuid import UUID

from prefect import flow, get_client, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.futures import PrefectFuture
from prefect.tasks import exponential_backoff
from pydantic import Field

from fieldmark.core.store import read_json
from pipelines import graph, slots
from pipelines.mend import mend
from pipelines.steps import reproduce_cell, stop_all


@flow(name="reproduce", persist_result=False)
def reproduce(root: Path = Path(), workers: Annotated[int, Field(ge=1)] = 2) -> None:
    """Bring every cell of the project in ``root`` up to date, at most ``workers`` at a time.

    Raises:
        RuntimeError: some cells did not finish; all that do not read from them did.
    """
    root = root.resolve()
    for sentence in mend(root):
        get_run_logger().warning(sentence)
    plan = graph.read(root)
    create_markdown_artifact(f"```mermaid\n{plan.mermaid}```", key="graph", description="What follows what")
    if count := len(slots.gpus()):
        with get_client(sync_client=True) as client:
            client.upsert_global_concurrency_limit_by_name(slots.LIMIT, count)
    try:
        futures = submit(plan.cells, root, workers)
    finally:
        stop_all()  # nothing, unless the run was cancelled
    show_results(root)
    missing = [name for name, future in futures.items() if not future.state.is_completed()]
    if missing:
        raise RuntimeError(f"{len(missing)} of {len(futures)} cells did not finish: {', '.join(missing)}")


def submit(cells: tuple[graph.Cell, ...], root: Path, workers: int) -> dict[str, PrefectFuture[Any]]:
    """Run ``cells`` in an order their dependencies allow; a cell is submitted when those it reads from have ended.

    Submitting all at once would be simpler, but then cells that wait would take the places of cells that could run.
    """
    by_name = {cell.name: cell for cell in cells}
    order = TopologicalSorter({cell.name: cell.after for cell in cells})
    order.prepare()
    ready: list[str] = []
    ended: SimpleQueue[PrefectFuture[Any]] = SimpleQueue()
    names: dict[UUID, str] = {}
    futures: dict[str, PrefectFuture[Any]] = {}
    running = done = 0
    while order.is_active():
        ready += sorted(order.get_ready())
        while ready and running < workers:
            cell = by_name[ready.pop(0)]
            before = [futures[name] for name in cell.after]
            task = reproduce_cell.with_options(retries=cell.retries, retry_delay_seconds=exponential_backoff(1))
            future = task.submit(cell, root, wait_for=before, return_state=False)
            future.add_done_callback(ended.put)
            futures[cell.name], names[future.task_run_id] = future, cell.name
            running += 1
        future = ended.get()
        future.wait()  # its state is asked for only now
        order.done(name := names[future.task_run_id])
        running, done = running - 1, done + 1
        get_run_logger().info(f"{done} of {len(cells)} cells: {name}: {future.state.name}")
    return futures


def show_results(root: Path) -> None:
    """Leave the leaderboard and what to open beside the run, as far as the graph made them."""
    report = root / "data" / "report"
    if (report / "leaderboard.json").exists():
        create_table_artifact(read_json(report / "leaderboard.json"), key="leaderboard", description="Who looks where")
    if (report / "report.html").exists():
        links = f"* [report]({(report / 'report.html').as_uri()})\n* [MLflow](http://127.0.0.1:5000), after `make ui`\n"
        create_markdown_artifact(links, key="open", description="What to open")
