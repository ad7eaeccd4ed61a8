"""What is not kept any longer, as a Prefect flow: files and rows of ours, and what Prefect holds on our ended runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flows.orchestration.deployed import load_settings
from flows.orchestration.past_runs import forget_runs
from flows.orchestration.prefect_flow import collab_flow
from flows.orchestration.prefect_steps import as_task
from tasks.storage.warehouse import Warehouse
from tasks.upkeep.retention import prune


@collab_flow("retention")
def retention() -> str:
    """Remove what the limits in the settings (COLLAB_KEEP_...) do not keep; never what is needed to rebuild or undo."""
    settings = load_settings()
    with Warehouse.open(settings, create=False) as warehouse:
        pruned = as_task("prune", "", prune, warehouse, settings)
    before = datetime.now(UTC) - timedelta(days=settings.keep_prefect_days)
    forgotten = as_task("prune runs", f"before {before:%Y-%m-%d}", forget_runs, before)
    return f"{pruned.line()}; {forgotten.line()}"
