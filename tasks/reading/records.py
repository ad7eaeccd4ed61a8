"""What the way from a landed line to staged rows asks of a source: how to read its lines."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from schemas.fields import Subject
from tasks.reading.parsed import ParsedWork, Version, hash64


class Line(NamedTuple):
    """One raw record and where it was landed. `raw` is None for a record above the size limit, of which `beginning` is
    all that was kept."""

    stage_id: int
    landed_at: str
    raw: bytes | None
    beginning: bytes = b""


class Record(Protocol):
    """A line of which identity and scope can be told; the rest is read if it is in scope."""

    @property
    def version(self) -> Version:
        """Identity and order."""

    @property
    def subject(self) -> Subject | None:
        """What decides its fields; None: out of scope whatever the rules say."""

    def parse(self) -> ParsedWork:
        """Everything of it that we store.

        Raises:
            BadRecord: a part of it cannot be used.
        """


class Reader(Protocol):
    """Reads the lines of one landing. It is sent to the processes that parse, so it can be pickled."""

    def read(self, ordinal: int, raw: bytes) -> Record:
        """Outline of a line; `ordinal` is its place in the landing.

        Raises:
            BadRecord: not even its identity can be told.
        """

    def digest(self, raw: bytes) -> int:
        """What names a line whose identity cannot be told."""

    def keep(self, ordinal: int, raw: bytes) -> bytes:
        """The line with all that reading it again takes, for the quarantine."""


def unread_digest(line: Line, reader: Reader) -> int:
    """What tells a record of which no identity could be read from others, whichever landing it comes in."""
    return hash64(line.beginning) if line.raw is None else reader.digest(line.raw)


def unread_key(digest: int) -> str:
    """Key in quarantine of such a record; those of other records are ids of works."""
    return f"record-{digest & 0xFFFF_FFFF_FFFF_FFFF:016x}"
