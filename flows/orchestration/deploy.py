"""Brings a Prefect server to what is declared: work pool, deployments, blocks and automations. Twice is once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists, PrefectHTTPStatusError
from prefect.settings import get_current_settings

import schemas.settings
from flows.orchestration.automations import alerts, automations, put_automations, put_blocks
from flows.orchestration.declaration import declared
from schemas.errors import DeployFailed, UsageError
from tasks.upkeep.alerts import addresses

WITH_SOURCE = ("nightly", "rescan")


@dataclass(frozen=True)
class Deployed:
    """What is on the server now."""

    deployments: list[tuple[str, str, str]]
    """Name, when it runs, and parameters."""
    automations: dict[str, str]
    """What was done, by name."""
    channels: list[str]
    """Where alerts go."""
    pool: str
    ui: str


def deploy(settings: schemas.settings.Settings, source: str | None, cron: str | None, timezone: str | None) -> Deployed:
    """Make or update everything that is declared.

    Args:
        source: where nights and rescans get works from; default as declared.
        cron: when nights run; default as declared.
        timezone: of that time.

    Raises:
        UsageError: no server is named.
        DeployFailed: it does not answer, or refuses.
    """
    server = get_current_settings().api.url
    if server is None:
        raise UsageError(
            "PREFECT_API_URL is not set",
            "`prefect server start`, then `export PREFECT_API_URL=http://127.0.0.1:4200/api`",
        )
    channels = addresses(settings)
    entries = [adapt(entry, source, cron, timezone) for entry in declared()]
    try:
        with get_client(sync_client=True) as client:
            if client.api_healthcheck() is not None:
                raise DeployFailed(
                    f"no Prefect server answers at {server}",
                    "`prefect server start`, or set PREFECT_API_URL to where it is",
                )
            for pool in {entry["work_pool"]["name"] for entry in entries}:
                _make_pool(client, pool)
            for entry in entries:
                _put(entry)
            blocks = put_blocks(client, channels)
            wanted = automations(alerts(timedelta(hours=settings.stale_hours)), blocks)
            done = put_automations(client, wanted)
    except PrefectHTTPStatusError as exc:
        raise DeployFailed(
            f"the Prefect server at {server} refuses: {exc.response.status_code}", "its log says why; then call again"
        ) from None
    rows = [(entry["name"], when(entry), _shown(entry["parameters"])) for entry in entries]
    return Deployed(rows, done, list(blocks), entries[0]["work_pool"]["name"], str(get_current_settings().ui_url or ""))


def adapt(entry: dict[str, Any], source: str | None, cron: str | None, timezone: str | None) -> dict[str, Any]:
    """A declared deployment with another source or another time of nights."""
    entry = {**entry, "schedules": [dict(schedule) for schedule in entry.get("schedules", ())]}
    if source and entry["name"] in WITH_SOURCE:
        if source == "venue-list" and entry["name"] == "rescan":  # a list is brought whole: there is no past to look at
            for schedule in entry["schedules"]:
                schedule["active"] = False
        else:
            entry["parameters"] = {**entry["parameters"], "source": source}
    if entry["name"] == "nightly":
        for schedule in entry["schedules"]:
            schedule["cron"] = cron or schedule["cron"]
            schedule["timezone"] = timezone or schedule["timezone"]
    return entry


def when(entry: dict[str, Any]) -> str:
    """When a deployment runs, as cron and time zone."""
    active = [f"{found['cron']} {found['timezone']}" for found in entry["schedules"] if found["active"]]
    return ", ".join(active) or "by hand"


def _put(entry: dict[str, Any]) -> None:
    deployment = RunnerDeployment.from_entrypoint(
        entry["entrypoint"],
        name=entry["name"],
        parameters=entry["parameters"],
        description=entry["description"],
        tags=entry["tags"],
        concurrency_limit=ConcurrencyLimitConfig(**entry["concurrency_limit"]),
        work_pool_name=entry["work_pool"]["name"],
        job_variables=entry["work_pool"]["job_variables"],
    )
    schedules = [
        {
            "schedule": CronSchedule(cron=found["cron"], timezone=found["timezone"]),
            "slug": found["slug"],
            "active": found["active"],
        }
        for found in entry["schedules"]
    ]
    deployment.apply(schedules=schedules)


def _make_pool(client: SyncPrefectClient, name: str) -> None:
    try:
        client.create_work_pool(WorkPoolCreate(name=name, type="process"))
    except ObjectAlreadyExists:
        return  # with the limits that somebody has set


def _shown(parameters: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in parameters.items())
