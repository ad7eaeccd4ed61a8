"""The steps of one night, as plain methods: plan, land, parse and locate, validate, load, publish.

`flows/nightly.py` says in which order; each method also works alone, without Prefect. What a night has to do follows
from the warehouse: state lives nowhere else.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, closing
from datetime import date
from pathlib import Path

import sqlalchemy as sa
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random_exponential

from schemas import tables as t
from schemas.errors import ConnectionLost, SourceError
from schemas.settings import Settings
from tasks import batch as batches
from tasks import quarantine
from tasks.batch import Batch, Outcome
from tasks.derive import Deriver
from tasks.land import DELETIONS, WORKS, Incoming, Landing, land, prune
from tasks.ledger import unfinished_landings
from tasks.publish import Release, publish
from tasks.sources import openalex_snapshot as source
from tasks.validate import Report
from tasks.warehouse import Warehouse
from tasks.workers import workers_for
from tasks.workspace import Workspace

LONGEST_OUTAGE_SECONDS = 300
log = logging.getLogger("collab")


# Every step may run twice: what was committed is seen, what was not is rolled back.
reconnecting = retry(
    retry=retry_if_exception_type(ConnectionLost),
    stop=stop_after_delay(LONGEST_OUTAGE_SECONDS),
    wait=wait_random_exponential(multiplier=0.5, max=30),
    before_sleep=lambda state: log.warning("%s; trying again", state.outcome and state.outcome.exception()),
    reraise=True,
)


class Night(AbstractContextManager["Night"]):
    """An open warehouse, a source, and what is needed to bring the one up to date with the other."""

    def __init__(
        self, settings: Settings, *, until: date | None = None, on_records: Callable[[int], None] = lambda _: None
    ) -> None:
        """Open the warehouse and clear away what a killed run left behind.

        Args:
            until: newest date of the source to take in.
            on_records: told how many records have been parsed and located since the last call.

        Raises:
            UsageError: the workers that the settings name cannot be reached.
            WarehouseError: see Warehouse.open.
        """
        self.settings = settings
        self.until = until
        with ExitStack() as opened:  # closes what was opened if the next fails
            self.warehouse = opened.enter_context(Warehouse.open(settings))
            self._workspace = opened.enter_context(Workspace(settings.staging))
            self._workers = opened.enter_context(closing(workers_for(settings)))
            self._opened = opened.pop_all()
        self._deriver = Deriver(self._workers, on_records)
        self._background = ThreadPoolExecutor(1, "derive-ahead")
        self._ahead: tuple[str, Future[Path]] | None = None
        self._snapshot: source.Snapshot | None = None
        self._manifest: list[source.Part] = []

    def __exit__(self, *exc: object) -> None:
        self._workers.close()  # first: what derives ahead waits for them
        self._background.shutdown(cancel_futures=True)
        self._opened.close()

    @property
    def snapshot(self) -> source.Snapshot:
        """The snapshot that the settings name, opened when it is first needed."""
        if self._snapshot is None:
            self._snapshot = source.open_snapshot(self.settings)
        return self._snapshot

    @reconnecting
    def plan(self) -> list[source.Window]:
        """Windows of works that are still to be landed."""
        self._manifest = self.snapshot.read_manifest()
        with self.warehouse.reading() as conn:
            loaded = sa.select(t.part.c.path, t.part.c.records).where(t.part.c.source == source.SOURCE)
            known = dict(conn.execute(loaded).tuples().all())
        return source.plan_windows(self._manifest, known, self.until, self.settings.batch_works)

    def land_works(self, window: source.Window) -> Landing:
        """Copy the parts of a window.

        Raises:
            SourceError: a part is not what the manifest says, or the manifest changed meanwhile.
        """
        identity = self._identify(window.name, WORKS, window.parts)
        incoming = (
            Incoming(part.path, self.snapshot.root.blocks(self.snapshot.path_of(part)), part.bytes, part.records)
            for part in window.parts
        )
        landing = land(self.settings.landing, self._workspace.folder, identity, incoming, self.settings.max_expansion)
        if self.snapshot.read_manifest() != self._manifest:
            raise SourceError(
                "the snapshot was replaced while it was being read",
                "wait until it is complete, then run again: loaded windows are kept",
            )
        return landing

    @reconnecting
    def land_deletions(self) -> Landing | None:
        """Copy the cumulative list of deleted ids up to the night's date; None if the snapshot has none, or none
        that was not applied already."""
        found = self.snapshot.read_deletions(self.until)
        if found is None or not found[1]:
            return None
        content, lines = found
        identity = self._identify(f"deletions-{self.until or 'all'}", DELETIONS, content)
        packed = gzip.compress(content, compresslevel=1, mtime=0)
        landing = land(
            self.settings.landing,
            self._workspace.folder,
            identity,
            [Incoming(source.DELETED_IDS, [packed], None, lines)],
            self.settings.max_expansion,
        )
        with self.warehouse.reading() as conn:
            applied = conn.scalar(
                sa.select(t.part.c.sha256).where(t.part.c.source == source.SOURCE, t.part.c.path == source.DELETED_IDS)
            )
        return None if applied == landing.parts[0].sha256 else landing

    @reconnecting
    def land_quarantine(self) -> Landing | None:
        """Copy the open records of the quarantine, to send them the way of every record again."""
        with self.warehouse.reading() as conn:
            raws = quarantine.raw_of_open_records(conn)
        if not raws:
            return None
        identity = self._identify("retry", WORKS, raws, origin=quarantine.SOURCE)
        content = b"".join(raw.rstrip(b"\n") + b"\n" for raw in raws)
        packed = gzip.compress(content, compresslevel=1, mtime=0)
        return land(
            self.settings.landing,
            self._workspace.folder,
            identity,
            [Incoming("open-records", [packed], None, None)],
            self.settings.max_expansion,
        )

    @reconnecting
    def batches(self, landing: Landing) -> list[Batch]:
        """Batches of a landing that are not committed yet."""
        with self.warehouse.reading() as conn:
            loaded = batches.loaded_records(conn, landing)
        folder = self.settings.landing / landing.source / landing.landing_id
        return list(batches.batches_of(landing, folder, loaded, self.settings.batch_works))

    def derive(self, batch: Batch, following: Batch | None = None) -> Path:
        """Parse and locate a batch; returns its staging folder.

        With more than one worker the `following` batch is begun at once, so that the workers are busy while this
        one is validated and loaded.
        """
        if self._ahead is not None and self._ahead[0] != batch.batch_id:
            wait([self._ahead[1]])  # begun for a batch that another run took in
            self._ahead = None
        if self._ahead is not None:
            folder = self._ahead[1].result()
        else:
            folder = batches.stage(batch, self._deriver, self._workspace.folder, self.settings)
        self._ahead = None
        if following is not None and self._workers.count > 1:
            begun = self._background.submit(
                batches.stage, following, self._deriver, self._workspace.folder, self.settings
            )
            self._ahead = following.batch_id, begun
        return folder

    def validate(self, folder: Path) -> Report:
        """Hold a staged batch against the record rules."""
        return batches.validate(folder)

    def load(self, batch: Batch, folder: Path, report: Report) -> Outcome | None:
        """Commit a batch, or nothing; None if another run took these records in meanwhile, in other batches."""
        try:
            return self._load(batch, folder, report)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @reconnecting
    def _load(self, batch: Batch, folder: Path, report: Report) -> Outcome | None:
        return batches.load(self.warehouse, batch, folder, report, self.settings)

    @reconnecting
    def publish(self) -> Release | None:
        """Publish what changed since the last release; None if that is nothing."""
        release = publish(self.warehouse, self.settings)
        with self.warehouse.reading() as conn:
            unfinished = set(conn.scalars(unfinished_landings()))
        prune(self.settings.landing, unfinished, self.settings.keep_landing)
        return release

    @reconnecting
    def _identify(self, window: str, kind: str, content: object, origin: str = source.SOURCE) -> Landing:
        """Identity of a landing: window, digest of what it will hold, and how often that was loaded before.

        A run that was killed finds its own landing again; a window that changed meanwhile gets another.
        """
        digest = hashlib.sha256(repr(content).encode()).hexdigest()[:8]
        of = t.batch.c
        with self.warehouse.reading() as conn:
            loaded = conn.scalar(
                sa.select(sa.func.count(of.landing_id.distinct())).where(
                    of.source == origin,
                    of.landing_id.startswith(f"{window}.{digest}.", autoescape=True),
                    of.end_record == of.window_records,
                )
            )
        return Landing(f"{window}.{digest}.r{loaded}", origin, window, kind, False, ())
