"""One night, in order. This is what the schedule runs, and what `collab run` calls.

plan -> land -> parse and locate -> validate -> load (one transaction a batch) -> publish
"""

from __future__ import annotations

import logging

from flows.orchestration.deployed import Corpus, ListFile, MaybeDay, Root, Source, load_settings
from flows.orchestration.prefect_flow import collab_flow, run_as_tasks
from flows.steps import RETRY, RunRequest, run_night, run_retry

# Prefect passes on what reaches this logger, but leaves its level to us.
logging.getLogger("collab").setLevel(logging.INFO)


@collab_flow("nightly")
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
    asked = RunRequest(source=source, snapshot=snapshot, until=until, venue_list=venue_list, venue_corpus=venue_corpus)
    return run_as_tasks(run_night, asked)


@collab_flow("quarantine-retry")
def quarantine_retry() -> str:
    """Process the open records of the quarantine again, after a fix."""
    load_settings()
    return run_as_tasks(run_retry, RunRequest(RETRY))
