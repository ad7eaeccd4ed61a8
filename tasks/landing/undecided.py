"""What the definitions in force never decided: records whose bytes were gone when definitions changed.

Such works keep older fields and mentions, and others that would be admitted now are not stored at all. So the warehouse
notes, per corpus, since when its definitions hold (ops.meta). A month of the live API, a part of a snapshot or a list
that was loaded before that moment is read whole again, whatever the date of its records: a month when its turn comes or
at once by `collab rescan`, parts by `collab rescan`, a list when it is brought. What is left follows from ops.batch and
ops.part, so a run that was killed or had no more credits goes on where it was. The note goes when nothing is left.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, Select

from schemas import tables as t
from schemas.words import counted
from tasks.landing.land import WORKS
from tasks.landing.sightings import stored_months, sweeps
from tasks.reading.parsed import CORPUS
from tasks.reading.quarantine import SOURCE as QUARANTINE
from tasks.sources import openalex_api as api
from tasks.sources import openalex_snapshot as snapshots
from tasks.sources.venue_list import SOURCE as LISTS
from tasks.storage.definitions import PARTIAL

_NOTE = "undecided_since."  # then the corpus


class Undecided(NamedTuple):
    """A corpus that the definitions in force did not decide whole: since when they hold, what is left to be read (in
    words), and the command that reads it."""

    corpus: str
    since: datetime
    left: str
    command: str


def corpus_of(source: str, landing_id: str) -> str | None:
    """Corpus of the records of a landing; None for those of the quarantine, which came in another landing too."""
    if source == LISTS:
        return landing_id.split(".", 1)[0]
    return None if source == QUARANTINE else CORPUS


def note_undecided(conn: Connection, corpora: Iterable[str], since: datetime) -> None:
    """Note that some corpora, and no others, were not decided whole by the definitions that hold from now on."""
    conn.execute(sa.delete(t.meta).where(_is_note()))
    notes = [{"name": _NOTE + corpus, "value": since.isoformat()} for corpus in sorted(corpora)]
    if notes:
        conn.execute(t.meta.insert(), notes)


def undecided_since(conn: Connection, corpus: str) -> datetime | None:
    """When the definitions came into force that did not decide a corpus whole; None if they did."""
    noted = conn.scalar(sa.select(t.meta.c.value).where(t.meta.c.name == _NOTE + corpus))
    return datetime.fromisoformat(noted) if noted else None


def read_undecided(conn: Connection) -> list[Undecided]:
    """Every corpus that was not decided whole, and what is left of it."""
    noted = conn.execute(sa.select(t.meta.c.name, t.meta.c.value).where(_is_note()).order_by(t.meta.c.name)).tuples()
    return [_look_at(conn, name.removeprefix(_NOTE), datetime.fromisoformat(value)) for name, value in noted.all()]


def settle(conn: Connection) -> None:
    """Forget the corpora of which nothing is left, and with the last of them how many works were not decided."""
    found = read_undecided(conn)
    left = [one for one in found if one.left]
    if len(left) == len(found):
        return
    settled = [_NOTE + one.corpus for one in found if not one.left]
    conn.execute(sa.delete(t.meta).where(t.meta.c.name.in_(settled)))
    if not left:
        conn.execute(sa.update(t.meta).values(value="0").where(t.meta.c.name == PARTIAL))


def undecided_windows(conn: Connection) -> set[str]:
    """Windows of the live API that were not fetched since. Months that were yet to come when the window of the future
    was last looked at were seen in it, or singly by a rescan."""
    since = undecided_since(conn, CORPUS)
    if since is None:
        return set()
    anew = _loaded_since(conn, api.SOURCE, since)
    swept = sweeps(conn)
    left = ({month or api.UNDATED for month in stored_months(conn)} | swept.keys()) - anew - {api.UPDATED, api.FUTURE}
    if api.FUTURE in swept:
        last = api.month_of(swept[api.FUTURE].day)
        to_come = {name for name in left if name != api.UNDATED and name > last}
        if api.FUTURE in anew:
            left -= to_come
        elif to_come:
            left.add(api.FUTURE)
    return left


def undecided_parts(conn: Connection) -> set[str]:
    """Paths of the loaded parts of a snapshot that were not read since."""
    since = undecided_since(conn, CORPUS)
    of, batch = t.part.c, t.batch.c
    if since is None:
        return set()
    is_older = sa.or_(batch.finished_at < since, batch.undone_at.is_not(None))
    found = sa.select(of.path).join_from(t.part, t.batch, batch.batch_id == of.batch_id)
    return set(conn.scalars(found.where(of.source == snapshots.SOURCE, batch.kind == WORKS, is_older)))


def forget_parts(conn: Connection, paths: Iterable[str]) -> None:
    """Forget parts that a snapshot does not hold any more; should one come back, it is a new one."""
    of = t.part.c
    conn.execute(sa.delete(t.part).where(of.source == snapshots.SOURCE, of.path.in_(sorted(paths))))


def is_list_undecided(conn: Connection, corpus: str) -> bool:
    """Whether no list of a corpus was brought since."""
    since = undecided_since(conn, corpus)
    loaded = _loaded_since(conn, LISTS, since) if since else set()
    return since is not None and not any(window.startswith(f"{corpus}/") for window in loaded)


def _is_note() -> sa.ColumnElement[bool]:
    return t.meta.c.name.startswith(_NOTE, autoescape=True)


def _look_at(conn: Connection, corpus: str, since: datetime) -> Undecided:
    if corpus != CORPUS:
        command = f"collab run --source {LISTS} --corpus {corpus}"
        return Undecided(corpus, since, "its lists" if is_list_undecided(conn, corpus) else "", command)
    if sweeps(conn):  # its versions are newer than those of a snapshot, which would not decide them
        # The future alone is not asked for by a rescan; the months in it are.
        windows = undecided_windows(conn) - {api.FUTURE}
        left = counted(len(windows), "month") if windows else ""
        return Undecided(corpus, since, left, f"collab rescan --source {api.SOURCE}")
    parts = undecided_parts(conn)
    return Undecided(corpus, since, counted(len(parts), "part") if parts else "", "collab rescan")


def _loaded_since(conn: Connection, source: str, since: datetime) -> set[str]:
    """Windows with a landing of which every batch was loaded since, and none undone."""
    of = t.batch.c
    every: Select[tuple[str]] = (
        sa.select(of.window_name)
        .where(of.source == source, of.kind == WORKS)
        .group_by(of.window_name, of.landing_id)
        .having(
            sa.func.min(of.finished_at) >= since,
            sa.func.max(of.end_record) == sa.func.max(of.window_records),
            sa.func.count(of.undone_at) == 0,
        )
    )
    return set(conn.scalars(every))
