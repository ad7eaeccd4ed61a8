"""One night, in order. This is what the schedule runs, and what `collab run` calls.

plan -> land -> parse and locate -> validate -> load (one transaction a batch) -> publish
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import schemas.settings  # noqa: F401  (first: switches telemetry off before Prefect is imported)

# isort: split
from prefect import flow, runtime, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from flows.steps import COUNTS, RETRY, Summary, T, run_night, run_retry, with_night
from schemas.errors import SourceUnavailable
from tasks.validate import Result

LONGEST_NIGHT_SECONDS = 20 * 3600
ROWS_OF_AN_ARTIFACT = 200
HOW_COUNTS_ADD_UP = "fetched = new + updated + unchanged + superseded + out_of_scope + quarantined"
WINDOW = ("source_records", "source_listed", "window_records", "credits")
ORDER = {False: 0, None: 1, True: 2}

# Prefect passes on what reaches this logger, but leaves its level to us.
logging.getLogger("collab").setLevel(logging.INFO)


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


def run_name() -> str:
    """Name of the current run: flow, UTC date, source."""
    started = runtime.flow_run.scheduled_start_time or datetime.now(UTC)
    source = runtime.flow_run.parameters.get("source", "")
    return f"{runtime.flow_run.flow_name} {started.astimezone(UTC):%Y-%m-%d} {source}".strip()


@flow(name="nightly", flow_run_name=run_name, timeout_seconds=LONGEST_NIGHT_SECONDS, persist_result=False)
def nightly(
    source: str = "openalex-snapshot",
    snapshot: str | None = None,
    until: date | None = None,
    venue_list: str | None = None,
    venue_corpus: str | None = None,
) -> str:
    """Take in what is new at the source and publish it. Safe to run again at any time.

    Args:
        source: where works come from: openalex-snapshot, openalex-api with a key in COLLAB_OPENALEX_API_KEY, or
            venue-list.
        snapshot: root of the snapshot: folder, s3://bucket or https://; default COLLAB_SNAPSHOT.
        until: newest partition date of the snapshot to take in; default all.
        venue_list: list of conference papers, file, folder or address; default COLLAB_VENUE_LIST.
        venue_corpus: corpus that the list belongs to; default COLLAB_VENUE_CORPUS.
    """
    return with_night(
        run_night,
        as_task,
        show=show,
        flow_run=str(runtime.flow_run.id),
        source=source,
        snapshot=snapshot,
        until=until,
        venue_list=venue_list,
        venue_corpus=venue_corpus,
    )


@flow(name="quarantine-retry", flow_run_name=run_name, timeout_seconds=LONGEST_NIGHT_SECONDS, persist_result=False)
def quarantine_retry() -> str:
    """Process the open records of the quarantine again, after a fix."""
    return with_night(run_retry, as_task, show=show, flow=RETRY, flow_run=str(runtime.flow_run.id))


def show(summary: Summary) -> None:
    """The tables of a run page."""
    rows = [outcome.row for outcome in summary.outcomes]
    counts = [{name: row[name] for name in ("batch_id", *COUNTS)} for row in rows]
    total = {name: sum(row[name] for row in rows) for name in COUNTS}
    _table("batch-counts", HOW_COUNTS_ADD_UP, [{"batch_id": f"all {len(rows)}", **total}, *counts])
    asked = {row["window_name"]: row for row in rows if row["source_records"] is not None}
    windows = [{"window": name, **{column: row[column] for column in WINDOW}} for name, row in asked.items()]
    windows += [{"window": name, "result": str(exc)} for name, exc in summary.failed.items()]
    if windows:
        _table(
            "windows", "what the source said each window holds, what it listed, what was fetched, and the cost", windows
        )
    results = [(batch_id, result) for batch_id, found in summary.results.items() for result in found]
    broken_first = sorted(results, key=lambda found: ORDER[found[1].success])
    shown = [_row_of(batch_id, result) for batch_id, result in broken_first]
    _table("gates", "rules of all batches of this run, broken ones first", shown)


def _table(key: str, description: str, rows: list[dict[str, Any]]) -> None:
    if len(rows) > ROWS_OF_AN_ARTIFACT:
        description += f"; the first {ROWS_OF_AN_ARTIFACT} of {len(rows)} rows"
    create_table_artifact(rows[:ROWS_OF_AN_ARTIFACT], key=key, description=description)


def _row_of(batch_id: str, result: Result) -> dict[str, Any]:
    return {
        "batch": batch_id.split("/", 1)[-1],
        "rule": result.rule,
        "severity": result.severity,
        "result": {True: "holds", False: "BROKEN", None: "not evaluated"}[result.success],
        "observed": result.observed,
        "limit": result.expected,
        "sample": result.sample or "",
    }
