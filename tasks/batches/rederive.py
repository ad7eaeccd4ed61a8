"""Decides stored works again by other definitions: fields, mentions, policies, blocs.

Every landed record goes the way of its batch once more, with ledger reason `definition`; which version of a work is
stored does not change by that. Works whose landed records retention has removed are decided again from what is stored:
territories follow the new policies, fields and mentions stay as they were, and the warehouse notes how many
(`definition_partial`). It notes their corpus too: what its source still has is to be read again
(tasks/landing/undecided.py). The mart is counted anew at the end. A killed run is called again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection

from schemas import tables as t
from schemas.errors import LandingError
from schemas.reviewed import classifying_digest
from schemas.settings import Settings
from tasks.batches import batch as batches
from tasks.batches.batch import Batch
from tasks.batches.internal_batches import InternalBatch, close_batch
from tasks.batches.relocate import relocate_some
from tasks.countries.locate import Locator
from tasks.countries.reference import load_reference
from tasks.countries.registry import note_located, reference_folder
from tasks.landing.land import MANIFEST, WORKS, OpenLanding, read_landing
from tasks.landing.undecided import Undecided, corpus_of, note_undecided, read_undecided
from tasks.loading.ledger import next_moment
from tasks.loading.load import DEFINITION, load_works
from tasks.loading.verify import rebuild
from tasks.staging.derive import Deriver
from tasks.staging.workers import workers_for
from tasks.storage.definitions import (
    CLASSIFIED_BY,
    PARTIAL,
    begin_definitions,
    put_definitions,
    read_definitions,
)
from tasks.storage.warehouse import Warehouse, attach_arrow, detach_arrow, utc_now
from tasks.storage.workspace import Workspace
from tasks.validation.validate import Report

KIND = "definitions"
log = logging.getLogger("collab")
Ids = np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass
class Rederived:
    """What applying definitions did: records and works looked at, works changed, works that could not be classified
    anew, cells that differed per mart table, corpora that were not decided whole."""

    records: int
    changed: int
    partial: int
    cells: dict[str, int]
    undecided: list[Undecided]


def rederive(
    warehouse: Warehouse,
    settings: Settings,
    on_plan: Callable[[int], None] = lambda _: None,
    on_records: Callable[[int], None] = lambda _: None,
) -> Rederived:
    """Bring a warehouse to the definitions of this package; see the module.

    Args:
        on_plan: told how many landed records are to be looked at.
        on_records: told how many were parsed since the last call.

    Raises:
        GateStopped: a stop rule failed; batches before are loaded, call again after a fix.
    """
    with Workspace(settings.staging) as workspace, closing(workers_for(settings)) as workers:
        with warehouse.reading() as conn:
            noted = read_definitions(conn)
            folder = reference_folder(conn, settings, workspace)
            landings, lost = _landings(conn, settings)
        with warehouse.transaction() as conn:
            begin_definitions(conn, noted)
        replay = _Replay(warehouse, settings, workspace.folder, folder, utc_now())
        if noted.get(CLASSIFIED_BY) != classifying_digest():
            workers.provide(folder)
            deriver = Deriver(workers, on_records)
            on_plan(sum(records for _, records in landings))
            for landed, records in landings:
                with closing(landed):
                    replay.landing(landed, records, deriver)
        replay.rest()
        with warehouse.transaction() as conn:
            is_same_classes = noted.get(CLASSIFIED_BY) == classifying_digest()
            partial = int(noted.get(PARTIAL, 0)) if is_same_classes else replay.partial
            put_definitions(conn, partial)
            if not is_same_classes:
                note_undecided(conn, lost, next_moment(conn))
            undecided = read_undecided(conn)
            cells = rebuild(conn)
            note_located(conn)
    return Rederived(replay.records, replay.changed, partial, cells, undecided)


def _landings(conn: Connection, settings: Settings) -> tuple[list[tuple[OpenLanding, int]], set[str]]:
    """Landed windows that are still on disk, in the order of their loading, with how many of their records are
    loaded; and the corpora of which others had records."""
    of = t.batch.c
    loaded = (
        sa.select(of.source, of.landing_id, sa.func.max(of.end_record))
        .where(of.kind == WORKS, of.window_records > 0)
        .group_by(of.source, of.landing_id)
        .order_by(sa.func.min(of.finished_at))
    )
    found: list[tuple[OpenLanding, int]] = []
    lost: set[str | None] = set()
    for source, landing_id, records in conn.execute(loaded).tuples():
        folder = settings.landing / source / landing_id
        try:
            if not (folder / MANIFEST).exists():
                lost.add(corpus_of(source, landing_id))
                continue
            landed = OpenLanding(folder, read_landing(folder), settings.max_record_bytes)
        except LandingError as exc:  # what it held is decided from what is stored, and counted as partial
            log.warning("%s; its works keep their classification", exc)
            lost.add(corpus_of(source, landing_id))
        else:
            found.append((landed, records))
    return found, {corpus for corpus in lost if corpus is not None}


class _Replay:
    """Batches of landed records and of stored works on their way through the load, by other definitions."""

    def __init__(
        self, warehouse: Warehouse, settings: Settings, workspace: Path, reference: str | None, started: datetime
    ) -> None:
        self._warehouse, self._settings, self._workspace = warehouse, settings, workspace
        self._reference, self._started = reference, started
        self._classified: list[Ids] = []
        self.records = self.changed = self.partial = 0

    def landing(self, landed: OpenLanding, records: int, deriver: Deriver) -> None:
        """Send the loaded records of a landed window through again."""
        landing, size = landed.landing, self._settings.batch_works
        for first in range(0, records, size):
            batch = Batch(
                f"{KIND}/{self._started:%Y-%m-%dT%H:%M:%S.%f}/{landing.source}/{landing.landing_id}/{first:08d}",
                landing,
                landed.folder,
                first,
                min(first + size, records),
                utc_now(),
                self._reference,
            )
            folder = batches.stage(batch, landed, deriver, self._workspace, self._settings)
            report = batches.validate(folder)
            with self._warehouse.transaction() as conn:
                self._load(conn, batch, folder, report)

    def _load(self, conn: Connection, batch: Batch, folder: Path, report: Report) -> None:
        staged = batches.read_batch(folder, report)
        stage_of = {name: attach_arrow(conn, f"stage_{name}", data) for name, data in staged.items()}
        change = load_works(conn, stage_of, batch.batch_id, DEFINITION)
        version, seen = stage_of["version"].c, t.seen.c
        is_newest = sa.and_(
            version.work_id == seen.work_id,
            version.source_updated_at == seen.source_updated_at,
            version.tie_hash == seen.tie_hash,
        )
        newest = sa.select(version.work_id).join_from(stage_of["version"], t.seen, is_newest)
        self._classified.append(np.array(conn.scalars(newest).all(), np.int64))
        held = batches.hold_refused(conn, batch, staged, report, self._settings)
        counts = {**change.counts, "quarantined": held, "fetched": batch.end - batch.first}
        close_batch(conn, InternalBatch(batch.batch_id, KIND, batch.landing.window), counts, change, self._settings)
        detach_arrow(conn, [f"stage_{name}" for name in staged])
        self.records += counts["fetched"]
        self.changed += change.counts["new"] + change.counts["updated"]

    def rest(self) -> None:
        """Decide the stored works that no landed record stood for again, from what is stored."""
        with self._warehouse.reading() as conn:
            stored = np.array(conn.scalars(sa.select(t.work.c.work_id)).all(), np.int64)
        left = np.setdiff1d(stored, np.concatenate(self._classified) if self._classified else stored[:0])
        self.partial = len(left)
        locator = Locator(load_reference(self._reference))
        size = self._settings.batch_works
        for first in range(0, len(left), size):
            batch_id = f"{KIND}/{self._started:%Y-%m-%dT%H:%M:%S.%f}/stored/{first:08d}"
            with self._warehouse.transaction() as conn:
                batch = InternalBatch(batch_id, KIND, "stored works")
                some = left[first : first + size]
                self.changed += relocate_some(conn, some, locator, batch, self._settings, DEFINITION)
