"""The steps of one night, as plain methods: plan, land, parse and locate, validate, load, publish.

`run_night` in flows/steps.py says in which order; each method also works alone, without Prefect. What a night has to do
follows from the warehouse: state lives nowhere else.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path

from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random_exponential

from schemas.errors import ConnectionLost
from schemas.settings import Settings
from tasks.batches import batch as batches
from tasks.batches.batch import Batch, Outcome
from tasks.countries.registry import reference_folder
from tasks.landing.intake import Intake, Opening, Place, SnapshotIntake, Window
from tasks.landing.land import DELETIONS, WORKS, Landing, OpenLanding
from tasks.landing.undecided import settle
from tasks.memory import few_collections
from tasks.reading import quarantine
from tasks.releases.publish import Release, publish
from tasks.staging.derive import CHUNK_RECORDS, Deriver
from tasks.staging.workers import workers_for
from tasks.storage.warehouse import Warehouse
from tasks.storage.workspace import Workspace
from tasks.upkeep.retention import Pruned, prune_landing
from tasks.validation.validate import Report

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
        self,
        settings: Settings,
        open_intake: Opening = SnapshotIntake,
        *,
        on_records: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Open the warehouse and clear away what a killed run left behind.

        Args:
            open_intake: makes the source when it is first needed.
            on_records: told how many records have been parsed and located since the last call.

        Raises:
            UsageError: the workers that the settings name cannot be reached.
            WarehouseError: see Warehouse.open.
        """
        self.settings = settings
        with ExitStack() as opened:  # closes what was opened if the next fails
            self.warehouse = opened.enter_context(Warehouse.open(settings))
            self._workspace = opened.enter_context(Workspace(settings.staging))
            self._workers = opened.enter_context(closing(workers_for(settings)))
            opened.enter_context(few_collections())
            self._opened = opened.pop_all()
        self._deriver = Deriver(self._workers, on_records)
        self._background = ThreadPoolExecutor(1, "derive-ahead")
        self._landed: OpenLanding | None = None
        self._ahead: tuple[tuple[str, str | None], Future[Path]] | None = None
        self._open_intake = open_intake
        self._intake: Intake | None = None
        self.run_id: str | None = None  # noted on every batch, where the run is listed in ops.run
        self.command: str | None = None  # that starts the same run again, where one did

    @property
    def folder(self) -> Path:
        """Folder of this run in staging, locked while it lives."""
        return self._workspace.folder

    def __exit__(self, *exc: object) -> None:
        self._workers.close()  # first: what derives ahead waits for them
        self._background.shutdown(cancel_futures=True)
        if self._landed is not None:
            self._landed.close()
        self._opened.close()

    @property
    def intake(self) -> Intake:
        """The source, opened when it is first needed."""
        if self._intake is None:
            self._intake = self._open_intake(Place(self.settings, self.warehouse, self._workspace.folder))
            self._opened.callback(self._intake.close)
        return self._intake

    @reconnecting
    def plan(self) -> Sequence[Window]:
        """Windows of works that are still to be landed."""
        return self.intake.plan()

    @reconnecting
    def land_works(self, window: Window) -> Landing:
        """Put a window on disk, raw.

        Raises:
            SourceError: the source is not there, or contradicts itself.
            BudgetExhausted: its budget is used up; what was fetched is kept.
        """
        if window.records > CHUNK_RECORDS:
            self._workers.prepare()
        return self.intake.land_works(window)

    @reconnecting
    def land_deletions(self) -> Landing | None:
        """Put on disk which works the source has deleted; None if there are none that were not applied already."""
        return self.intake.land_deletions()

    @reconnecting
    def land_quarantine(self, kind: str) -> Landing | None:
        """Copy the open records of the quarantine that came as works, or as deletions, to send them the way of every
        record again; None if there are none."""
        with self.warehouse.reading() as conn:
            kept = quarantine.raw_of_open_records(conn)
        raws = [raw for came_as, raw in kept if (came_as == DELETIONS) == (kind == DELETIONS)]
        if not raws:
            return None
        place = Place(self.settings, self.warehouse, self._workspace.folder)
        content = b"".join(raw.rstrip(b"\n") + b"\n" for raw in raws)
        window = "retry" if kind == WORKS else f"retry-{kind}"
        return place.land_lines(place.identify(quarantine.SOURCE, window, kind, raws), "open-records", content, None)

    @reconnecting
    def batches_left(self, landing: Landing) -> list[Batch]:
        """Batches of a landing that are not committed yet."""
        with self.warehouse.reading() as conn:
            loaded = batches.loaded_records(conn, landing)
            reference = reference_folder(conn, self.settings, self._workspace)
        self._workers.provide(reference)
        folder = self.settings.landing / landing.source / landing.landing_id
        return list(batches.batches_of(landing, folder, loaded, self.settings.batch_works, reference, self.run_id))

    @property
    def derives_ahead(self) -> bool:
        """Whether there are workers that can be busy while a batch is loaded."""
        return self._workers.count > 1

    def derive(self, batch: Batch, following: Batch | None = None) -> Path:
        """Parse and locate a batch; returns its staging folder.

        Where that pays (`derives_ahead`), the `following` batch is begun at once, so that the workers are busy while
        this one is validated and loaded.
        """
        if self._ahead is not None and self._ahead[0] != (batch.batch_id, batch.reference):
            wait([self._ahead[1]])  # begun for a batch that another run took in, or by other reference data
            self._ahead = None
        folder = self._stage(batch) if self._ahead is None else self._ahead[1].result()
        self._ahead = None
        if following is not None and self.derives_ahead:
            self._ahead = (following.batch_id, following.reference), self._background.submit(self._stage, following)
        return folder

    def _stage(self, batch: Batch) -> Path:
        """Parse and locate a batch, here or in the background, never in both; its landing stays open for the next."""
        if self._landed is None or self._landed.folder != batch.folder:
            if self._landed is not None:
                self._landed.close()
            self._landed = OpenLanding(batch.folder, batch.landing, self.settings.max_record_bytes)
        return batches.stage(batch, self._landed, self._deriver, self._workspace.folder, self.settings)

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
        return batches.load(self.warehouse, batch, folder, report, self.settings, self.command)

    @reconnecting
    def publish(self) -> Release | None:
        """Publish what changed since the last release; None if that is nothing."""
        with self.warehouse.transaction() as conn:
            settle(conn)
        release = publish(self.warehouse, self.settings)
        with self.warehouse.transaction("pruned") as conn:  # alone: a run beside this one keeps what it replaces
            prune_landing(conn, self.settings, Pruned())
        return release
