"""What the warehouse says of its own past: changes of cells with their reasons, their order in time, releases, and
landings left half-way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Select

from schemas import tables as t
from schemas.errors import WarehouseError
from schemas.reviewed import code_version, definitions_digest
from tasks.sources.openalex_api import SOURCE as LIVE
from tasks.sources.venue_list import SOURCE as LISTS
from tasks.storage.warehouse import utc_now

WAREHOUSE = "warehouse"  # source of batches that come from no landing: of stored works, or of none
# Kinds of them: one takes another batch back, named in window_name; one counts anew.
UNDO, REBUILD = "undo", "rebuild"
RELEASED = "/released-"  # in the id of a batch that lets another one in again, after the id of that one


def next_moment(conn: Connection) -> datetime:
    """Now, UTC, but after every batch and release there is: machines whose clocks differ write to one warehouse.

    Call it while holding the writers' lock; what is changed since a release is told by these times.
    """
    times: tuple[sa.Column[datetime], ...] = (t.batch.c.finished_at, t.release.c.published_at)
    newest = [conn.scalar(sa.select(sa.func.max(of))) for of in times]
    return max([utc_now(), *(moment + timedelta(microseconds=1) for moment in newest if moment is not None)])


def note_internal_batch(
    conn: Connection,
    batch_id: str,
    kind: str,
    cause: str,
    counts: Mapping[str, int] | None = None,
    started_at: datetime | None = None,
) -> None:
    """Write the row of ops.batch for a batch that comes from the warehouse itself, with no landing behind it.

    Args:
        cause: what asked for it, in the place of a window's name.
        counts: those that are not 0; all of them are 0 if None.
        started_at: UTC; the moment of the row if None.
    """
    numbers = [c.name for c in t.batch.columns if isinstance(c.type, sa.BigInteger) and not c.nullable]
    given = dict(counts or {})
    now = next_moment(conn)
    row = {
        **dict.fromkeys(numbers, 0),
        **given,
        "batch_id": batch_id,
        "landing_id": batch_id,
        "source": WAREHOUSE,
        "window_name": cause,
        "kind": kind,
        "end_record": given.get("fetched", 0),
        "window_records": given.get("fetched", 0),
        "landing_uri": "",
        "sha256": "",
        "code_version": code_version(),
        "definitions": definitions_digest(),
        "started_at": started_at or now,
        "finished_at": now,
    }
    conn.execute(t.batch.insert(), row)


def releases_in(conn: Connection, published: Path) -> list[sa.Row[Any]]:
    """Releases of this warehouse that lie in a folder and were not withdrawn, newest first; another COLLAB_HOME holds
    others.

    Raises:
        WarehouseError: the folder may not be entered.
    """
    of = t.release.c
    every = conn.execute(sa.select(t.release).where(of.withdrawn_at.is_(None)).order_by(of.published_at.desc()))
    try:
        return [row for row in every if (published / row.release_id).exists()]
    except OSError as exc:
        raise WarehouseError(f"cannot look into {published}: {exc.strerror}", "mend its permissions") from None


def standing_releases(conn: Connection, most: int = 1) -> list[sa.Row[Any]]:
    """Releases of this warehouse that were not withdrawn, wherever their files lie, newest first."""
    of = t.release.c
    newest = sa.select(t.release).where(of.withdrawn_at.is_(None)).order_by(of.published_at.desc()).limit(most)
    return list(conn.execute(newest))


def changes_since(since: datetime | None) -> Select[Any]:
    """Changes of cells by batches committed after `since` (all, if None), summed per cell and reason, as one table over
    all aggregates.

    Columns: aggregate, corpus, policy, field, year, territory_a, territory_b (territories or blocs, the citing one
    first), detail (evidence, mention, sector or both sectors), reason, papers, citations. What an aggregate does not
    have is null in a key and 0 in a measure.
    """
    return _changes_by(_batches_since(since))


def _changes_by(batches: Select[Any]) -> Select[Any]:
    parts = []
    for mart in t.MART:
        columns = t.ledger_of(mart).c
        firsts = ("territory", "territory_a", "territory_citing", "bloc", "bloc_a")
        keys = {
            "aggregate": sa.literal(str(mart.name)),
            "corpus": columns.corpus,
            "policy": _held(columns, ("policy",)),
            "field": columns.field,
            "year": columns.year,
            "territory_a": _held(columns, firsts),
            "territory_b": _held(columns, ("territory_b", "territory_cited", "bloc_b")),
            "detail": _detail(columns),
            "reason": columns.reason,
        }
        sums = {name: columns.get(name, _NOTHING) for name in ("papers", "citations")}
        named = [value.label(name) for name, value in (keys | sums).items()]
        parts.append(sa.select(*named).where(columns.batch_id.in_(batches)))
    every = sa.union_all(*parts).subquery()
    groups = [every.c[name] for name in keys]
    totals = [sa.cast(sa.func.sum(every.c[name]), sa.BigInteger).label(name) for name in sums]
    return sa.select(*groups, *totals).group_by(*groups).order_by(*groups)


@dataclass(frozen=True)
class Moved:
    """A cell of a country or pair that some batches moved, and by how much for each reason."""

    corpus: str
    field: str
    year: int
    territories: tuple[str, ...]
    papers: dict[str, int]
    citations: int


def cells_moved(conn: Connection, batch_ids: Sequence[str], policy: str, widest: str, most: int) -> list[Moved]:
    """Cells under a policy that batches moved most, additions and removals both counted: at most `most` each of
    countries and pairs in the field `widest`, then of the other fields."""
    moved = (
        _changes_by(sa.select(t.batch.c.batch_id).where(t.batch.c.batch_id.in_(batch_ids))).order_by(None).subquery()
    )
    of = moved.c
    found = []
    for is_wanted in (of.field == widest, of.field != widest):
        for aggregate in ("country_year", "pair_year"):
            found += _most_moved(conn, moved, sa.and_(is_wanted, of.aggregate == aggregate, of.policy == policy), most)
    return found


def _most_moved(conn: Connection, moved: Any, is_wanted: sa.ColumnElement[bool], most: int) -> list[Moved]:
    of = moved.c
    cell = (of.corpus, of.field, of.year, of.territory_a, of.territory_b)
    total = sa.func.sum(sa.func.abs(of.papers)).over(partition_by=cell).label("total")
    rows = sa.select(*cell, of.reason, of.papers, of.citations, total).where(is_wanted, of.papers != 0).subquery()
    place = sa.func.dense_rank().over(order_by=(rows.c.total.desc(), *(rows.c[key.name] for key in cell)))
    ranked = sa.select(rows, place.label("place")).subquery()
    shown = (
        sa.select(ranked).where(ranked.c.place <= most).order_by(ranked.c.place, sa.func.abs(ranked.c.papers).desc())
    )
    found = []
    for _, group in groupby(conn.execute(shown), key=attrgetter("place")):
        reasons = list(group)
        first = reasons[0]
        ends = tuple(end for end in (first.territory_a, first.territory_b) if end)
        papers = {row.reason: int(row.papers) for row in reasons}
        citations = sum(int(row.citations) for row in reasons)
        found.append(Moved(first.corpus, first.field, first.year, ends, papers, citations))
    return found


def batches_of_flow_run(conn: Connection, flow_run: str) -> list[dict[str, Any]]:
    """Rows of ops.batch that a flow run of Prefect committed, in all its attempts, oldest first."""
    of = t.batch.c
    runs = sa.select(t.run.c.run_id).where(t.run.c.flow_run == flow_run)
    rows = conn.execute(sa.select(t.batch).where(of.run_id.in_(runs)).order_by(of.finished_at))
    return [dict(row) for row in rows.mappings()]


_NULL, _NOTHING = sa.cast(sa.null(), sa.String), sa.literal(0, sa.BigInteger)


def _held(columns: Any, names: Sequence[str]) -> sa.ColumnElement[Any]:
    """The first of some columns that a table has, else null."""
    found: sa.ColumnElement[Any] = next((columns[name] for name in names if name in columns), _NULL)
    return found


def _detail(columns: Any) -> sa.ColumnElement[Any]:
    if "sector_a" in columns:
        both: sa.ColumnElement[Any] = columns.sector_a + sa.literal("/") + columns.sector_b
        return both
    return _held(columns, ("evidence", "mention", "sector"))


def has_changed(conn: Connection, since: datetime | None) -> bool:
    """Whether any cell changed by a batch committed after `since`."""
    recent = _batches_since(since)
    ledgers = [t.ledger_of(mart) for mart in t.MART]
    changed = [sa.exists(sa.select(1).where(ledger.c.batch_id.in_(recent))) for ledger in ledgers]
    return bool(conn.scalar(sa.select(sa.or_(*changed))))


def unfinished_landings() -> Select[Any]:
    """Id and source of landings that a run left half-way, and that no later landing of their kind has overtaken: with
    another COLLAB_BATCH_WORKS the next run lands the same parts in other windows. A list overtakes those of its own
    corpus, which its id begins with; a window of the live API, which stands alone, itself."""
    of = t.batch.c
    landing = (
        sa.select(
            of.source,
            of.kind,
            of.landing_id,
            sa.func.max(of.window_name).label("window"),
            sa.func.max(of.finished_at).label("last"),
            (sa.func.max(of.end_record) >= sa.func.max(of.window_records)).label("is_whole"),
        )
        .where(~of.batch_id.contains(RELEASED))  # records that were taken in long ago
        .group_by(of.source, of.kind, of.landing_id)
        .cte()
    )
    later = landing.alias()
    is_overtaken = sa.exists(
        sa.select(1).where(
            later.c.source == landing.c.source,
            later.c.kind == landing.c.kind,
            later.c.is_whole,
            later.c.last > landing.c.last,
            sa.or_(landing.c.source != LIVE, later.c.window == landing.c.window),
            sa.or_(landing.c.source != LISTS, _corpus(later.c.landing_id) == _corpus(landing.c.landing_id)),
        )
    )
    return sa.select(landing.c.landing_id, landing.c.source).where(~landing.c.is_whole, ~is_overtaken)


def _corpus(landing_id: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    return sa.func.split_part(landing_id, ".", 1)


def _batches_since(since: datetime | None) -> Select[Any]:
    """Batches committed after a moment, but those that were undone since, and what undid them: together they change
    nothing."""
    of = t.batch.c
    every = sa.select(of.batch_id)
    if since is None:
        return every
    undone = sa.select(of.batch_id).where(of.finished_at > since, of.undone_at.is_not(None))
    return every.where(
        of.finished_at > since,
        of.undone_at.is_(None),
        sa.not_(sa.and_(of.kind == UNDO, of.window_name.in_(undone))),
    )
