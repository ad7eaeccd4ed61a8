"""Past months of the live API, as a Prefect flow: the steps of a night on windows of the past."""

from __future__ import annotations

from flows.deployed import Day, load_settings
from flows.prefect_flow import WEEK_SECONDS, collab_flow, run_as_tasks
from flows.steps import BACKFILL, run_night
from tasks.harvest import ApiIntake
from tasks.sources.openalex_api import refuse_unless_past
from tasks.warehouse import utc_now


@collab_flow("backfill", run_name="backfill {first} to {last}", longest=WEEK_SECONDS)
def backfill(first: Day, last: Day) -> str:
    """Fetch the months of a range that were never seen. Safe to run again at any time: it goes on where it was.

    Args:
        first: a day of the first month.
        last: a day of the last month, not after today (UTC).
    """
    load_settings()
    refuse_unless_past(first, last, utc_now().date())
    return run_as_tasks(run_night, source=ApiIntake.source, backfill=(first, last), flow=BACKFILL)
