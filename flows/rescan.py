"""The monthly look at everything that is stored, as a Prefect flow: the steps of a night on windows seen long ago."""

from __future__ import annotations

from flows.orchestration.deployed import Days, Root, StoredSource, load_settings
from flows.orchestration.prefect_flow import WEEK_SECONDS, collab_flow, run_as_tasks
from flows.steps import RESCAN, RunRequest, run_night


@collab_flow("rescan", longest=WEEK_SECONDS)
def rescan(source: StoredSource = "openalex-snapshot", snapshot: Root = None, unseen_days: Days = 7) -> str:
    """Look at everything stored again. Safe to run at any time, and again until nothing is left.

    Args:
        source: where works come from. openalex-api: every stored month, within the credits of the day.
            openalex-snapshot: every part that the manifest describes otherwise than it was loaded, also those that
            nights leave alone because they did not grow. Of both, what was loaded before definitions changed is read
            whole.
        snapshot: root of the snapshot, a folder, s3://bucket or https:// address. Empty: COLLAB_SNAPSHOT.
        unseen_days: leave out months of the live API that were looked at in so many days, so that a rescan whose
            credits were used up goes on where it was.
    """
    load_settings(snapshot=snapshot)
    return run_as_tasks(run_night, RunRequest(RESCAN, source, snapshot, rescan_days=unseen_days))
