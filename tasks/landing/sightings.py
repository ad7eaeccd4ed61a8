"""What the warehouse knows of windows and works that a live source is asked about again: when they were last seen, what
changed since, and what has vanished.

A stored work that the source no longer lists, nor knows by its id, is noted. Missed again on a later night it is
removed like any other deletion; the note stays, so that a work which comes back is not taken for deleted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import islice

import sqlalchemy as sa
from sqlalchemy import Connection

from schemas import tables as t
from schemas.work_ids import FIRST_OF_LISTS
from tasks.landing.land import WORKS
from tasks.loading.versions import LAST_TIE
from tasks.reading.parsed import CORPUS
from tasks.sources import openalex_api as api

IDS_PER_QUERY = 5_000
_LANDING = re.compile(r".+\.(\d{4}-\d{2}-\d{2})\.[0-9a-f]{8}\.r\d+")


def sweeps(conn: Connection) -> dict[str, api.Sweep]:
    """When each window was last seen whole: the day its fetching began."""
    of = t.batch.c
    query = sa.select(of.window_name, of.landing_id, of.source_records).where(
        of.source == api.SOURCE, of.kind == WORKS, of.end_record == of.window_records
    )
    found: dict[str, api.Sweep] = {}
    for window, landing_id, works in conn.execute(query):
        match = _LANDING.fullmatch(landing_id)
        if match is None:
            continue
        sweep = api.Sweep(date.fromisoformat(match[1]), works or 0)
        found[window] = max(sweep, found.get(window, sweep))
    return found


def stored_months(conn: Connection) -> dict[str, int]:
    """Stored works by month of publication; those without a date under an empty name."""
    day = t.work.c.publication_date
    parts = [sa.cast(sa.extract(part, day), sa.Integer).label(part) for part in ("year", "month")]
    counts = sa.select(*parts, sa.func.count()).where(t.work.c.corpus == CORPUS).group_by(*parts)
    return {f"{year:04d}-{month:02d}" if year else "": count for year, month, count in conn.execute(counts)}


def stored_between(conn: Connection, first: date | None, last: date | None) -> set[int]:
    """Stored works published in a range of dates (None: open); without both, those without a date."""
    day = t.work.c.publication_date
    bounds = [day >= first if first else None, day <= last if last else None]
    within = [bound for bound in bounds if bound is not None] or [day.is_(None)]
    return set(conn.scalars(sa.select(t.work.c.work_id).where(t.work.c.corpus == CORPUS, *within)))


def newest_change(conn: Connection) -> datetime | None:
    """Newest date of change of any stored work of OpenAlex."""
    newest: datetime | None = conn.scalar(
        sa.select(sa.func.max(t.seen.c.source_updated_at)).where(
            t.seen.c.state == "stored", t.seen.c.work_id < FIRST_OF_LISTS
        )
    )
    return newest


def changed(conn: Connection, listed: Mapping[int, datetime | None]) -> set[int]:
    """Those of the listed works (id to date of change) of which no version of that date or a later one was seen, and
    the version of that date is neither held in quarantine nor undone: a later one that was refused hides nothing."""
    seen: dict[int, datetime] = {}
    refused: set[tuple[int, datetime | None]] = set()
    held, blocked = t.quarantine.c, t.blocked.c
    for ids in _portions(listed):
        versions = sa.select(t.seen.c.work_id, t.seen.c.source_updated_at).where(t.seen.c.work_id.in_(ids))
        seen |= dict(conn.execute(versions).tuples().all())
        is_open = sa.and_(held.work_id.in_(ids), held.resolved_at.is_(None))
        refused.update(conn.execute(sa.select(held.work_id, held.source_updated_at).where(is_open)).tuples())
        undone = sa.select(blocked.work_id, blocked.source_updated_at).where(blocked.work_id.in_(ids))
        refused.update(conn.execute(undone).tuples())
    return {
        work_id
        for work_id, stamp in listed.items()
        if work_id > 0
        and (work_id, stamp) not in refused
        and (stamp is None or work_id not in seen or stamp > seen[work_id])
    }


def note_vanished(conn: Connection, ids: Sequence[int], today: date) -> int:
    """Note stored works as missed, and return how many; those noted before keep their first night."""
    of = t.vanished.c
    noted: set[int] = set()
    stored: set[int] = set()
    for some in _portions(ids):
        noted.update(conn.scalars(sa.select(of.work_id).where(of.work_id.in_(some))))
        stored.update(conn.scalars(sa.select(t.work.c.work_id).where(t.work.c.work_id.in_(some))))
    new = [{"work_id": work_id, "missed_on": today} for work_id in sorted(stored - noted)]
    if new:
        conn.execute(t.vanished.insert(), new)
    return len(new)


def missed_before(conn: Connection, today: date) -> list[int]:
    """Stored works that another night missed; on a clock that was wrong it may lie in the future. Not those whose
    deletion was undone: it would stay out each night anew."""
    of, seen, blocked = t.vanished.c, t.seen.c, t.blocked.c
    deletions = sa.select(blocked.work_id, sa.func.max(blocked.source_updated_at)).where(blocked.tie_hash == LAST_TIE)
    undone: dict[int, datetime] = dict(conn.execute(deletions.group_by(blocked.work_id)).tuples().all())
    missed = sa.select(of.work_id, seen.source_updated_at).join_from(t.vanished, t.work, t.work.c.work_id == of.work_id)
    missed = missed.join(t.seen, seen.work_id == of.work_id).where(of.missed_on != today).order_by(of.work_id)
    return [work_id for work_id, stamp in conn.execute(missed) if work_id not in undone or undone[work_id] < stamp]


def forget_vanished(conn: Connection, ids: Iterable[int]) -> None:
    """Works that are there after all: their notes go, and so do the deletions that followed from them, so that the
    same version can be stored again."""
    of = t.vanished.c
    for some in _portions(ids):
        noted = list(conn.scalars(sa.select(of.work_id).where(of.work_id.in_(some))))
        if noted:
            seen = t.seen.c
            conn.execute(sa.delete(t.seen).where(seen.work_id.in_(noted), seen.state == "deleted"))
            conn.execute(sa.delete(t.vanished).where(of.work_id.in_(noted)))


def any_vanished(conn: Connection, ids: Iterable[int]) -> bool:
    """Whether a note is held on any of some works."""
    of = t.vanished.c
    every = set(conn.scalars(sa.select(of.work_id)))
    return not every.isdisjoint(ids)


def last_versions(conn: Connection, ids: Sequence[int]) -> dict[int, datetime]:
    """Date of change of the version that is stored of some works."""
    found: dict[int, datetime] = {}
    for some in _portions(ids):
        of = t.seen.c
        rows = conn.execute(sa.select(of.work_id, of.source_updated_at).where(of.work_id.in_(some)))
        found |= dict(rows.tuples().all())
    return found


def _portions(ids: Iterable[int]) -> Iterator[list[int]]:
    rest = iter(ids)
    while some := list(islice(rest, IDS_PER_QUERY)):
        yield some
