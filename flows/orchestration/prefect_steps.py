"""Runs the steps of a night as Prefect tasks, and tells Prefect which tables a release made out of which source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import schemas.settings  # noqa: F401  (first: switches telemetry off before Prefect is imported)

# isort: split
from prefect import runtime, task
from prefect.assets import Asset, AssetProperties
from prefect.cache_policies import NO_CACHE
from prefect.context import AssetContext
from prefect.tasks import exponential_backoff

from flows.steps import T
from schemas import tables as t
from schemas.errors import SourceUnavailable
from tasks.landing.harvest import ApiIntake
from tasks.loading.ledger import WAREHOUSE
from tasks.releases.publish import Release


def as_task(name: str, about: str, call: Callable[..., T], *args: Any, retries: int = 0) -> T:
    """Run a step as a Prefect task named after it; its failure is raised here, so it fails the run too.

    Only steps that fetch are retried, and only when the source did not answer.
    """

    def run() -> T:
        done = call(*args)
        if isinstance(done, Release):
            _materialized(done)
        return done

    wrapped: Callable[[], T] = task(
        name=name,
        task_run_name=f"{name} {about}".strip(),
        retries=retries,
        retry_delay_seconds=exponential_backoff(2),
        retry_jitter_factor=0.5,
        retry_condition_fn=_is_unavailable,
        cache_policy=NO_CACHE,
        persist_result=False,
    )(run)
    return wrapped()


def _is_unavailable(task: Any, task_run: Any, state: Any) -> bool:
    del task, task_run
    return isinstance(state.result(raise_on_failure=False), SourceUnavailable)


def _materialized(release: Release) -> None:
    """Give this task the tables of the mart as the assets that it made: one event a table and release.

    Not by `@materialize`, which must know before whether there will be a release: it would say so of every night in
    which no cell changed.
    """
    context = AssetContext.get()
    if context is None:
        return
    context.direct_asset_dependencies.add(source_asset())
    for mart in t.MART:
        if mart.name in release.rows:
            asset = Asset(
                key=f"collab://mart/{mart.name}",
                properties=AssetProperties(name=mart.name, description=mart.comment or None),
            )
            context.downstream_assets.add(asset)
            context.add_asset_metadata(asset.key, {"rows": release.rows[mart.name], "release": release.release_id})


def source_asset() -> Asset:
    """What the current run reads."""
    source = runtime.flow_run.parameters.get("source")
    if source is None:
        source = ApiIntake.source if runtime.flow_run.flow_name == "backfill" else WAREHOUSE
    return Asset(key=f"collab://source/{source}")
