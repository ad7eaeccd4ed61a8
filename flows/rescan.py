"""The monthly look at everything that is stored, as a Prefect flow: the steps of a night on windows seen long ago."""

from __future__ import annotations

import schemas.settings  # noqa: F401  (first: switches telemetry off before Prefect is imported)

# isort: split
from prefect import flow, runtime

from flows.alerts import announced
from flows.artifacts import run_page, tell_how_it_ended
from flows.deployed import Days, Root, StoredSource, load_settings, run_name
from flows.prefect_steps import as_task
from flows.steps import RESCAN, run_night, with_night

LONGEST_RESCAN_SECONDS = 7 * 24 * 3600


@flow(
    name="rescan",
    flow_run_name=run_name,
    timeout_seconds=LONGEST_RESCAN_SECONDS,
    persist_result=False,
    on_failure=[tell_how_it_ended],
    on_crashed=[tell_how_it_ended],
    on_cancellation=[tell_how_it_ended],
)
def rescan(source: StoredSource = "openalex-snapshot", snapshot: Root = None, unseen_days: Days = 7) -> str:
    """Look at everything stored again. Safe to run at any time, and again until nothing is left.

    Args:
        source: where works come from. openalex-api: every stored month, within the credits of the day.
            openalex-snapshot: every part that the manifest describes otherwise than it was loaded, also those that
            nights leave alone because they did not grow.
        snapshot: root of the snapshot, a folder, s3://bucket or https:// address. Empty: COLLAB_SNAPSHOT.
        unseen_days: leave out months of the live API that were looked at in so many days, so that a rescan whose
            credits were used up goes on where it was.
    """
    load_settings(snapshot=snapshot)
    with run_page() as page:
        return with_night(
            announced(run_night),
            as_task,
            show=page.show,
            watcher=page.progress,
            source=source,
            snapshot=snapshot,
            rescan_days=unseen_days,
            flow=RESCAN,
            flow_run=str(runtime.flow_run.id),
        )
