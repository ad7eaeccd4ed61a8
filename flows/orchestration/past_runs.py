"""Ended runs of ours in Prefect: found by flow and tag, and removed with their logs, task runs and artifacts."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import TERMINAL_STATES
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

from flows.orchestration.declaration import flow_names
from flows.orchestration.deployed import TAG

RUNS_AT_ONCE = 100


class Forgotten(NamedTuple):
    """How much was removed."""

    runs: int
    artifacts: int

    def line(self) -> str:
        """What was removed, in one line."""
        return f"{self.runs:,} runs and {self.artifacts:,} artifacts removed from Prefect"


def forget_runs(before: datetime) -> Forgotten:
    """Remove our runs that ended before a moment; running and waiting ones stay.

    A run is ours if it has the tag `collab` and its flow is one of the declared ones. The server removes task runs and
    logs with their run; artifacts are removed first, so that none is left without its run.
    """
    flows = FlowFilter(name=FlowFilterName(any_=flow_names()))
    ended = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[TAG]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=sorted(TERMINAL_STATES))),
        end_time=FlowRunFilterEndTime.model_validate({"before_": before}),
    )
    runs = artifacts = 0
    with get_client(sync_client=True) as client:
        while True:  # what was removed is not found again
            found = client.read_flow_runs(
                flow_filter=flows, flow_run_filter=ended, sort=FlowRunSort.END_TIME_DESC, limit=RUNS_AT_ONCE
            )
            for run in found:
                artifacts += _remove_artifacts(client, run.id)
                _remove(client, run.id)
            runs += len(found)
            if len(found) < RUNS_AT_ONCE:
                return Forgotten(runs, artifacts)


def _remove_artifacts(client: SyncPrefectClient, run_id: UUID) -> int:
    this, removed = FlowRunFilter(id=FlowRunFilterId(any_=[run_id])), 0
    while found := client.read_artifacts(flow_run_filter=this, limit=RUNS_AT_ONCE):
        for artifact in found:
            client.delete_artifact(artifact.id)
        removed += len(found)
    return removed


def _remove(client: SyncPrefectClient, run_id: UUID) -> None:
    try:
        client.delete_flow_run(run_id)
    except ObjectNotFound:
        return  # somebody else removed it meanwhile
