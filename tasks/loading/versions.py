"""Which version of a work is stored: the newest valid one by (updated_date, tie_hash), in whatever order versions
arrive; versions that came with a batch that was undone are left out.

`ops.seen` holds the newest version of every work that is or was stored; `ops.blocked` those that may not come back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, FromClause, Select, Table

from schemas import tables as t
from schemas.work_ids import FIRST_OF_LISTS
from tasks.loading.eligibility import noted_exclusion, own_exclusion
from tasks.storage.warehouse import scratch

LAST_TIE = 2**63 - 1  # a deletion ends its day: it comes after every version of that day
VERSION = ("work_id", "source_updated_at", "tie_hash")
Keep = Callable[[str, Select[Any]], None]  # told what a batch is about to replace, as named queries


def keep_nothing(name: str, query: Select[Any]) -> None:
    """A batch that cannot be undone."""


def is_older(left: Any, right: Any) -> sa.ColumnElement[bool]:
    """Left < right in the order of versions: (source_updated_at, tie_hash)."""
    same_date = sa.and_(left.source_updated_at == right.source_updated_at, left.tie_hash < right.tie_hash)
    return sa.or_(left.source_updated_at < right.source_updated_at, same_date)


def is_blocked(version: FromClause) -> sa.ColumnElement[bool]:
    """Whether a version came with a batch that was undone, and was not released since."""
    same = [t.blocked.c[name] == version.c[name] for name in VERSION]
    return sa.exists(sa.select(1).select_from(t.blocked).where(*same))


def overtaken_blocks(conn: Connection) -> sa.ColumnElement[bool]:
    """Which rows of ops.blocked keep nothing out any more: a newer version has come since. What was seen of their works
    is collected first, because it may lie on other machines."""
    blocked = t.blocked
    newest = scratch(
        conn, "seen_of_blocked", sa.select(t.seen).where(t.seen.c.work_id.in_(sa.select(blocked.c.work_id)))
    )
    is_newer = is_older(blocked.c, newest.c)
    return sa.exists(sa.select(1).select_from(newest).where(newest.c.work_id == blocked.c.work_id, is_newer))


def count_blocked(conn: Connection, stage: Mapping[str, FromClause]) -> int:
    """Valid versions of a batch that may not come back; they count as superseded."""
    version, rejected = stage["version"], sa.select(stage["rejected"].c.stage_id)
    blocked = sa.select(sa.func.count()).where(is_blocked(version), version.c.stage_id.not_in(rejected))
    return conn.scalar(blocked.select_from(version)) or 0


def keep_seen(keep: Keep, known: Table, versions: Select[Any]) -> None:
    """Keep which versions a batch brings that were not seen, what was seen of their works, and what was blocked."""
    named = versions.subquery()
    keep("version", versions.distinct())
    keep("blocked", sa.select(t.blocked).where(t.blocked.c.work_id.in_(sa.select(named.c.work_id))))
    keep("seen", sa.select(known).where(known.c.work_id.in_(sa.select(named.c.work_id))))


def pick(stage: Mapping[str, FromClause], known: Table, stored: Table) -> Select[Any]:
    """One row per valid version with the action it calls for; `is_last` marks the newest version of its work in
    this batch."""
    version = stage["version"]
    order = (version.c.source_updated_at.desc(), version.c.tie_hash.desc(), version.c.stage_id.desc())
    ranked = (
        sa.select(
            version,
            (sa.func.row_number().over(partition_by=version.c.work_id, order_by=order) == 1).label("is_last"),
            sa.func.max(sa.cast(version.c.in_scope, sa.Integer))
            .over(partition_by=version.c.work_id)
            .label("was_in_scope"),
        )
        .where(version.c.stage_id.not_in(sa.select(stage["rejected"].c.stage_id)), ~is_blocked(version))
        .subquery("ranked")
    )
    seen, staged = known.c, stage["work"].c
    action = sa.case(
        (~ranked.c.is_last, "superseded"),
        (sa.and_(seen.work_id.is_not(None), is_older(ranked.c, seen)), "superseded"),
        (sa.and_(~ranked.c.in_scope, seen.state == "stored"), "removed"),
        (~ranked.c.in_scope, "out_of_scope"),
        (
            sa.and_(
                seen.state == "stored",
                stored.c.content_hash == staged.content_hash,
                own_exclusion(staged).is_not_distinct_from(noted_exclusion(stored.c)),
            ),
            "unchanged",
        ),
        (seen.state == "stored", "updated"),
        else_="new",
    )
    # The version that is seen already can have another state: by other definitions it is in scope, or is not any more.
    is_other_state = sa.and_(~is_older(ranked.c, seen), seen.state != _state_of(ranked.c))
    is_later = sa.or_(seen.work_id.is_(None), is_older(seen, ranked.c))
    return (
        sa.select(
            ranked,
            action.label("action"),
            is_later.label("is_later"),
            sa.or_(is_later, is_other_state).label("is_newer"),
            seen.work_id.is_not(None).label("is_known"),
        )
        .outerjoin_from(ranked, known, seen.work_id == ranked.c.work_id)
        .outerjoin(stored, stored.c.work_id == ranked.c.work_id)
        .outerjoin(stage["work"], staged.stage_id == ranked.c.stage_id)
    )


def _state_of(version: Any) -> sa.ColumnElement[str]:
    return sa.case((version.in_scope, "stored"), else_="out_of_scope")


def is_ours(picked: Table) -> sa.ColumnElement[bool]:
    """Whether a work is remembered. One of OpenAlex that never was in scope is not; a paper of a list is, because an
    older list that accepts it may be loaded after the one that withdraws it."""
    p = picked.c
    return sa.or_(p.is_known, p.was_in_scope == 1, p.work_id >= FIRST_OF_LISTS)


def remember(conn: Connection, picked: Table) -> None:
    """Advance `seen`."""
    p = picked.c
    advances = sa.and_(p.is_last, p.is_newer, is_ours(picked))
    conn.execute(sa.delete(t.seen).where(t.seen.c.work_id.in_(sa.select(p.work_id).where(advances))))
    rows = sa.select(p.work_id, p.source_updated_at, p.tie_hash, _state_of(p)).where(advances).order_by(p.work_id)
    conn.execute(sa.insert(t.seen).from_select(["work_id", "source_updated_at", "tie_hash", "state"], rows))
