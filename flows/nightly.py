"""One night, in order. This is what the schedule runs, and what `collab run` calls.

plan -> land -> parse and locate -> validate -> load (one transaction a batch) -> publish
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import schemas.settings  # noqa: F401  (first: switches telemetry off before Prefect is imported)

# isort: split
from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from flows.alerts import announced
from flows.deployed import LONGEST_RUN_SECONDS, Corpus, ListFile, MaybeDay, Root, Source, load_settings, run_name
from flows.steps import COUNTS, Summary, T, run_night, run_retry, with_night
from schemas.errors import SourceUnavailable
from tasks.validate import Result

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


@flow(name="nightly", flow_run_name=run_name, timeout_seconds=LONGEST_RUN_SECONDS, persist_result=False)
def nightly(
    source: Source = "openalex-snapshot",
    snapshot: Root = None,
    until: MaybeDay = None,
    venue_list: ListFile = None,
    venue_corpus: Corpus = None,
) -> str:
    """Take in what is new at the source and publish it. Safe to run again at any time.

    Args:
        source: where works come from. openalex-api needs a key in COLLAB_OPENALEX_API_KEY of the worker.
        snapshot: root of the snapshot, a folder, s3://bucket or https:// address. Empty: COLLAB_SNAPSHOT.
        until: newest partition date of the snapshot to take in. Empty: all.
        venue_list: list of conference papers, a file, folder or address. Empty: COLLAB_VENUE_LIST.
        venue_corpus: corpus that the list belongs to, small letters, digits and hyphens. Empty: COLLAB_VENUE_CORPUS.
    """
    load_settings(snapshot=snapshot, venue_list=venue_list, venue_corpus=venue_corpus)
    return with_night(
        announced(run_night),
        as_task,
        show=show,
        source=source,
        snapshot=snapshot,
        until=until,
        venue_list=venue_list,
        venue_corpus=venue_corpus,
    )


@flow(name="quarantine-retry", flow_run_name=run_name, timeout_seconds=LONGEST_RUN_SECONDS, persist_result=False)
def quarantine_retry() -> str:
    """Process the open records of the quarantine again, after a fix."""
    load_settings()
    return with_night(announced(run_retry), as_task, show=show)


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
