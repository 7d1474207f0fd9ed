"""What a server must know before it can run our flow: pool, deployment, and what to do about a run that was lost."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.automations import AutomationCore, EventTrigger, Posture
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterExpectedStartTime, FlowRunFilterStateName
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.exceptions import ObjectAlreadyExists

from fieldmark.core.errors import FieldmarkError
from pipelines.local import HEARTBEAT, POOL, Server

ATTEMPTS = 4  # a run that was lost is started again until it had as many

#: Without a sign of life for three heartbeats, a run counts as crashed: its machine or its process is gone.
SILENT = AutomationCore(
    name="fieldmark: a silent run has crashed",
    trigger=EventTrigger(
        after={"prefect.flow-run.heartbeat"},
        expect={f"prefect.flow-run.{e}" for e in ("heartbeat", "Completed", "Failed", "Cancelled", "Crashed")},
        match={"prefect.resource.id": "prefect.flow-run.*"},
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=3 * HEARTBEAT),
    ),
    actions=[ChangeFlowRunState(state=StateType.CRASHED, message="no sign of life")],
)

#: A crashed run is scheduled again; DVC knows which cells are done. One that never ran (count 0) would crash again.
#: Not at once: a worker reports a crash twice, seconds apart, and the second report would hit the new attempt.
AGAIN = AutomationCore(
    name="fieldmark: a crashed run starts again",
    trigger=EventTrigger(
        after={"prefect.flow-run.Crashed"},
        expect={"prefect.flow-run.Running"},
        match={
            "prefect.resource.id": "prefect.flow-run.*",
            "prefect.run-count": [str(count) for count in range(1, ATTEMPTS)],
        },
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=10),
    ),
    actions=[ChangeFlowRunState(state=StateType.SCHEDULED, name="AwaitingRetry", message="lost, starting again")],
)


def connect(server: Server) -> SyncPrefectClient:
    """Return a client of ``server``; use it in a ``with``."""
    return SyncPrefectClient(api=f"{server.url}/api")


def deploy(server: Server, client: SyncPrefectClient) -> UUID:
    """Make ``server`` know pool, automations and the deployment of ``prefect.yaml``; return the deployment's id.

    Raises:
        FieldmarkError: ``prefect deploy`` said no.
    """
    with suppress(ObjectAlreadyExists):  # the database is as old as the first `make serve`
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    for automation in (SILENT, AGAIN):
        for old in client.read_automations_by_name(automation.name):
            client.delete_automation(old.id)
        client.create_automation(automation)
    forget_missed_nights(client)
    with (server.home / "deploy.log").open("wb") as log:
        if server.prefect("--no-prompt", "deploy", "--name", "reproduce", log=log).wait():
            raise FieldmarkError(f"prefect deploy said no: see {server.home / 'deploy.log'}.")
    return deployment(client)


def deployment(client: SyncPrefectClient) -> UUID:
    """Return the id of the deployment ``reproduce``."""
    return client.read_deployment_by_name("reproduce/reproduce").id


def forget_missed_nights(client: SyncPrefectClient) -> None:
    """Delete runs that were due while no server ran: one asked for now must not queue behind them."""
    due = FlowRunFilter(
        state={"name": FlowRunFilterStateName(any_=["Scheduled", "Late"])},
        expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
    )
    for run in client.read_flow_runs(flow_run_filter=due):
        client.delete_flow_run(run.id)


def has_ended(run: FlowRun) -> bool:
    """Tell whether ``run`` is over; a crash is not the end while ``AGAIN`` will start it again."""
    assert run.state is not None
    return run.state.is_final() and not (run.state.is_crashed() and 0 < run.run_count < ATTEMPTS)
