"""Proves that the warehouse is what it says: mart = rebuild = sum of the ledger, keys unique, shares exact, no orphans.

`rebuild` puts the mart back to what the stored works say and books the difference in the ledger with reason
`definition`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, FromClause, Select, Table

from schemas import tables as t
from schemas.reviewed import definitions_digest
from tasks.aggregate import rebuilt
from tasks.warehouse import clear_scratch, code_version, scratch, utc_now


class Finding(NamedTuple):
    """One comparison: `rows` looked at, `differences` found, the first of them as a sample."""

    check: str
    rows: int
    differences: int
    sample: str


def verify(conn: Connection) -> list[Finding]:
    """Run every comparison; the warehouse is right if no finding has differences."""
    found = []
    for mart in t.MART:
        fresh = scratch(conn, f"fresh_{mart.name}", rebuilt(mart))
        found.append(_compare(conn, f"{mart.name} = rebuild", mart, fresh))
        found.append(
            _compare(
                conn, f"{mart.name} = sum of the ledger", mart, scratch(conn, f"booked_{mart.name}", _booked(mart))
            )
        )
        clear_scratch(conn, f"fresh_{mart.name}", f"booked_{mart.name}")
    found += [_unique(conn, table) for table in (*t.CORE, t.seen, t.institution, *t.MART)]
    found.append(_shares(conn))
    found += [
        _orphans(conn, child, owner)
        for child, owner in ((c, "citing_work_id" if c is t.reference else "work_id") for c in t.CORE[1:])
    ]
    found.append(_conservation(conn))
    return found


def rebuild(conn: Connection) -> dict[str, int]:
    """Replace the mart by its rebuild; returns how many cells differed per table.

    It is a batch of its own without records, so that the ledger (reason `definition`) and the next release know it.
    """
    changed = {}
    now = utc_now()
    batch_id = f"rebuild/{now:%Y-%m-%dT%H:%M:%S.%f}"
    for mart in t.MART:
        key, sums = t.key_columns(mart), t.measures(mart)
        fresh = scratch(conn, f"fresh_{mart.name}", rebuilt(mart))
        same = sa.and_(*(mart.c[n] == fresh.c[n] for n in key))
        deltas = [(sa.func.coalesce(fresh.c[n], 0) - sa.func.coalesce(mart.c[n], 0)).label(n) for n in sums]
        both = (
            sa.select(*(sa.func.coalesce(fresh.c[n], mart.c[n]).label(n) for n in key), *deltas)
            .outerjoin_from(mart, fresh, same, full=True)
            .subquery()
        )
        rows = scratch(conn, f"moved_{mart.name}", sa.select(both).where(sa.or_(*(both.c[n] != 0 for n in sums))))
        changed[mart.name] = conn.scalar(sa.select(sa.func.count()).select_from(rows)) or 0
        values = [sa.literal(batch_id), sa.literal("definition"), *(rows.c[n] for n in (*key, *sums))]
        conn.execute(sa.insert(t.ledger_of(mart)).from_select(["batch_id", "reason", *key, *sums], sa.select(*values)))
        conn.execute(sa.delete(mart))
        conn.execute(
            sa.insert(mart).from_select(
                [*key, *sums], sa.select(*(fresh.c[n] for n in (*key, *sums))).order_by(*(fresh.c[n] for n in key))
            )
        )
    clear_scratch(conn)
    texts = {
        "batch_id": batch_id,
        "landing_id": batch_id,
        "source": "warehouse",
        "window_name": "all",
        "kind": "rebuild",
        "landing_uri": "",
        "sha256": "",
    }
    texts |= {"code_version": code_version(), "definitions": definitions_digest()}
    zeros = {c.name: 0 for c in t.batch.columns if isinstance(c.type, sa.BigInteger)}
    conn.execute(t.batch.insert(), {**zeros, **texts, "started_at": now, "finished_at": utc_now()})
    return changed


def _booked(mart: Table) -> Select[Any]:
    ledger, key = t.ledger_of(mart), t.key_columns(mart)
    sums = [sa.cast(sa.func.sum(ledger.c[n]), mart.c[n].type).label(n) for n in t.measures(mart)]
    total = sa.select(*(ledger.c[n] for n in key), *sums).group_by(*(ledger.c[n] for n in key)).subquery()
    return sa.select(*total.c).where(sa.or_(*(total.c[n] != 0 for n in t.measures(mart))))


def _compare(conn: Connection, check: str, mart: Table, other: FromClause) -> Finding:
    """Cells that are in one table only, or differ in any measure."""
    columns = [c.name for c in mart.columns]
    left, right = sa.select(*(mart.c[n] for n in columns)), sa.select(*(other.c[n] for n in columns))
    extra = sa.union_all(
        sa.select(sa.literal("live only").label("side"), *sa.except_(left, right).subquery().c),
        sa.select(sa.literal("other only").label("side"), *sa.except_(right, left).subquery().c),
    ).subquery()
    return _finding(conn, check, mart, sa.select(extra))


def _unique(conn: Connection, table: Table) -> Finding:
    key = [table.c[n] for n in t.key_columns(table)]
    return _finding(
        conn, f"{table.name}: key is unique", table, sa.select(*key).group_by(*key).having(sa.func.count() > 1)
    )


def _shares(conn: Connection) -> Finding:
    of = t.work_territory.c
    unequal = (
        sa.select(of.work_id, of.policy, sa.func.sum(of.share).label("total"))
        .group_by(of.work_id, of.policy)
        .having(sa.func.sum(of.share) != 1)
    )
    return _finding(conn, "shares of a work sum to 1", t.work_territory, unequal)


def _orphans(conn: Connection, child: Table, owner: str) -> Finding:
    lost = sa.select(child.c[owner]).where(~sa.exists(sa.select(1).where(t.work.c.work_id == child.c[owner])))
    return _finding(conn, f"{child.name}: every row has its work", child, lost)


def _conservation(conn: Connection) -> Finding:
    of = t.batch.c
    parts = of.new + of.updated + of.unchanged + of.superseded + of.out_of_scope + of.quarantined
    return _finding(
        conn,
        "batches conserve records",
        t.batch,
        sa.select(of.batch_id).where(sa.or_(of.fetched != parts, of.listed != of.applied + of.absent)),
    )


def _finding(conn: Connection, check: str, looked_at: Table, differing: Select[Any]) -> Finding:
    rows = conn.scalar(sa.select(sa.func.count()).select_from(looked_at)) or 0
    count = conn.scalar(sa.select(sa.func.count()).select_from(differing.subquery())) or 0
    sample = conn.execute(differing.limit(1)).one_or_none() if count else None
    return Finding(
        check, rows, count, "" if sample is None else ", ".join(f"{k}={v}" for k, v in sample._mapping.items())
    )
