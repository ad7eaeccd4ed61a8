"""How works come in from each source: plan windows, land one, land deletions.

What a source has to give follows from the warehouse; an intake writes to the landing folder and nowhere else.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import sqlalchemy as sa

from schemas import tables as t
from schemas.errors import SourceError
from schemas.settings import Settings
from tasks.landing.land import DELETIONS, WORKS, Incoming, Landing, land
from tasks.landing.undecided import forget_parts, undecided_parts
from tasks.sources import openalex_snapshot as snapshots
from tasks.storage.warehouse import Warehouse

UNBOUNDED = 1 << 40  # of what we compress ourselves; what was brought is bounded when it is read


@dataclass(frozen=True)
class Place:
    """Where an intake works: the warehouse that says what is known, and the folder of the run for what is not whole."""

    settings: Settings
    warehouse: Warehouse
    workspace: Path

    def land(self, identity: Landing, incoming: Any, max_expansion: int | None = None) -> Landing:
        """Put parts on disk; see land.py. The bound on what they unpack to is that of the settings, unless they
        were compressed by us."""
        limit = max_expansion or self.settings.max_expansion
        return land(self.settings.landing, self.workspace, identity, incoming, limit)

    def identify(self, source: str, window: str, kind: str, content: object) -> Landing:
        """Identity of a landing: window, digest of what it will hold, and how often that was loaded before.

        A run that was killed finds its own landing again; a window that changed meanwhile gets another.
        """
        stem = f"{window}.{hashlib.sha256(repr(content).encode()).hexdigest()[:8]}"
        return Landing(f"{stem}.r{self.times_loaded(source, stem)}", source, window, kind, ())

    def times_loaded(self, source: str, stem: str) -> int:
        """How many landings whose id begins with `stem` and a dot are loaded whole."""
        of = t.batch.c
        with self.warehouse.reading() as conn:
            return (
                conn.scalar(
                    sa.select(sa.func.count(of.landing_id.distinct())).where(
                        of.source == source,
                        of.landing_id.startswith(f"{stem}.", autoescape=True),
                        of.end_record == of.window_records,
                    )
                )
                or 0
            )

    def land_lines(self, identity: Landing, path: str, content: bytes, records: int | None) -> Landing:
        """Land lines that are in memory."""
        packed = gzip.compress(content, compresslevel=1, mtime=0)
        return self.land(identity, [Incoming(path, [packed], None, records)], UNBOUNDED)


class Window(Protocol):
    """What is landed as one."""

    @property
    def name(self) -> str:
        """Its name in ops.batch."""

    @property
    def records(self) -> int:
        """Records to be expected, as far as known."""

    @property
    def why(self) -> str:
        """Why it is asked for, in a word or two."""


class Intake(Protocol):
    """A source on its way into the landing folder."""

    source: str
    retries: int
    """How often a landing that the source did not answer is tried again as a whole."""
    windows_stand_alone: bool
    """Whether a window that fails leaves the others loadable, and what was deleted is asked for after them."""

    def plan(self) -> Sequence[Window]:
        """Windows of works that are still to be landed."""

    def estimate(self, windows: Sequence[Any]) -> list[Expected]:
        """What the windows will take. Asking may itself cost a little."""

    def land_works(self, window: Any) -> Landing:
        """Land a window."""

    def land_deletions(self) -> Landing | None:
        """Land deletions that were not applied yet, if there are any."""

    def is_there(self) -> bool:
        """Whether the source answers at all."""

    def describe(self) -> str:
        """What this run did cost, in a few words; empty if nothing."""

    def close(self) -> None:
        """Let go of what was opened."""


Opening = Callable[[Place], Intake]


class Expected(NamedTuple):
    """What a window is expected to take: works or records in it, and list calls (credits) to the source."""

    window: str
    why: str
    works: int
    calls: int


class SnapshotIntake:
    """An OpenAlex snapshot, partition by partition."""

    source = snapshots.SOURCE
    retries = 3
    windows_stand_alone = False

    def __init__(self, place: Place, until: date | None = None, *, is_rescan: bool = False) -> None:
        """Nothing is read yet.

        Args:
            until: newest partition date to take in.
            is_rescan: take every part that the manifest describes otherwise than it was loaded, or that was loaded
                before the definitions in force.
        """
        self._place, self._until, self._is_rescan = place, until, is_rescan
        self._opened: snapshots.Snapshot | None = None
        self._manifest: list[snapshots.Part] = []
        self._left: dict[str, int] = {}

    @property
    def _snapshot(self) -> snapshots.Snapshot:
        if self._opened is None:
            self._opened = snapshots.open_snapshot(self._place.settings)
        return self._opened

    def plan(self) -> list[snapshots.Window]:
        """Windows of partitions."""
        self._manifest = self._snapshot.read_manifest()
        of, size = t.part.c, self._place.settings.batch_works
        with self._place.warehouse.reading() as conn:
            loaded = conn.execute(sa.select(of.path, of.records, of.bytes).where(of.source == self.source))
            known = {path: (records, size_in_bytes) for path, records, size_in_bytes in loaded}
        records_of = {path: records for path, (records, _) in known.items()}
        if self._is_rescan:
            windows = snapshots.plan_rescan(self._manifest, self._decided(known), size)
        else:
            windows = snapshots.plan_windows(self._manifest, records_of, self._until, size)
        self._left = snapshots.left_after(self._manifest, records_of, windows)
        return windows

    def _decided(self, known: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
        """Those of the loaded parts that the definitions in force decided. Others that the snapshot does not hold any
        more cannot be read again, and nothing waits for them."""
        with self._place.warehouse.reading() as conn:
            undecided = undecided_parts(conn)
        if gone := undecided - {part.path for part in self._manifest}:
            with self._place.warehouse.transaction() as conn:
                forget_parts(conn, gone)
        return {path: size for path, size in known.items() if path not in undecided}

    def estimate(self, windows: Sequence[snapshots.Window]) -> list[Expected]:
        """Records according to the manifest; a snapshot costs no calls."""
        return [Expected(window.name, window.why, window.records, 0) for window in windows]

    def land_works(self, window: snapshots.Window) -> Landing:
        """Copy the parts of a window.

        Raises:
            SourceError: a part is not what the manifest says, or the manifest changed meanwhile.
        """
        identity = self._place.identify(self.source, window.name, WORKS, window.parts)
        # Kept with the parts too: a batch that was undone and is let in again is read from them alone.
        left = self._left[window.name]
        landing = self._place.land(
            msgspec.structs.replace(identity, snapshot_left=left),
            (
                Incoming(part.path, self._snapshot.root.blocks(self._snapshot.path_of(part)), part.bytes, part.records)
                for part in window.parts
            ),
        )
        if self._snapshot.read_manifest() != self._manifest:
            raise SourceError(
                "the snapshot was replaced while it was being read",
                "wait until it is complete, then run again: loaded windows are kept",
            )
        # Said anew also of a landing that is there already: a manifest that was mended must not be judged as it was.
        said = snapshots.volumes(self._manifest, window)._asdict()
        return msgspec.structs.replace(landing, **said, snapshot_left=left)

    def land_deletions(self) -> Landing | None:
        """Copy the cumulative list of deleted ids up to the night's date."""
        found = self._snapshot.read_deletions(self._until)
        if found is None or not found[1]:
            return None
        content, lines = found
        identity = self._place.identify(self.source, f"deletions-{self._until or 'all'}", DELETIONS, content)
        landing = self._place.land_lines(identity, snapshots.DELETED_IDS, content, lines)
        of = t.part.c
        with self._place.warehouse.reading() as conn:
            applied = conn.scalar(
                sa.select(of.sha256).where(of.source == self.source, of.path == snapshots.DELETED_IDS)
            )
        return None if applied == landing.parts[0].sha256 else landing

    def is_there(self) -> bool:
        """A snapshot is there until reading it fails."""
        return True

    def describe(self) -> str:
        """A snapshot costs nothing."""
        return ""

    def close(self) -> None:
        """Nothing is held open."""
