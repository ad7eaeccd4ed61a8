"""Past months of the live API, as a Prefect flow: the steps of a night on windows of the past."""

from __future__ import annotations

from datetime import date

import schemas.settings  # noqa: F401  (first: switches telemetry off before Prefect is imported)

# isort: split
from prefect import flow, runtime

from flows.artifacts import run_page, tell_how_it_ended
from flows.prefect_steps import as_task
from flows.steps import BACKFILL, run_night, with_night
from tasks.harvest import ApiIntake

LONGEST_BACKFILL_SECONDS = 7 * 24 * 3600


@flow(
    name="backfill",
    flow_run_name="backfill {first} to {last}",
    timeout_seconds=LONGEST_BACKFILL_SECONDS,
    persist_result=False,
    on_failure=[tell_how_it_ended],
    on_crashed=[tell_how_it_ended],
    on_cancellation=[tell_how_it_ended],
)
def backfill(first: date, last: date) -> str:
    """Fetch the months of a range that were never seen. Safe to run again at any time: it goes on where it was.

    Args:
        first: a day of the first month.
        last: a day of the last month.
    """
    with run_page() as page:
        return with_night(
            run_night,
            as_task,
            show=page.show,
            watcher=page.progress,
            source=ApiIntake.source,
            backfill=(first, last),
            flow=BACKFILL,
            flow_run=str(runtime.flow_run.id),
        )
