"""Which reader reads a landing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from schemas import openalex
from schemas.errors import LandingError
from schemas.fields import WorkSubject
from tasks.landing.land import Landing
from tasks.reading import quarantine
from tasks.reading.parse import parse_work, read_version, read_work
from tasks.reading.parsed import ParsedWork, Version, tie_hash
from tasks.reading.records import Reader, Record
from tasks.reading.venue_papers import ListReader, is_kept_paper, unwrapped
from tasks.sources import venue_list


@dataclass(frozen=True, slots=True)
class OpenAlexRecord:
    """A work of OpenAlex."""

    work: openalex.Work
    version: Version

    @property
    def subject(self) -> WorkSubject | None:
        """None for works outside the core corpus."""
        return None if self.work.is_xpac else WorkSubject(self.work)

    def parse(self) -> ParsedWork:
        """See parse_work."""
        return parse_work(self.work, self.version)


@dataclass(frozen=True)
class OpenAlexReader:
    """Reads works of OpenAlex."""

    def read(self, ordinal: int, raw: bytes) -> OpenAlexRecord:
        """See read_work and read_version."""
        del ordinal
        work = read_work(raw)
        return OpenAlexRecord(work, read_version(work, raw))

    def digest(self, raw: bytes) -> int:
        """See tie_hash."""
        return tie_hash(raw)

    def keep(self, ordinal: int, raw: bytes) -> bytes:
        """A work says all of itself."""
        del ordinal
        return raw


@dataclass(frozen=True)
class KeptReader:
    """Reads what the quarantine kept: works of OpenAlex, and papers of lists behind a header that says of which."""

    def read(self, ordinal: int, raw: bytes) -> Record:
        """By what the line begins with."""
        reader, ordinal, line = _kept(ordinal, raw)
        return reader.read(ordinal, line)

    def digest(self, raw: bytes) -> int:
        """Digest of the line as it was fetched."""
        reader, _, line = _kept(0, raw)
        return reader.digest(line)

    def keep(self, ordinal: int, raw: bytes) -> bytes:
        """It is kept already."""
        del ordinal
        return raw


def _kept(ordinal: int, raw: bytes) -> tuple[Reader, int, bytes]:
    return unwrapped(raw) if is_kept_paper(raw) else (OpenAlexReader(), ordinal, raw)


def reader_of(landing: Landing) -> Reader:
    """The reader for the lines of a landing; sources that are not named here bring works of OpenAlex."""
    make = _READERS.get(landing.source)
    return make(landing) if make else OpenAlexReader()


def _list_reader(landing: Landing) -> ListReader:
    if landing.brought_at is None:
        raise LandingError(f"landing {landing.landing_id} does not say when it was brought", "remove it and run again")
    return ListReader(landing.corpus, landing.brought_at)


_READERS: dict[str, Callable[[Landing], Reader]] = {
    venue_list.SOURCE: _list_reader,
    quarantine.SOURCE: lambda _: KeptReader(),
}
