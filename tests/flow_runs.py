"""Flow runs as the server of Prefect has them."""

from __future__ import annotations

import asyncio

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId


def look(state) -> tuple:
    """Flow run, its task runs by name, and its artifacts by key."""

    async def ask():
        async with get_client() as client:
            run = await client.read_flow_run(state.state_details.flow_run_id)
            this = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
            tasks = await client.read_task_runs(flow_run_filter=this)
            artifacts = await client.read_artifacts(flow_run_filter=this)
            return (
                run,
                {task.name: task for task in tasks},
                {found.key: found for found in sorted(artifacts, key=lambda made: made.created)},
            )

    return asyncio.run(ask())
