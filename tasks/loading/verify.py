"""Proves that the warehouse is what it says: mart = rebuild = sum of the ledger, keys unique, shares exact, no orphans.

`rebuild` puts the mart back to what the stored works say and books the difference in the ledger with reason
`definition`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, Select, Table

from schemas import tables as t
from schemas.errors import VerifyFailed
from tasks.loading.aggregate import Years, rebuilt, year_slices
from tasks.loading.ledger import REBUILD, note_internal_batch
from tasks.storage.engines import backend_of
from tasks.storage.warehouse import clear_scratch, scratch, utc_now


class Finding(NamedTuple):
    """One comparison: `rows` looked at, `differences` found, the first of them as a sample."""

    check: str
    rows: int
    differences: int
    sample: str


def verify(conn: Connection) -> list[Finding]:
    """Run every comparison; the warehouse is right if no finding has differences."""
    slices = year_slices(conn)
    found = []
    with backend_of(conn).joining_whole(conn):
        for mart in t.MART:
            found.append(_compare(conn, f"{mart.name} = rebuild", mart, rebuilt, slices))
            found.append(_compare(conn, f"{mart.name} = sum of the ledger", mart, _booked, slices))
    found += [_unique(conn, table) for table in (*t.CORE, t.seen, t.institution, *t.MART)]
    found.append(_shares(conn))
    found += [
        _orphans(conn, child, owner)
        for child, owner in ((c, "citing_work_id" if c is t.reference else "work_id") for c in t.CORE[1:])
    ]
    found.append(_remembered(conn))
    found.append(_conservation(conn))
    return found


def refuse_differences(findings: Sequence[Finding]) -> None:
    """Raise VerifyFailed if any finding has differences, naming those that have."""
    wrong = [finding.check for finding in findings if finding.differences]
    if wrong:
        raise VerifyFailed(
            f"{len(wrong)} of {len(findings)} checks found differences: {', '.join(wrong)}",
            "keep a copy of the warehouse, then `collab rebuild`",
        )


def rebuild(conn: Connection, marts: Sequence[Table] = t.MART) -> dict[str, int]:
    """Replace the mart by its rebuild; returns how many cells differed per table.

    It is a batch of its own without records, so that the ledger (reason `definition`) and the next release know it.
    """
    started_at = utc_now()
    batch_id = f"{REBUILD}/{started_at:%Y-%m-%dT%H:%M:%S.%f}"
    slices = year_slices(conn)
    with backend_of(conn).joining_whole(conn):
        changed = {mart.name: sum(_rebuild(conn, mart, years, batch_id) for years in slices) for mart in marts}
    note_internal_batch(conn, batch_id, REBUILD, "all", started_at=started_at)
    return changed


def _rebuild(conn: Connection, mart: Table, years: Years, batch_id: str) -> int:
    """Replace some years of a mart table and book the difference; returns how many cells differed."""
    key, sums = t.key_columns(mart), t.measures(mart)
    fresh = scratch(conn, f"fresh_{mart.name}", rebuilt(conn, mart, years))
    live = sa.select(mart).where(years.hold(mart.c.year)).subquery()
    same = sa.and_(*(live.c[n] == fresh.c[n] for n in key))
    deltas = [(sa.func.coalesce(fresh.c[n], 0) - sa.func.coalesce(live.c[n], 0)).label(n) for n in sums]
    both = (
        sa.select(*(sa.func.coalesce(fresh.c[n], live.c[n]).label(n) for n in key), *deltas)
        .outerjoin_from(live, fresh, same, full=True)
        .subquery()
    )
    rows = scratch(conn, f"moved_{mart.name}", sa.select(both).where(sa.or_(*(both.c[n] != 0 for n in sums))))
    values = [sa.literal(batch_id), sa.literal("definition"), *(rows.c[n] for n in (*key, *sums))]
    conn.execute(sa.insert(t.ledger_of(mart)).from_select(["batch_id", "reason", *key, *sums], sa.select(*values)))
    conn.execute(sa.delete(mart).where(years.hold(mart.c.year)))
    anew = sa.select(*(fresh.c[n] for n in (*key, *sums))).order_by(*(fresh.c[n] for n in key))
    conn.execute(sa.insert(mart).from_select([*key, *sums], anew))
    differed = conn.scalar(sa.select(sa.func.count()).select_from(rows)) or 0
    clear_scratch(conn)
    return int(differed)


def _booked(conn: Connection, mart: Table, years: Years) -> Select[Any]:
    del conn
    ledger, key = t.ledger_of(mart), t.key_columns(mart)
    sums = [sa.cast(sa.func.sum(ledger.c[n]), mart.c[n].type).label(n) for n in t.measures(mart)]
    total = (
        sa.select(*(ledger.c[n] for n in key), *sums)
        .where(years.hold(ledger.c.year))
        .group_by(*(ledger.c[n] for n in key))
        .subquery()
    )
    return sa.select(*total.c).where(sa.or_(*(total.c[n] != 0 for n in t.measures(mart))))


def _compare(
    conn: Connection,
    check: str,
    mart: Table,
    count: Callable[[Connection, Table, Years], Select[Any]],
    slices: Sequence[Years],
) -> Finding:
    """Cells that are in one table only, or differ in any measure, counted live and in another way."""
    found = []
    for years in slices:
        other = scratch(conn, f"other_{mart.name}", count(conn, mart, years))
        live = sa.select(mart).where(years.hold(mart.c.year))
        counted = sa.select(*(other.c[column.name] for column in mart.columns))
        extra = sa.union_all(
            sa.select(sa.literal("live only").label("side"), *sa.except_(live, counted).subquery().c),
            sa.select(sa.literal("other only").label("side"), *sa.except_(counted, live).subquery().c),
        ).subquery()
        found.append(_finding(conn, check, sa.select(sa.func.count()).select_from(live.subquery()), sa.select(extra)))
        clear_scratch(conn)
    samples = [finding.sample for finding in found if finding.sample]
    rows, differences = sum(finding.rows for finding in found), sum(finding.differences for finding in found)
    return Finding(check, rows, differences, samples[0] if samples else "")


def _unique(conn: Connection, table: Table) -> Finding:
    key = [table.c[n] for n in t.key_columns(table)]
    return _finding(
        conn, f"{table.name}: key is unique", _rows(table), sa.select(*key).group_by(*key).having(sa.func.count() > 1)
    )


def _shares(conn: Connection) -> Finding:
    of = t.work_territory.c
    unequal = (
        sa.select(of.work_id, of.policy, sa.func.sum(of.share).label("total"))
        .group_by(of.work_id, of.policy)
        .having(sa.func.sum(of.share) != 1)
    )
    return _finding(conn, "shares of a work sum to 1", _rows(t.work_territory), unequal)


def _orphans(conn: Connection, child: Table, owner: str) -> Finding:
    lost = sa.select(child.c[owner]).where(~sa.exists(sa.select(1).where(t.work.c.work_id == child.c[owner])))
    return _finding(conn, f"{child.name}: every row has its work", _rows(child), lost)


def _remembered(conn: Connection) -> Finding:
    """Versions are ordered by `seen`: what it says is stored must be, and the other way round."""
    is_stored = sa.exists(sa.select(1).where(t.work.c.work_id == t.seen.c.work_id))
    is_seen = sa.exists(sa.select(1).where(t.seen.c.work_id == t.work.c.work_id, t.seen.c.state == "stored"))
    lost = sa.union_all(
        sa.select(t.seen.c.work_id).where(t.seen.c.state == "stored", ~is_stored),
        sa.select(t.work.c.work_id).where(~is_seen),
    ).subquery()
    return _finding(conn, "seen: what is stored is said to be", _rows(t.seen), sa.select(lost.c.work_id))


def _conservation(conn: Connection) -> Finding:
    of = t.batch.c
    whole = {of.fetched: t.RECORD_COUNTS, of.listed: t.DELETION_COUNTS}
    loses = (total != reduce(add, (of[name] for name in parts)) for total, parts in whole.items())
    return _finding(
        conn,
        "batches conserve records",
        _rows(t.batch),
        sa.select(of.batch_id).where(sa.or_(*loses)),
    )


def _rows(table: Table) -> Select[Any]:
    return sa.select(sa.func.count()).select_from(table)


def _finding(conn: Connection, check: str, looked_at: Select[Any], differing: Select[Any]) -> Finding:
    rows = conn.scalar(looked_at) or 0
    count = conn.scalar(sa.select(sa.func.count()).select_from(differing.subquery())) or 0
    sample = conn.execute(differing.limit(1)).one_or_none() if count else None
    return Finding(
        check, rows, count, "" if sample is None else ", ".join(f"{k}={v}" for k, v in sample._mapping.items())
    )
