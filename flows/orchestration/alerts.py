"""What a run ran into, said as events of Prefect: a gate that stopped it, a budget used up, a quarantine that grows.

`flows/orchestration/automations.py` makes alerts of them. Runs without Prefect say none: their exit code is the alert.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

from prefect import runtime
from prefect.events import emit_event

from flows.progress import Progress
from flows.steps import Step, Steps, Summary
from schemas.errors import BudgetExhausted, CollabError, GateStopped, WarehouseError
from schemas.words import counted
from tasks.night import Night
from tasks.storage.warehouse import utc_now
from tasks.upkeep.alerts import quarantine_growth

GATE_STOPPED = "collab.gate.stopped"
BUDGET_USED_UP = "collab.budget.used-up"
QUARANTINE_GROWS = "collab.quarantine.grows"
log = logging.getLogger("collab")


def announced(steps: Steps) -> Steps:
    """The same steps, which say at their end what a maintainer should know."""

    @functools.wraps(steps)
    def run(night: Night, step: Step, progress: Progress, summary: Summary) -> None:
        began = utc_now()
        try:
            steps(night, step, progress, summary)
        except WarehouseError:
            raise  # nothing can be asked of it
        except CollabError as exc:
            _announce_failure(exc, summary)
            _announce_growth(night, began)
            raise
        _announce_growth(night, began)

    return run


def _announce_failure(exc: CollabError, summary: Summary) -> None:
    stopped = summary.stopped or ([exc] if isinstance(exc, GateStopped) else [])
    for stop in stopped:
        _emit(GATE_STOPPED, str(stop), batch=stop.batch_id)
    used_up = summary.budget or (exc if isinstance(exc, BudgetExhausted) else None)
    if used_up:
        _emit(BUDGET_USED_UP, str(used_up))


def _announce_growth(night: Night, began: Any) -> None:
    try:
        with night.warehouse.reading() as conn:
            found = quarantine_growth(conn, began)
    except WarehouseError as exc:  # how the run ended stands
        log.warning("the quarantine could not be looked at: %s", exc)
        return
    if found.after > max(found.before, night.settings.alert_quarantine):
        records = counted(found.after, "open record")
        message = f"{records} in quarantine, {found.after - found.before:,} more than before"
        _emit(QUARANTINE_GROWS, f"{message} -> `collab quarantine list`", before=found.before, after=found.after)


def _emit(event: str, message: str, **payload: object) -> None:
    """The run, its deployment and tags are added by Prefect."""
    log.warning("%s: %s", event, message)
    emit_event(
        event=event,
        resource={"prefect.resource.id": f"collab.run.{runtime.flow_run.id}", "prefect.resource.name": event},
        payload={"message": message, **payload},
    )
