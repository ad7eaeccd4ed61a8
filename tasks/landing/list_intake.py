"""A venue list on its way into the landing folder: one window, whole, as JSON lines."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from schemas import tables as t
from schemas.words import counted
from schemas.work_ids import FIRST_OF_LISTS
from tasks.landing.intake import UNBOUNDED, Expected, Place
from tasks.landing.land import WORKS, Incoming, Landing
from tasks.landing.list_files import ListFile
from tasks.landing.undecided import is_list_undecided
from tasks.sources import venue_list
from tasks.sources.venue_list import Brought
from tasks.storage.warehouse import utc_now

DIGITS = 16  # of the sha256, in the id of a landing
BLOCK = 1 << 16
GZIP_WINDOW = 31


@dataclass(frozen=True)
class ListWindow:
    """A list that was not loaded last: its files and the number of their lines."""

    corpus: str
    files: tuple[tuple[Brought, int], ...]

    @property
    def name(self) -> str:
        """Corpus and what was brought."""
        first = self.files[0][0].name
        return f"{self.corpus}/{first if len(self.files) == 1 else self.why}"

    @property
    def records(self) -> int:
        """Lines of all files."""
        return sum(lines for _, lines in self.files)

    @property
    def why(self) -> str:
        """How many files it is."""
        return counted(len(self.files), "file")

    @property
    def sha256(self) -> str:
        """Digest over names and digests of the files as they were brought; of a single file, its own."""
        if len(self.files) == 1:
            return self.files[0][0].sha256
        told = "".join(f"{file.sha256} {file.name}\n" for file, _ in self.files)
        return hashlib.sha256(told.encode()).hexdigest()


class ListIntake:
    """The list that the settings name, a file or a folder of files, landed as one.

    A landing is named by corpus, digest and how many lists of the corpus were loaded before. So the list that was
    loaded last is nothing new, a killed run goes on with its own landing, and a list that is brought again after
    another one counts again: the last one brought wins. A paper that a list does not hold stays, since lists come in
    parts.
    """

    source = venue_list.SOURCE
    retries = 3
    windows_stand_alone = False

    def __init__(self, place: Place) -> None:
        """Nothing is read yet."""
        self._place = place

    def plan(self) -> list[ListWindow]:
        """The list, if it is not the one of its corpus that was loaded last, by the definitions in force.

        Raises:
            SourceError: a file of it is missing, damaged or no list.
        """
        settings = self._place.settings
        brought = venue_list.bring(settings, self._place.workspace / "list")
        window = ListWindow(settings.venue_corpus, tuple((file, self._open(file).check()) for file in brought))
        loaded = self._loaded(window.corpus)
        with self._place.warehouse.reading() as conn:
            is_undecided = is_list_undecided(conn, window.corpus)
        is_last = bool(loaded) and _stem(window) == loaded[0].rpartition(".")[0]
        return [] if is_last and not is_undecided else [window]

    def estimate(self, windows: Sequence[ListWindow]) -> list[Expected]:
        """Lines; a list costs no calls."""
        return [Expected(window.name, window.why, window.records, 0) for window in windows]

    def land_works(self, window: ListWindow) -> Landing:
        """Write the lines of a list.

        Raises:
            SourceError: see ListFile.lines.
        """
        landing_id = f"{_stem(window)}.r{len(self._loaded(window.corpus))}"
        identity = Landing(
            *(landing_id, self.source, window.name, WORKS, ()),
            corpus=window.corpus,
            brought_at=self._now(),
        )
        incoming = (
            Incoming(f"{window.corpus}/{file.name}", _packed(self._open(file).lines()), None, lines)
            for file, lines in window.files
        )
        return self._place.land(identity, incoming, UNBOUNDED)

    def land_deletions(self) -> None:
        """What a list does not hold is not deleted."""

    def is_there(self) -> bool:
        """A list is there until reading it fails."""
        return True

    def describe(self) -> str:
        """A list costs nothing."""
        return ""

    def close(self) -> None:
        """Nothing is held open."""

    def _open(self, file: Brought) -> ListFile:
        settings = self._place.settings
        return ListFile(file, settings.max_record_bytes, settings.max_expansion)

    def _loaded(self, corpus: str) -> list[str]:
        """Ids of the landings of a corpus that are loaded whole, the last one first."""
        of = t.batch.c
        whole = sa.select(of.landing_id).where(
            of.source == self.source,
            of.landing_id.startswith(f"{corpus}.", autoescape=True),
            of.end_record == of.window_records,
        )
        with self._place.warehouse.reading() as conn:
            return list(conn.scalars(whole.order_by(of.finished_at.desc())))

    def _now(self) -> datetime:
        """Now, UTC, but after every version of a list there is: machines whose clocks differ write to one warehouse."""
        of = t.seen.c
        newest = sa.select(sa.func.max(of.source_updated_at)).where(of.work_id >= FIRST_OF_LISTS)
        with self._place.warehouse.reading() as conn:
            last: datetime | None = conn.scalar(newest)
        now = utc_now()
        return now if last is None else max(now, last + timedelta(microseconds=1))


def _stem(window: ListWindow) -> str:
    return f"{window.corpus}.{window.sha256[:DIGITS]}"


def _packed(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Lines compressed, in blocks."""
    packer = zlib.compressobj(1, zlib.DEFLATED, GZIP_WINDOW)
    for line in lines:
        if block := packer.compress(line):
            yield block
    yield packer.flush()
