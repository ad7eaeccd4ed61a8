"""Batches of stored works that are decided again: they come from the warehouse itself, not from a source."""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from schemas import tables as t
from schemas.errors import GateStopped
from schemas.reviewed import code_version, definitions_digest
from schemas.settings import Settings
from tasks.batch import store_results
from tasks.gates import measure_gates
from tasks.ledger import next_moment
from tasks.load import Change
from tasks.validate import check_gates

SOURCE = "warehouse"
# They watch sources; this is what somebody asked for.
_OF_SOURCES = frozenset({"rewritten_share", "year_change", "publisher_unlocated"})


class Again(NamedTuple):
    """Identity of such a batch."""

    batch_id: str
    kind: str
    cause: str


def close_batch(conn: Connection, again: Again, counts: dict[str, int], change: Change, settings: Settings) -> None:
    """Check the gates of a loaded batch and note it.

    Raises:
        GateStopped: a stop rule failed; the caller's transaction must not be committed.
    """
    counts = {**dict.fromkeys(("quarantined", "listed", "applied", "absent"), 0), **counts}
    gates = [gate for gate in measure_gates(conn, counts, change, {}, SOURCE, settings) if gate.name not in _OF_SOURCES]
    findings = check_gates(gates)
    if findings.stopped_by:
        broken = "; ".join(f"{r.rule} is {r.observed}, limit {r.expected}" for r in findings.stopped_by)
        hint = "nothing of it was loaded; figures contradict each other, a defect: `collab verify`, and report it"
        raise GateStopped(f"batch {again.batch_id} stopped: {broken}", hint, again.batch_id, ())
    store_results(conn, again.batch_id, findings.results)
    conn.execute(t.batch.insert(), _row(conn, again, counts))


def _row(conn: Connection, again: Again, counts: dict[str, int]) -> dict[str, Any]:
    zeros = {c.name: 0 for c in t.batch.columns if isinstance(c.type, sa.BigInteger) and not c.nullable}
    texts = {
        "batch_id": again.batch_id,
        "landing_id": again.batch_id,
        "source": SOURCE,
        "window_name": again.cause,
        "kind": again.kind,
    }
    made_by = {"code_version": code_version(), "definitions": definitions_digest(), "landing_uri": "", "sha256": ""}
    whole = {"end_record": counts["fetched"], "window_records": counts["fetched"]}
    now = next_moment(conn)
    return {**zeros, **texts, **made_by, **whole, **counts, "started_at": now, "finished_at": now}
