"""Past months of the live API, as a Prefect flow: the steps of a night on windows of the past."""

from __future__ import annotations

import schemas.settings  # noqa: F401  (first: switches telemetry off before Prefect is imported)

# isort: split
from prefect import flow, runtime

from flows.alerts import announced
from flows.artifacts import run_page, tell_how_it_ended
from flows.deployed import Day, load_settings
from flows.prefect_steps import as_task
from flows.steps import BACKFILL, run_night, with_night
from schemas.errors import UsageError
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
def backfill(first: Day, last: Day) -> str:
    """Fetch the months of a range that were never seen. Safe to run again at any time: it goes on where it was.

    Args:
        first: a day of the first month.
        last: a day of the last month.
    """
    load_settings()
    if first > last:
        raise UsageError(f"{first} to {last} is no range of dates", "the first day comes first")
    with run_page() as page:
        return with_night(
            announced(run_night),
            as_task,
            show=page.show,
            watcher=page.progress,
            source=ApiIntake.source,
            backfill=(first, last),
            flow=BACKFILL,
            flow_run=str(runtime.flow_run.id),
        )
