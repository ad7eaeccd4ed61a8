"""Past months of the live API, as a Prefect flow: the steps of a night on windows of the past."""

from __future__ import annotations

import schemas.settings  # noqa: F401  (first: switches telemetry off before Prefect is imported)

# isort: split
from prefect import flow

from flows.alerts import announced
from flows.deployed import Day, load_settings
from flows.nightly import as_task, show
from flows.steps import run_night, with_night
from schemas.errors import UsageError
from tasks.harvest import ApiIntake

LONGEST_BACKFILL_SECONDS = 7 * 24 * 3600


@flow(
    name="backfill",
    flow_run_name="backfill {first} to {last}",
    timeout_seconds=LONGEST_BACKFILL_SECONDS,
    persist_result=False,
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
    return with_night(announced(run_night), as_task, show=show, source=ApiIntake.source, backfill=(first, last))
