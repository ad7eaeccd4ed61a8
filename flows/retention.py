"""What is not kept any longer, as a Prefect flow: files and rows of ours, and what Prefect holds on our ended runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import schemas.settings  # noqa: F401  (first: switches telemetry off before Prefect is imported)

# isort: split
from prefect import flow

from flows.artifacts import tell_how_it_ended
from flows.deployed import LONGEST_RUN_SECONDS, load_settings, run_name
from flows.past_runs import forget_runs
from flows.prefect_steps import as_task
from tasks.retention import prune
from tasks.warehouse import Warehouse


@flow(
    name="retention",
    flow_run_name=run_name,
    timeout_seconds=LONGEST_RUN_SECONDS,
    persist_result=False,
    on_failure=[tell_how_it_ended],
    on_crashed=[tell_how_it_ended],
    on_cancellation=[tell_how_it_ended],
)
def retention() -> str:
    """Remove what the limits in the settings (COLLAB_KEEP_...) do not keep; never what is needed to rebuild or undo."""
    settings = load_settings()
    with Warehouse.open(settings, create=False) as warehouse:
        pruned = as_task("prune", "", prune, warehouse, settings)
    before = datetime.now(UTC) - timedelta(days=settings.keep_prefect_days)
    forgotten = as_task("prune runs", f"before {before:%Y-%m-%d}", forget_runs, before)
    return f"{pruned.line()}; {forgotten.line()}"
