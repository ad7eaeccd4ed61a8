"""What the parsers of all sources have in common: the work that they make of a record, how they mend a value, and how
they refuse a record.

Pure functions. Values that can be mended are mended and listed as repairs; what cannot be used raises `BadRecord` with
the path inside the record, and the record goes to quarantine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import blake2b
from typing import NamedTuple, TypeVar

import msgspec
from isal import isal_zlib

from schemas.identifiers import DOI

T = TypeVar("T")
CORPUS = "openalex"
EVIDENCE_LIMIT = 200
_CHECKSUM_BITS = 48
_MOST_LINKS = 2**15 - 1
_doi = re.compile(DOI)
_resolver = re.compile(r"\A(?:(?:(?:https?://)?(?:(?:dx|www)\.)?doi\.org/|doi:)\s*)+")
_control = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class BadRecord(Exception):
    """The record cannot be used: `rule` names what it broke, `path` where, `version` what it is if that can be told."""

    def __init__(
        self, stage: str, rule: str, reason: str, path: str | None = None, version: Version | None = None
    ) -> None:
        super().__init__(reason)
        self.stage, self.rule, self.reason, self.path, self.version = stage, rule, reason, path, version


class Repair(NamedTuple):
    """A value that was mended."""

    column: str
    rule: str
    before: str | None
    after: str | None


class Version(NamedTuple):
    """Identity and order of one version of a work."""

    work_id: int
    updated_at: datetime
    tie_hash: int


class Institution(NamedTuple):
    """A linked institution; `id` is null for institutions known by name only."""

    id: int | None
    ror: str | None
    name: str | None
    country: str | None
    type: str | None

    @property
    def is_known(self) -> bool:
        """Whether anything but a name is known of it; if not, it says no more than the string does."""
        return any((self.id, self.ror, self.country, self.type))


class Address(NamedTuple):
    """One raw affiliation string with the institutions linked to it; None: an institution that no string is tied to."""

    raw_string: str | None
    institutions: tuple[Institution, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Places:
    """Where an author works: addresses as printed, and institutions that no address is tied to.

    Authors whose record says so in the same bytes share one object, compared by identity: it is located once.
    """

    addresses: tuple[Address, ...]
    loose_institutions: tuple[Institution, ...]
    repairs: tuple[Repair, ...] = ()

    @property
    def is_linked(self) -> bool:
        """Whether an address has an institution: then loose institutions are evidence only."""
        return any(address.institutions for address in self.addresses)


class Author(msgspec.Struct, frozen=True, gc=False):
    """One author of a work."""

    author_id: int | None
    is_corresponding: bool
    places: Places


class ParsedWork(msgspec.Struct, gc=False):
    """A work in our terms, countries not yet decided."""

    version: Version
    doi: str | None
    title: str | None
    publication_date: date | None
    year: int | None
    type: str
    language: str | None
    venue: str | None
    is_retracted: bool
    cited_by_count: int
    authors: list[Author]
    authors_truncated: bool
    references: list[int]
    references_count: int
    repairs: list[Repair] = []
    corpus: str = CORPUS
    common: Places | None = None
    """Affiliations that could not be tied to authors: those of the work as a whole."""


def hash64(data: bytes) -> int:
    """BLAKE2b-64 as a signed integer, as the warehouse stores it."""
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little", signed=True)


def tie_hash(line: bytes) -> int:
    """Orders records of one `updated_date`, whatever their order of arrival: the one that links more institutions, then
    a checksum. Of two real records of one date one can hold all institutions and the other none.
    """
    line = line.strip()
    links = min(line.count(b"openalex.org/I"), _MOST_LINKS)
    return links << _CHECKSUM_BITS | (len(line) & 0xFFFF) << 32 | isal_zlib.crc32(line)


def clean(text: str, limit: int) -> str:
    """Text without control characters (PostgreSQL refuses NUL, terminals obey escapes), cut at `limit` characters."""
    text = text[:limit]
    return text if text.isprintable() else _control.sub(" ", text)


def bounded(text: str, limit: int, column: str, repairs: list[Repair]) -> str:
    """Text as `clean` makes it; a cut is a repair."""
    if len(text) > limit:
        repairs.append(
            Repair(
                column,
                "text_too_long",
                f"{clean(text, EVIDENCE_LIMIT)}... ({len(text)} characters)",
                f"first {limit} characters",
            )
        )
    return clean(text, limit)


def parse_doi(raw: str | None, repairs: list[Repair]) -> str | None:
    """DOI in lower case without the resolver's address or the word `doi:` before it; one of another shape is null, and
    a repair."""
    if not raw:
        return None
    doi = _resolver.sub("", raw.strip().lower())
    if _doi.fullmatch(doi) and _control.search(doi) is None:
        return doi
    repairs.append(Repair("work.doi", "doi_shape", clean(raw, EVIDENCE_LIMIT), None))
    return None


def decode(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw | bytes, path: str) -> T:
    """Decode a part of a record.

    Raises:
        BadRecord: not JSON, nested too deeply, or a value of another type than the contract says.
    """
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        reason, _, inside = str(exc).partition(" - at `")
        rule = "contract" if isinstance(exc, msgspec.ValidationError) else "json"
        raise BadRecord("parse", rule, reason, path + inside.rstrip("`").removeprefix("$")) from None
    except RecursionError:
        raise BadRecord("parse", "json_depth", "nested too deeply", path) from None
