"""Flows as they are declared: they load from anywhere, fit their parameters, and a server schedules their runs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.schedules import CronSchedule
from prefect.flows import load_flow_from_entrypoint

from flows.nightly import nightly
from flows.orchestration.declaration import declared

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("prefect_server")]
ROOT = Path(__file__).resolve().parents[2]


def test_what_is_declared_loads_and_fits_its_flow():
    assert sorted(path.name for path in (ROOT / "deployments").glob("prefect*")) == ["prefect.yaml"]
    for entry in declared():
        flow = load_flow_from_entrypoint(entry["entrypoint"], use_placeholder_flow=False)
        assert flow.name == entry["name"]
        assert set(entry["parameters"]) <= set(flow.parameters.properties)
        assert entry["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
        for schedule in entry.get("schedules", ()):
            assert CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"]).timezone == "UTC"


def test_the_server_turns_the_schedule_into_runs():
    """With SQLAlchemy 2.1 the scheduler of Prefect 3.8 fails at every tick, and all else works."""

    async def deploy_and_schedule():
        async with get_client() as client:
            schedule = DeploymentScheduleCreate(schedule=CronSchedule(cron="15 2 * * *", timezone="UTC"), active=True)
            deployment = await client.create_deployment(
                await client.create_flow(nightly), name="scheduled", schedules=[schedule]
            )
            answer = await client._client.post(f"/deployments/{deployment}/schedule", json={"min_runs": 2})
            answer.raise_for_status()
            of = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
            return await client.read_flow_runs(deployment_filter=of)

    runs = asyncio.run(deploy_and_schedule())
    assert len(runs) >= 2
    assert all(run.auto_scheduled and f"{run.expected_start_time:%H:%M}" == "02:15" for run in runs)


def test_entrypoints_load_from_a_foreign_directory(tmp_path):
    entrypoints = ["flows.nightly:nightly", "flows.nightly.quarantine_retry", f"{ROOT / 'flows/nightly.py'}:nightly"]
    code = "import sys; from prefect.flows import load_flow_from_entrypoint as load\n"
    code += "print([load(entrypoint).name for entrypoint in sys.argv[1:]])"
    found = subprocess.run(
        [sys.executable, "-c", code, *entrypoints], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == str(["nightly", "quarantine-retry", "nightly"])
