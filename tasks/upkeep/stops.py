"""Batches that a rule keeps out: which of them still wait for somebody, and which were overtaken."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from schemas import tables as t
from tasks.sources.openalex_api import SOURCE as LIVE
from tasks.sources.venue_list import SOURCE as LISTS
from tasks.upkeep.runs import COMPLETED

OVERTAKEN_BY_WINDOW = (LIVE, LISTS)


def open_stops(conn: Connection) -> list[sa.Row[Any]]:
    """Rows of ops.validation_result: the stop rules that keep batches out which nothing has overtaken.

    A source that was mended sends other bytes, so the batch that was stopped is never loaded: another one is. Where
    windows stand alone that is a later load of the same window; elsewhere a run that came to its end, because it would
    have been stopped by whatever is still wrong. One that was asked for older dates only (--until) says nothing.
    """
    of = t.validation_result.c
    is_stop = sa.and_(of.success.is_(False), of.severity == "stop")
    never_loaded = of.batch_id.not_in(sa.select(t.batch.c.batch_id))
    rows = conn.execute(sa.select(t.validation_result).where(is_stop, never_loaded).order_by(of.batch_id, of.rule))
    return [row for row in rows if not _is_overtaken(conn, row.batch_id)]


def _is_overtaken(conn: Connection, batch_id: str) -> bool:
    source, landing_id, _ = batch_id.split("/")
    if source in OVERTAKEN_BY_WINDOW:
        return _was_loaded_later(conn, source, landing_id)
    return _ended_well_since(conn, source, batch_id)


def _was_loaded_later(conn: Connection, source: str, landing_id: str) -> bool:
    """Ids of landings begin with their window and end with how often that was loaded before. What was loaded of the
    landing itself, before the batch that was stopped, overtakes nothing."""
    of = t.batch.c
    window = landing_id.split(".", maxsplit=1)[0]
    loaded = sa.select(of.landing_id).where(
        of.source == source,
        of.landing_id.startswith(f"{window}.", autoescape=True),
        of.landing_id != landing_id,
    )
    return any(_times_loaded(found) >= _times_loaded(landing_id) for found in conn.scalars(loaded))


def _times_loaded(landing_id: str) -> int:
    return int(landing_id.rsplit(".r", 1)[1])


def _ended_well_since(conn: Connection, source: str, batch_id: str) -> bool:
    """Whether a run of the source came to its end after the one that was stopped; that one's message names the batch.
    Where no run names it, it was before runs were noted."""
    of = t.run.c
    stopped_at = conn.scalar(
        sa.select(sa.func.max(of.started_at)).where(of.message.contains(batch_id, autoescape=True))
    )
    is_whole = sa.and_(of.source == source, of.state == COMPLETED, of.command.not_like("%--until%"))
    is_later = of.started_at > stopped_at if stopped_at else sa.true()
    return conn.scalar(sa.select(sa.exists(sa.select(1).where(is_whole, is_later)))) or False
