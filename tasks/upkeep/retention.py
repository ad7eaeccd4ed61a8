"""Removes what is older than the settings say, and never what is still needed: to load, to rebuild, or to undo.

    landing     the newest COLLAB_KEEP_LANDING windows of each source that hold records; besides those, windows that a
                run left half-way, that hold what a batch replaced within COLLAB_UNDO_DAYS, or whose versions wait for
                their release
    releases    the newest COLLAB_KEEP_RELEASES
    quarantine  open records stay; resolved ones go after COLLAB_KEEP_QUARANTINE_DAYS
    runs        ops.run after COLLAB_KEEP_RUNS_DAYS; batches, ledger and releases are the warehouse's past and stay

Works whose landed records are gone keep their classification when definitions change (tasks/batches/rederive.py), until
their source was read again (tasks/landing/undecided.py).
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection

from schemas import tables as t
from schemas.settings import Settings
from tasks.batches.former import FOLDER, folder_of
from tasks.loading.ledger import releases_in, unfinished_landings
from tasks.loading.versions import overtaken_blocks
from tasks.storage.warehouse import Warehouse, utc_now
from tasks.storage.workspace import clear_abandoned

log = logging.getLogger("collab")
LONGEST_ON_ITS_WAY = timedelta(days=1)  # another run may have landed a window and not loaded all of it yet


@dataclass
class Pruned:
    """What was removed, in pieces, and the bytes of files among it."""

    landings: int = 0
    undoable: int = 0
    releases: int = 0
    quarantined: int = 0
    blocked: int = 0
    runs: int = 0
    bytes: int = 0

    def line(self) -> str:
        """What was removed, in one line."""
        named = {
            "landed windows": self.landings,
            "batches' former rows": self.undoable,
            "releases": self.releases,
            "resolved records of the quarantine": self.quarantined,
            "blocked versions that newer ones overtook": self.blocked,
            "runs": self.runs,
        }
        removed = ", ".join(f"{count:,} {what}" for what, count in named.items() if count)
        return f"removed {removed}; {self.bytes / 1e6:,.1f} MB of files" if removed else "nothing was old enough"

    def remove(self, folder: Path) -> None:
        """Remove a folder and count its bytes. One that cannot be removed stays, and is named."""
        try:
            held = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            if folder.is_symlink():  # somebody keeps it elsewhere: that is theirs to remove
                folder.unlink()
            else:
                shutil.rmtree(folder)
                self.bytes += held
        except OSError as exc:
            log.warning("%s could not be removed: %s", folder, exc.strerror or exc)


def prune(warehouse: Warehouse, settings: Settings) -> Pruned:
    """Remove what the settings do not ask to keep; see the module.

    Raises:
        WarehouseError: the warehouse cannot be written.
    """
    done = Pruned()
    with warehouse.transaction("pruned") as conn:
        _prune_tables(conn, settings, done)
        _prune_releases(conn, settings, done)
        prune_landing(conn, settings, done)
    try:
        if settings.staging.exists():
            clear_abandoned(settings.staging)
    except OSError as exc:
        log.warning("%s was not looked through: %s", settings.staging, exc.strerror or exc)
    return done


def prune_landing(conn: Connection, settings: Settings, done: Pruned) -> None:
    """Remove what batches replaced that cannot be undone any more, then landed windows that nothing needs."""
    of = t.batch.c
    unfinished = set(conn.scalars(unfinished_landings()))
    since = utc_now() - timedelta(days=settings.undo_days)
    waiting = set(conn.scalars(sa.select(t.blocked.c.batch_id).distinct()))
    known = (of.batch_id, of.landing_id, of.landing_uri, of.finished_at, of.undone_at, of.end_record, of.window_records)
    rows = conn.execute(sa.select(*known)).all()
    undoable = {
        folder_of(settings, row.landing_uri, row.batch_id)
        for row in rows
        if row.landing_uri and row.undone_at is None and row.finished_at >= since
    }
    needed = {folder.parent.parent for folder in undoable if _may_be_there(folder)}
    needed |= {settings.landing / row.landing_uri for row in rows if row.batch_id in waiting}
    needed |= {settings.landing / row.landing_uri for row in rows if row.landing_id in unfinished}
    loaded = {settings.landing / row.landing_uri for row in rows if row.end_record >= row.window_records}
    empty = {settings.landing / row.landing_uri for row in rows if row.landing_uri and not row.window_records}
    for source in _folders(settings.landing):
        newest_first = sorted(_folders(source), key=lambda folder: folder.stat().st_mtime, reverse=True)
        held = 0
        for landing in newest_first:
            for kept in _folders(landing / FOLDER):
                if kept not in undoable:
                    done.remove(kept)
                    done.undoable += 1
            is_on_its_way = landing not in loaded and _age(landing) < LONGEST_ON_ITS_WAY
            is_old = landing in empty or held >= settings.keep_landing
            held += landing not in empty
            if is_old and landing not in needed and not is_on_its_way:
                done.remove(landing)
                done.landings += 1


def _age(folder: Path) -> timedelta:
    """Time since a folder was written."""
    return utc_now() - datetime.fromtimestamp(folder.stat().st_mtime, UTC).replace(tzinfo=None)


def _may_be_there(folder: Path) -> bool:
    """Whether a folder is there; also if that may not be known."""
    try:
        return folder.exists()
    except OSError:
        return True


def _folders(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if entry.is_dir()] if folder.is_dir() else []
    except OSError as exc:
        log.warning("%s was not looked through: %s", folder, exc.strerror or exc)
        return []


def _prune_releases(conn: Connection, settings: Settings, done: Pruned) -> None:
    for row in releases_in(conn, settings.published)[settings.keep_releases :]:
        done.remove(settings.published / row.release_id)
        done.releases += 1


def _prune_tables(conn: Connection, settings: Settings, done: Pruned) -> None:
    now = utc_now()
    held, run = t.quarantine.c, t.run.c
    is_resolved = held.resolved_at < now - timedelta(days=settings.keep_quarantine_days)
    done.quarantined = _delete(conn, t.quarantine, is_resolved)
    done.blocked = _delete(conn, t.blocked, overtaken_blocks(conn))
    newest = sa.select(sa.func.max(run.started_at).label("started_at")).group_by(run.flow, run.source).subquery()
    is_old = run.started_at < now - timedelta(days=settings.keep_runs_days)
    done.runs = _delete(conn, t.run, sa.and_(is_old, run.started_at.not_in(sa.select(newest.c.started_at))))


def _delete(conn: Connection, table: sa.Table, condition: sa.ColumnElement[bool]) -> int:
    """Delete rows and say how many; DuckDB's driver does not."""
    count = conn.scalar(sa.select(sa.func.count()).select_from(table).where(condition)) or 0
    conn.execute(sa.delete(table).where(condition))
    return count
