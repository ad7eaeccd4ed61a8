"""What each run did, as the warehouse itself remembers it: `collab status` needs no Prefect to say what failed."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy import Connection

from schemas import tables as t
from schemas.errors import BudgetExhausted, CollabError, WarehouseError
from schemas.settings import Settings
from tasks.sources.venue_list import SOURCE as LISTS
from tasks.storage.warehouse import Warehouse, utc_now
from tasks.storage.workspace import Workspace, is_alive

COMPLETED, BUDGET, FAILED, INTERRUPTED, RUNNING, KILLED = (
    *("completed", "budget", "failed", "interrupted", "running", "killed"),
)
LONGEST_MESSAGE = 2_000
CLOCKS_DIFFER_BY = timedelta(minutes=10)  # those of machines that keep time
log = logging.getLogger("collab")


@dataclass(frozen=True)
class Begun:
    """How a run began: what it is, the command that starts the same again, and its id in Prefect."""

    flow: str
    source: str
    command: str
    flow_run: str | None = None


@dataclass
class Record:
    """What is known of a run while it goes on: its id, the step that failed, the batches it committed."""

    run_id: str
    step: str | None = None
    batches: int = 0


@contextmanager
def recorded(warehouse: Warehouse, begun: Begun, folder: Path) -> Iterator[Record]:
    """Note in ops.run that a run began and how it ended: well, or in which step and why not.

    Args:
        folder: of its workspace, whose lock says whether it lives.

    The note at the end must not hide why a run failed: if the warehouse cannot be written any more, the run is listed
    as one that was killed.
    """
    record = Record(uuid4().hex[:12])
    with warehouse.transaction() as conn:
        conn.execute(t.run.insert(), _first_row(record.run_id, begun, folder))
    try:
        yield record
    except BaseException as exc:
        try:
            _end(warehouse, record, exc)
        except WarehouseError as lost:
            log.warning("how this run ended could not be noted: %s", lost)
        raise
    _end(warehouse, record, None)


@contextmanager
def recorded_alone(warehouse: Warehouse, settings: Settings, begun: Begun) -> Iterator[Record]:
    """The same for a run that needs no workspace but to say that it lives."""
    with Workspace(settings.staging) as workspace, recorded(warehouse, begun, workspace.folder) as record:
        record.step = begun.flow
        yield record


def _first_row(run_id: str, begun: Begun, folder: Path) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "flow": begun.flow,
        "source": begun.source,
        "command": begun.command,
        "host": platform.node(),
        "folder": str(folder.absolute()),
        "flow_run": begun.flow_run,
        "started_at": utc_now(),
        "state": RUNNING,
        "batches": 0,
    }


def _end(warehouse: Warehouse, record: Record, failure: BaseException | None) -> None:
    ended: dict[str, Any] = {"ended_at": utc_now(), "state": _state_after(failure), "batches": record.batches}
    if failure is not None:
        text = str(failure) if isinstance(failure, CollabError) else f"{type(failure).__name__}: {failure}"
        ended |= {"step": record.step, "message": text[:LONGEST_MESSAGE]}
    with warehouse.transaction() as conn:
        conn.execute(sa.update(t.run).values(ended).where(t.run.c.run_id == record.run_id))


def _state_after(failure: BaseException | None) -> str:
    match failure:
        case None:
            return COMPLETED
        case BudgetExhausted():
            return BUDGET
        case KeyboardInterrupt() | SystemExit():
            return INTERRUPTED
        case _:
            return FAILED


@dataclass(frozen=True)
class Run:
    """The newest run of a flow on a source, as it is now."""

    flow: str
    source: str
    command: str
    host: str
    state: str
    started_at: datetime
    ended_at: datetime | None
    step: str | None
    message: str | None

    @property
    def is_wrong(self) -> bool:
        """Whether somebody has to look."""
        return self.state in (FAILED, INTERRUPTED, KILLED)


def last_runs(conn: Connection, settings: Settings, now: datetime) -> list[Run]:
    """The newest run of each flow and source, newest first. One of a clock that was ahead must not hide later ones."""
    of = t.run.c
    order = (of.started_at > now + CLOCKS_DIFFER_BY, of.started_at.desc())
    rank = sa.func.row_number().over(partition_by=(of.flow, of.source), order_by=order).label("rank")
    ranked = sa.select(t.run, rank).subquery()
    newest = conn.execute(sa.select(ranked).where(ranked.c.rank == 1).order_by(ranked.c.started_at.desc()))
    return [_read(row, settings) for row in newest]


def last_success(conn: Connection, flows: Iterable[str], now: datetime) -> datetime | None:
    """When one of some flows last came to its end; one whose source's budget was used up is as fresh as it can be, one
    of a clock that was ahead says nothing."""
    of = t.run.c
    is_past = of.ended_at <= now + CLOCKS_DIFFER_BY
    is_good = sa.and_(of.flow.in_(list(flows)), of.source != LISTS, of.state.in_([COMPLETED, BUDGET]), is_past)
    found: datetime | None = conn.scalar(sa.select(sa.func.max(of.ended_at)).where(is_good))
    return found


def _read(row: sa.Row[tuple[object, ...]], settings: Settings) -> Run:
    """A run that never ended is `killed` if its folder is free, or gone from the machine it ran on. It is looked for in
    this home first, which a container may have mounted elsewhere, then where the run had it."""
    state = row.state
    if state == RUNNING:
        folder = Path(row.folder)
        lives = is_alive(settings.staging / folder.name)
        lives = is_alive(folder) if lives is None else lives
        if lives is False or (lives is None and row.host == platform.node()):
            state = KILLED
    names = ("flow", "source", "command", "host", "started_at", "ended_at", "step", "message")
    return Run(state=state, **{name: getattr(row, name) for name in names})
