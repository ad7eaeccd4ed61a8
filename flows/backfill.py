"""Past months of the live API, as a Prefect flow: the steps of a night on windows of the past."""

from __future__ import annotations

import schemas.settings  # noqa: F401  (first: switches telemetry off before Prefect is imported)

# isort: split
from prefect import runtime

from flows.orchestration.deployed import Day, MaybeDay, load_settings
from flows.orchestration.prefect_flow import WEEK_SECONDS, collab_flow, run_as_tasks
from flows.steps import BACKFILL, RunRequest, run_night
from tasks.landing.harvest import ApiIntake
from tasks.sources.openalex_api import refuse_unless_past
from tasks.storage.warehouse import utc_now


def span() -> str:
    """Name of the current run: the dates that were asked for."""
    asked = runtime.flow_run.parameters
    return f"backfill {asked['first']} to {asked.get('last') or 'today'}"


@collab_flow("backfill", run_name=span, longest=WEEK_SECONDS)
def backfill(first: Day, last: MaybeDay = None) -> str:
    """Fetch the months of a range that were never seen. Safe to run again at any time: it goes on where it was.

    Args:
        first: a day of the first month.
        last: a day of the last month, not after today (UTC); today if none is given.
    """
    load_settings()
    today = utc_now().date()
    days = first, last or today
    refuse_unless_past(*days, today)
    return run_as_tasks(run_night, RunRequest(BACKFILL, ApiIntake.source, backfill=days))
