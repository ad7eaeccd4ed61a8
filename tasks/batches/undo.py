"""Takes the last batches back, newest first: tables, `seen` and releases are as before, the ledger says `undone`.

What a batch replaced lies beside its landed records (former.py). The versions that it brought are blocked: they stay
out, however often the source sends them, until newer ones come or somebody releases them. Each batch is taken back in
one transaction; a killed command is called again.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import Connection

from schemas import tables as t
from schemas.errors import LandingError, UndoRefused, UsageError
from schemas.reviewed import counting_digest
from schemas.settings import Settings
from schemas.staging import arrow_schema
from schemas.words import counted
from tasks.batches import batch as batches
from tasks.batches.batch import Batch, Outcome
from tasks.batches.former import Manifest, folder_of, read_former, read_manifest
from tasks.batches.internal_batches import InternalBatch, close_batch
from tasks.countries.registry import describe_rors, note_restored, reference_folder
from tasks.landing.land import OpenLanding, read_landing
from tasks.loading.ledger import REBUILD, RELEASED, UNDO, WAREHOUSE, next_moment
from tasks.loading.load import CHILDREN, restore_works
from tasks.loading.versions import VERSION, Keep, is_blocked, keep_nothing
from tasks.reading import quarantine
from tasks.staging.derive import Deriver
from tasks.staging.workers import workers_for
from tasks.storage.warehouse import Warehouse, attach_arrow, detach_arrow, utc_now
from tasks.storage.workspace import Workspace

FIRST_RECORD = "/00000000"  # may be left out where a batch is named
KEPT_OF_WORKS = ("work", *(child.name for child, _, _ in CHILDREN))


@dataclass(frozen=True)
class Undone:
    """What taking one batch back did: works put back as they were, works removed, versions that stay out, releases
    withdrawn."""

    batch_id: str
    restored: int
    removed: int
    blocked: int
    withdrawn: list[str]


def undo(
    warehouse: Warehouse,
    settings: Settings,
    batch_id: str,
    *,
    with_later: bool = False,
    on_batch: Callable[[Undone], None] = lambda _: None,
) -> list[Undone]:
    """Take a batch back, and with `with_later` those loaded after it, newest first.

    Args:
        on_batch: told of each batch as soon as it is taken back.

    Returns:
        What was done, newest batch first; empty if the batch was taken back already.

    Raises:
        UsageError: there is no such batch, or newer ones have to be taken back first.
        UndoRefused: stored works were decided again after it, or what it replaced is gone. Nothing was changed.
    """
    with warehouse.reading() as conn:
        chosen = _chain(conn, batch_id, with_later=with_later)
        for row in chosen:
            _check(conn, settings, row)
    done = []
    for row in chosen:
        with warehouse.transaction("undone") as conn:
            if [one.batch_id for one in _chain(conn, row.batch_id, with_later=False)] != [row.batch_id]:
                continue  # somebody else has just taken it back
            done.append(_undo(conn, settings, row))
        on_batch(done[-1])
    return done


def _chain(conn: Connection, batch_id: str, *, with_later: bool) -> list[sa.Row[tuple[object, ...]]]:
    """Batches to take back, newest first; none if the batch was taken back before."""
    of = t.batch.c
    row = _find(conn, batch_id)
    batch_id = row.batch_id
    if row.source == WAREHOUSE:
        raise UndoRefused(f"{batch_id} decided stored works again; it came from no source", "only loads can be undone")
    if row.undone_at is not None:
        return []
    if _is_mere_release(row):
        raise UndoRefused(
            f"{batch_id} only let versions in that come when the source sends them",
            "undo the batch that brings them",
        )
    is_later = sa.and_(of.finished_at > row.finished_at, of.undone_at.is_(None), of.kind.not_in([UNDO, REBUILD]))
    later = conn.execute(sa.select(t.batch).where(is_later).order_by(of.finished_at.desc())).all()
    decided = next((one for one in later if one.source == WAREHOUSE), None)
    if decided is not None:
        raise UndoRefused(
            f"{decided.batch_id} decided stored works again after {batch_id}",
            "what is wrong can be corrected by newer versions, or by a copy of the warehouse from before",
        )
    brought = [one for one in later if one.end_record > one.first_record]
    if brought and not with_later:
        count = counted(len(brought), "batch was", "batches were")
        raise UsageError(
            f"{count} loaded after {batch_id}, the newest is {brought[0].batch_id}",
            f"undo that first, or all of them: `collab undo {batch_id} --with-later`",
        )
    return [*(brought if with_later else ()), row]


def _find(conn: Connection, name: str) -> sa.Row[tuple[object, ...]]:
    """The batch of that id, or the only one whose id ends like that.

    Raises:
        UsageError: there is none, or more than one.
    """
    of = t.batch.c
    row = conn.execute(sa.select(t.batch).where(of.batch_id == name)).one_or_none()
    if row is not None:
        return row
    endings = [of.batch_id.endswith(end, autoescape=True) for end in (name, name + FIRST_RECORD)]
    ending = sa.select(t.batch).where(sa.or_(*endings), of.source != WAREHOUSE)
    found = conn.execute(ending.order_by(of.finished_at)).all() if name else []
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(one.batch_id for one in found)
        raise UsageError(f"{name!r} ends the ids of {len(found)} batches", f"give one whole: {ids}")
    near = get_close_matches(name, conn.scalars(sa.select(of.batch_id).where(of.source != WAREHOUSE)).all(), n=1)
    raise UsageError(f"no batch {name!r}", f"did you mean {near[0]}?" if near else "`collab status` lists them")


def _is_mere_release(row: sa.Row[tuple[object, ...]]) -> bool:
    return RELEASED in row.batch_id and bool(row.end_record == row.first_record)


def _check(conn: Connection, settings: Settings, row: sa.Row[tuple[object, ...]]) -> Manifest | None:
    """What says of a batch how it can be put back; None if it holds nothing.

    Raises:
        UndoRefused: it cannot.
    """
    if row.end_record == row.first_record:
        return None
    folder = folder_of(settings, row.landing_uri, row.batch_id)
    manifest = read_manifest(folder, row.batch_id, row.finished_at, _where_else(conn, settings, row))
    if manifest.counted_by != counting_digest():
        raise UndoRefused(
            f"{row.batch_id} was counted by other definitions than those in force",
            "go back to the former release first",
        )
    return manifest


def _where_else(conn: Connection, settings: Settings, row: sa.Row[tuple[object, ...]]) -> str:
    """Where the rows may be that a batch replaced, or why there are none."""
    loaded_by = conn.execute(sa.select(t.run).where(t.run.c.run_id == row.run_id)).one_or_none()
    place = ""
    if loaded_by is not None:
        home = Path(loaded_by.folder).parent.parent
        if (loaded_by.host, home) != (platform.node(), settings.home.absolute()):
            place = f", which was on {loaded_by.host} with COLLAB_HOME={home}"
    never = "COLLAB_UNDO_DAYS is 0: nothing is kept to undo a batch by"
    how_long = f"a batch can be undone for COLLAB_UNDO_DAYS={settings.undo_days}, where it was loaded{place}"
    return f"{how_long if settings.undo_days or place else never}; newer versions still correct what it brought"


def _undo(conn: Connection, settings: Settings, row: sa.Row[tuple[object, ...]]) -> Undone:
    restored = removed = blocked = 0
    manifest = _check(conn, settings, row)
    if manifest is not None:
        note_restored(conn, manifest.located_by)
        former = read_former(folder_of(settings, row.landing_uri, row.batch_id))
        restored, removed = _restore(conn, settings, row.batch_id, former)
        blocked = _restore_rest(conn, row.batch_id, former)
    now = next_moment(conn)
    conn.execute(sa.update(t.batch).values(undone_at=now).where(t.batch.c.batch_id == row.batch_id))
    return Undone(row.batch_id, restored, removed, blocked, _withdraw(conn, row.finished_at, now))


def _restore(conn: Connection, settings: Settings, batch_id: str, former: dict[str, pa.Table]) -> tuple[int, int]:
    """Put works, and with them ledger and mart, back as they were; returns works restored and works removed."""
    staged = {name: _staged(name, former[name]) for name in KEPT_OF_WORKS} | {"arrived": former["arrived"]}
    stage_of = {name: attach_arrow(conn, f"stage_{name}", data) for name, data in staged.items()}
    batch = InternalBatch(f"{UNDO}/{batch_id}", UNDO, batch_id)
    change = restore_works(conn, stage_of, stage_of["arrived"], batch.batch_id)
    of = change.affected.c
    tallied = {
        "updated": sa.and_(of.is_stored, of.was_stored),
        "new": sa.and_(of.is_stored, ~of.was_stored),
        "removed": ~of.is_stored,
    }
    sums = [sa.func.count().filter(condition).label(name) for name, condition in tallied.items()]
    tally = dict(conn.execute(sa.select(*sums)).mappings().one())
    removed = int(tally.pop("removed"))
    restored = sum(tally.values())
    counts = {**tally, "fetched": restored, "listed": removed, "applied": removed}
    close_batch(conn, batch, counts, change, settings)
    detach_arrow(conn, [f"stage_{name}" for name in staged])
    return restored, removed


def _staged(name: str, rows: pa.Table) -> pa.Table:
    """Stored rows in the shape of staged ones: each work is a record of its own."""
    owner = "citing_work_id" if name == t.reference.name else "work_id"
    schema = arrow_schema(name)
    return rows.append_column("stage_id", rows[owner]).select(schema.names).cast(schema)


def _restore_rest(conn: Connection, batch_id: str, former: dict[str, pa.Table]) -> int:
    """Put `seen`, institutions and quarantine back, block the versions that the batch brought, forget its figures: the
    drift gates compare with batches that count. Returns how many versions it keeps out."""
    names = ("version", "blocked", "lifted", "seen", "described", "institution")
    stage_of = {name: attach_arrow(conn, f"stage_{name}", former[name]) for name in names}
    version = stage_of["version"]
    named = sa.select(version.c.work_id)
    for table, gone, back in (
        (t.seen, t.seen.c.work_id.in_(named), "seen"),
        (
            t.institution,
            t.institution.c.institution_id.in_(sa.select(stage_of["described"].c.institution_id)),
            "institution",
        ),
    ):
        conn.execute(sa.delete(table).where(gone))
        columns = table.columns.keys()
        conn.execute(sa.insert(table).from_select(columns, sa.select(*(stage_of[back].c[n] for n in columns))))
    describe_rors(conn, sa.select(stage_of["institution"].c.institution_id))
    # What a release let in is blocked again by the batch that had brought it, what else it brought by itself.
    _block(conn, stage_of["lifted"], stage_of["lifted"].c.batch_id)
    _block(conn, version, sa.literal(batch_id))
    was_blocked = stage_of["blocked"].c
    _block(conn, stage_of["blocked"], was_blocked.batch_id, was_blocked.batch_id.not_in(_released(conn)))
    quarantine.reopen(conn, named, stage_of["seen"])
    conn.execute(sa.delete(t.metric).where(t.metric.c.batch_id == batch_id))
    detach_arrow(conn, [f"stage_{name}" for name in names])
    return len(former["lifted"]) + (conn.scalar(_count_blocked(batch_id)) or 0)


def _block(
    conn: Connection, versions: sa.FromClause, by: sa.ColumnElement[str], *where: sa.ColumnElement[bool]
) -> None:
    """Keep versions out that are not kept out yet."""
    rows = sa.select(*(versions.c[name] for name in VERSION), by).where(~is_blocked(versions), *where)
    conn.execute(sa.insert(t.blocked).from_select([*VERSION, "batch_id"], rows))


def _released(conn: Connection) -> list[str]:
    """Batches that were undone and let in again."""
    of = t.batch.c
    releases = sa.select(of.batch_id).where(of.batch_id.contains(RELEASED), of.undone_at.is_(None))
    return [release_id.rsplit(RELEASED, 1)[0] for release_id in conn.scalars(releases)]


def _withdraw(conn: Connection, loaded_at: datetime, now: datetime) -> list[str]:
    """Withdraw the releases that hold the batch."""
    of = t.release.c
    holds_it = sa.and_(of.published_at > loaded_at, of.withdrawn_at.is_(None))
    ids = list(conn.scalars(sa.select(of.release_id).where(holds_it).order_by(of.published_at)))
    conn.execute(sa.update(t.release).values(withdrawn_at=now).where(holds_it))
    return ids


@dataclass(frozen=True)
class Released:
    """What releasing an undone batch did: versions let in again, none if they were before, and the batch that loaded
    them, if their landed records were still there."""

    versions: int
    outcome: Outcome | None


def release(warehouse: Warehouse, settings: Settings, batch_id: str) -> Released:
    """Let the versions in again that came with a batch that was undone, and load its landed records if they are there.

    Raises:
        UsageError: there is no such batch, or it was not undone, or all that it brought was overtaken since.
        GateStopped: a stop rule failed; nothing was changed.
    """
    of = t.batch.c
    with warehouse.reading() as conn:
        row = _find(conn, batch_id)
        batch_id = row.batch_id
        held = conn.scalar(_count_blocked(batch_id)) or 0
        known = set(conn.scalars(sa.select(of.batch_id).where(of.batch_id.startswith(batch_id, autoescape=True))))
        is_released = batch_id in _released(conn)
    if row.undone_at is None:
        raise UsageError(f"{batch_id} was not undone", "`collab status` names batches that were")
    if is_released and not held:
        return Released(0, None)
    if not held:
        raise _none_held(batch_id)
    name = f"{batch_id}{RELEASED}{len(known)}"
    folder = settings.landing / row.landing_uri
    try:
        landing = read_landing(folder)
    except LandingError:
        with warehouse.transaction("released") as conn:
            _let_in(conn, batch_id, keep_nothing)
            _note_release(conn, row, name)
        return Released(held, None)
    with (
        closing(OpenLanding(folder, landing, settings.max_record_bytes)) as landed,
        Workspace(settings.staging) as workspace,
        closing(workers_for(settings)) as workers,
    ):
        with warehouse.reading() as conn:
            reference = reference_folder(conn, settings, workspace)
        workers.provide(reference)
        batch = Batch(name, landing, folder, row.first_record, row.end_record, utc_now(), reference)
        staged = batches.stage(batch, landed, Deriver(workers), workspace.folder, settings)
        report = batches.validate(staged)
        command = f"collab undo {batch_id} --release"
        outcome = batches.load_again(
            warehouse, batch, staged, report, settings, lambda conn, keep: _let_in(conn, batch_id, keep), command
        )
    return Released(held, outcome)


def _count_blocked(batch_id: str) -> sa.Select[tuple[int]]:
    return sa.select(sa.func.count()).where(t.blocked.c.batch_id == batch_id)


def _none_held(batch_id: str) -> UsageError:
    return UsageError(
        f"no versions of {batch_id} are blocked", "newer ones have come since; there is nothing to let in"
    )


def _let_in(conn: Connection, batch_id: str, keep: Keep) -> None:
    if not conn.scalar(_count_blocked(batch_id)):  # somebody else has just released them
        raise _none_held(batch_id)
    is_of_it = t.blocked.c.batch_id == batch_id
    keep("lifted", sa.select(t.blocked).where(is_of_it))
    conn.execute(sa.delete(t.blocked).where(is_of_it))


def _note_release(conn: Connection, row: sa.Row[tuple[object, ...]], name: str) -> None:
    """A batch without records, so that undoing what came later does not block the versions again."""
    counts = dict.fromkeys((*t.COUNTS, "credits"), 0)
    unsaid = dict.fromkeys(("source_records", "source_listed", "run_id", "undone_at"))
    now = next_moment(conn)
    place = {"batch_id": name, "first_record": row.end_record, "started_at": now, "finished_at": now}
    conn.execute(t.batch.insert(), {**row._mapping, **counts, **unsaid, **place})
