"""One night, in order. This is what the schedule runs, and what `collab run` calls.

plan -> land -> parse and locate -> validate -> load (one transaction a batch) -> publish
"""

from __future__ import annotations

import logging

import schemas.settings  # noqa: F401  (first: switches telemetry off before Prefect is imported)

# isort: split
from prefect import flow, runtime

from flows.alerts import announced
from flows.artifacts import run_page, tell_how_it_ended
from flows.deployed import LONGEST_RUN_SECONDS, Corpus, ListFile, MaybeDay, Root, Source, load_settings, run_name
from flows.prefect_steps import as_task
from flows.steps import RETRY, run_night, run_retry, with_night

# Prefect passes on what reaches this logger, but leaves its level to us.
logging.getLogger("collab").setLevel(logging.INFO)


@flow(
    name="nightly",
    flow_run_name=run_name,
    timeout_seconds=LONGEST_RUN_SECONDS,
    persist_result=False,
    on_failure=[tell_how_it_ended],
    on_crashed=[tell_how_it_ended],
    on_cancellation=[tell_how_it_ended],
)
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
    with run_page() as page:
        return with_night(
            announced(run_night),
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
    timeout_seconds=LONGEST_RUN_SECONDS,
    persist_result=False,
    on_failure=[tell_how_it_ended],
    on_crashed=[tell_how_it_ended],
    on_cancellation=[tell_how_it_ended],
)
def quarantine_retry() -> str:
    """Process the open records of the quarantine again, after a fix."""
    load_settings()
    with run_page() as page:
        return with_night(
            announced(run_retry),
            as_task,
            show=page.show,
            watcher=page.progress,
            flow=RETRY,
            flow_run=str(runtime.flow_run.id),
        )
