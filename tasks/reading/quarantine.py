"""Records that could not be loaded: kept whole with their reason, listed, shown, and given back to the way of a
record after a fix."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, FromClause, Select

from schemas import tables as t
from schemas.errors import UsageError
from tasks.reading.records import Line, Reader, unread_digest, unread_key

SOURCE = "quarantine"
KEYS_PER_STATEMENT = 5_000  # drivers take some 65,000 values in a statement


def hold(conn: Connection, records: Iterable[Mapping[str, Any]], batch_id: str, now: datetime) -> int:
    """List records that were refused; a record that is listed already (same key and content) is not listed twice.

    Call `close_overtaken` after it: on a refused version that is older than one already seen, nothing depends any more.

    Args:
        records: mappings with the columns of ops.quarantine from `source_key` to `landed_at`.

    Returns:
        Number of records given, listed before or not.
    """
    given = list(records)
    known = _listed(conn, sorted({record["source_key"] for record in given}))
    rows = {}
    for record in given:
        key = record["source_key"], record["version"]
        if key not in known:
            rows[key] = {**record, "batch_id": batch_id, "quarantined_at": now, "resolved_at": None, "resolution": None}
    if rows:
        conn.execute(t.quarantine.insert(), list(rows.values()))
    return len(given)


def _listed(conn: Connection, keys: Sequence[str]) -> set[tuple[str, int]]:
    """Keys and versions of the records with some keys that are listed, open or not."""
    held = t.quarantine.c
    found: set[tuple[str, int]] = set()
    for some in _portions(keys):
        found |= set(conn.execute(sa.select(held.source_key, held.version).where(held.source_key.in_(some))).tuples())
    return found


def _portions(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(keys), KEYS_PER_STATEMENT):
        yield keys[first : first + KEYS_PER_STATEMENT]


def _is_overtaken(seen: FromClause) -> sa.ColumnElement[bool]:
    """Whether a record has a version of its work that is as new, or newer, beside it in `seen`."""
    held = t.quarantine
    same_date = sa.and_(held.c.source_updated_at == seen.c.source_updated_at, held.c.version <= seen.c.tie_hash)
    is_older = sa.or_(held.c.source_updated_at < seen.c.source_updated_at, same_date)
    return sa.and_(held.c.work_id == seen.c.work_id, is_older)


def reopen(conn: Connection, works: Select[Any], seen: FromClause) -> None:
    """Open the records of some works again that nothing overtakes any more, because what did was undone.

    Args:
        seen: what is seen of these works now, in a temporary table.
    """
    held = t.quarantine
    is_overtaken = sa.exists(sa.select(1).select_from(seen).where(_is_overtaken(seen)).correlate(held))
    conn.execute(
        sa.update(held)
        .values(resolved_at=None, resolution=None)
        .where(held.c.work_id.in_(works), held.c.resolved_at.is_not(None), ~is_overtaken)
    )


def close_overtaken(conn: Connection, now: datetime) -> None:
    """Resolve every open record that a newer valid version or a deletion has overtaken."""
    held, seen = t.quarantine, t.seen
    overtaken = sa.select(
        held.c.source_key, held.c.version, held.c.batch_id, seen.c.state, seen.c.source_updated_at, seen.c.tie_hash
    ).join_from(held, seen, _is_overtaken(seen))
    for row in conn.execute(overtaken.where(held.c.resolved_at.is_(None))).all():
        resolution = "deleted" if row.state == "deleted" else "retried" if row.version == row.tie_hash else "superseded"
        conn.execute(
            sa.update(held)
            .values(resolved_at=now, resolution=resolution)
            .where(held.c.source_key == row.source_key, held.c.version == row.version)
        )


def close_read(
    conn: Connection, lines: Iterable[Line], reader: Reader, refused: Collection[str], now: datetime
) -> None:
    """Resolve open records that did not say which work they are, and do now: nothing can overtake them.

    Args:
        lines: what was kept of the records, given to the way of a record again.
        refused: keys of those that were refused again.
    """
    held = t.quarantine.c
    unnamed = sa.and_(held.work_id.is_(None), held.resolved_at.is_(None))
    listed = set(conn.scalars(sa.select(held.source_key).where(unnamed)))
    read = sorted(listed & {unread_key(unread_digest(line, reader)) for line in lines} - set(refused))
    for some in _portions(read):
        is_read = sa.and_(held.source_key.in_(some), unnamed)
        conn.execute(sa.update(t.quarantine).where(is_read).values(resolved_at=now, resolution="retried"))


def count_open(conn: Connection) -> int:
    """Number of open records."""
    held = t.quarantine.c
    return conn.scalar(sa.select(sa.func.count()).select_from(t.quarantine).where(held.resolved_at.is_(None))) or 0


def open_records(conn: Connection) -> list[sa.Row[Any]]:
    """Open records, newest first, without their raw bytes."""
    columns = [c for c in t.quarantine.columns if c.name != "raw"]
    return list(
        conn.execute(
            sa.select(*columns)
            .where(t.quarantine.c.resolved_at.is_(None))
            .order_by(t.quarantine.c.quarantined_at.desc())
        )
    )


def find_record(conn: Connection, key: str) -> sa.Row[Any]:
    """The newest record with a key such as W2741809807, open or not.

    Raises:
        UsageError: there is none.
    """
    row = conn.execute(
        sa.select(t.quarantine)
        .where(t.quarantine.c.source_key == key)
        .order_by(t.quarantine.c.quarantined_at.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        raise UsageError(f"no record {key} in quarantine", "`collab quarantine list` shows the keys")
    return row


def raw_of_open_records(conn: Connection) -> list[tuple[str | None, bytes]]:
    """Raw bytes of the open records that were kept, in order of their keys, each with the kind of the batch that it
    came in: a line of a list of deletions says nothing when read as a work."""
    held = t.quarantine.c
    found = conn.execute(
        sa.select(t.batch.c.kind, held.raw)
        .outerjoin_from(t.quarantine, t.batch, t.batch.c.batch_id == held.batch_id)
        .where(held.resolved_at.is_(None), held.raw.is_not(None))
        .order_by(held.source_key, held.version)
    )
    return [(kind, bytes(raw)) for kind, raw in found if raw is not None]
