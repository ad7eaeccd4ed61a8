"""Internal batches: changes of stored works with no landing behind them: corrections, new definitions, undo."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection

from schemas.errors import GateStopped
from schemas.settings import Settings
from schemas.tables import COUNTS
from tasks.loading.ledger import note_internal_batch
from tasks.loading.load import Change
from tasks.validation.findings import store_results
from tasks.validation.gates import accounting_gates
from tasks.validation.validate import check_gates


class InternalBatch(NamedTuple):
    """Identity of an internal batch: columns of ops.batch; `cause` stands in the place of a window's name."""

    batch_id: str
    kind: str
    cause: str


def close_batch(
    conn: Connection, batch: InternalBatch, counts: dict[str, int], change: Change, settings: Settings
) -> None:
    """Check the gates of a loaded batch and note it. Those that watch sources are left out: somebody asked for it.

    Raises:
        GateStopped: a stop rule failed; the caller's transaction must not be committed.
    """
    counts = {**dict.fromkeys(COUNTS, 0), **counts}
    findings = check_gates(accounting_gates(conn, counts, change, settings))
    if findings.stopped_by:
        broken = "; ".join(f"{r.rule} is {r.observed}, limit {r.expected}" for r in findings.stopped_by)
        hint = "nothing of it was loaded; figures contradict each other, a defect: `collab verify`, and report it"
        raise GateStopped(f"batch {batch.batch_id} stopped: {broken}", hint, batch.batch_id, ())
    store_results(conn, batch.batch_id, findings.results)
    note_internal_batch(conn, batch.batch_id, batch.kind, batch.cause, counts)
