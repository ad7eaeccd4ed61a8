"""One night, in order. This is what the schedule runs, and what `collab run` calls.

plan -> land -> parse and locate -> validate -> load (one transaction a batch) -> publish
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import schemas.settings  # noqa: F401  (first: switches telemetry off before Prefect is imported)

# isort: split
from prefect import flow, runtime, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from flows.steps import COUNTS, Summary, T, run_night, run_retry, with_night
from schemas.errors import SourceUnavailable
from tasks.validate import Result

LONGEST_NIGHT_SECONDS = 20 * 3600


def as_task(name: str, about: str, call: Callable[..., T], *args: Any, retries: int = 0) -> T:
    """Run a step as a Prefect task named after it.

    Only steps that fetch are retried, and only when the source did not answer.
    """

    def run() -> T:
        return call(*args)

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


def _run_name() -> str:
    started = runtime.flow_run.scheduled_start_time or datetime.now(UTC)
    source = runtime.flow_run.parameters.get("source", "")
    return f"{runtime.flow_run.flow_name} {started.astimezone(UTC):%Y-%m-%d} {source}".strip()


@flow(name="nightly", flow_run_name=_run_name, timeout_seconds=LONGEST_NIGHT_SECONDS, persist_result=False)
def nightly(source: str = "openalex-snapshot", snapshot: str | None = None, until: date | None = None) -> str:
    """Take in what is new at the source and publish it. Safe to run again at any time.

    Args:
        source: where works come from; openalex-snapshot.
        snapshot: root of the snapshot: folder, s3://bucket or https://; default COLLAB_SNAPSHOT.
        until: newest partition date to take in; default all.
    """
    del source  # one so far; named in the run so that later ones read the same
    return with_night(run_night, as_task, show=_show, snapshot=snapshot, until=until)


@flow(name="quarantine-retry", flow_run_name=_run_name, timeout_seconds=LONGEST_NIGHT_SECONDS, persist_result=False)
def quarantine_retry() -> str:
    """Send the open records of the quarantine the way of every record again, after a fix."""
    return with_night(run_retry, as_task, show=_show)


def _show(summary: Summary) -> None:
    """The tables of a run page."""
    _show_counts(summary)
    if summary.results:
        _show_gates(summary.results)


def _show_counts(summary: Summary) -> None:
    rows = [outcome.row for outcome in summary.outcomes]
    names = ("batch_id", *COUNTS)
    table = [{name: row[name] for name in names} for row in rows[-100:]] or [{"batch_id": "none", "fetched": 0}]
    create_table_artifact(
        table,
        key="batch-counts",
        description="fetched = new + updated + unchanged + superseded + out_of_scope + quarantined",
    )


def _show_gates(results: list[Result]) -> None:
    order = {False: 0, None: 1, True: 2}
    shown = [
        {
            "rule": result.rule,
            "severity": result.severity,
            "result": {True: "holds", False: "BROKEN", None: "not evaluated"}[result.success],
            "observed": result.observed,
            "limit": result.expected,
            "sample": result.sample or "",
        }
        for result in sorted(results, key=lambda r: order[r.success])
    ]
    create_table_artifact(
        shown or [{"rule": "none"}], key="gates", description="rules of the last batch, broken ones first"
    )
