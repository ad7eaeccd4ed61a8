"""One night, in order. This is what the schedule runs, and what `collab run` calls.

plan -> land -> parse and locate -> validate -> load (one transaction a batch) -> publish
"""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime

import schemas.settings  # noqa: F401  (first: switches telemetry off before Prefect is imported)

# isort: split
from prefect import flow, runtime

from flows.artifacts import run_page, tell_how_it_ended
from flows.prefect_steps import as_task
from flows.steps import RETRY, run_night, run_retry, with_night

LONGEST_NIGHT_SECONDS = 20 * 3600

# Prefect passes on what reaches this logger, but leaves its level to us.
logging.getLogger("collab").setLevel(logging.INFO)


def run_name() -> str:
    """Name of the current run: flow, UTC date, source."""
    started = runtime.flow_run.scheduled_start_time or datetime.now(UTC)
    source = runtime.flow_run.parameters.get("source", "")
    return f"{runtime.flow_run.flow_name} {started.astimezone(UTC):%Y-%m-%d} {source}".strip()


@flow(
    name="nightly",
    flow_run_name=run_name,
    timeout_seconds=LONGEST_NIGHT_SECONDS,
    persist_result=False,
    on_failure=[tell_how_it_ended],
    on_crashed=[tell_how_it_ended],
    on_cancellation=[tell_how_it_ended],
)
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
    with run_page() as page:
        return with_night(
            run_night,
            as_task,
            show=page.show,
            watcher=page.progress,
            flow_run=str(runtime.flow_run.id),
            source=source,
            snapshot=snapshot,
            until=until,
            venue_list=venue_list,
            venue_corpus=venue_corpus,
        )


@flow(
    name="quarantine-retry",
    flow_run_name=run_name,
    timeout_seconds=LONGEST_NIGHT_SECONDS,
    persist_result=False,
    on_failure=[tell_how_it_ended],
    on_crashed=[tell_how_it_ended],
    on_cancellation=[tell_how_it_ended],
)
def quarantine_retry() -> str:
    """Process the open records of the quarantine again, after a fix."""
    with run_page() as page:
        return with_night(
            run_retry,
            as_task,
            show=page.show,
            watcher=page.progress,
            flow=RETRY,
            flow_run=str(runtime.flow_run.id),
        )
