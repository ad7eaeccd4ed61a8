"""Turns one line of a venue list into a typed work, or says exactly why it cannot. Pure functions.

Lists are made by people and scripts, each with its own habits (layouts: schemas/venue_list.py). Authors and
affiliations come as two lists; where these have the same length, affiliation k belongs to author k. Where they disagree
nobody knows whose they are: the affiliations stay with the work as a whole (`ParsedWork.common`), and every author is
unknown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from html.entities import name2codepoint

import msgspec

from schemas.fields import PaperSubject
from schemas.tables import STRING_LIMIT, TITLE_LIMIT
from schemas.venue_list import FRONT_MATTER, NOT_ACCEPTED, PLACEHOLDERS, RETRACTED, Paper, Slot, paper_decoder
from schemas.words import fold
from schemas.work_ids import list_id
from tasks.reading.parsed import (
    EVIDENCE_LIMIT,
    Address,
    Author,
    BadRecord,
    ParsedWork,
    Places,
    Repair,
    Version,
    bounded,
    clean,
    decode,
    parse_doi,
    tie_hash,
)

CONFERENCE_PAPER, PARATEXT = "conference-paper", "paratext"  # of schemas/data/work_types.csv: the second is not counted
MOST_AUTHORS = 10_000
NOWHERE = Places((), ())
Strings = tuple[str, ...]
"""Affiliations of one slot."""

_comma = re.compile(r"[,，、]")
_entity = re.compile(r"&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([A-Za-z][A-Za-z0-9]{1,8}));")
_MOST_ESCAPES = 3  # `&amp;amp;#x27;` was escaped by three programs in a row
_suffix = re.compile(r"(jr|sr|ii|iii|iv|phd|ph\.d|md)\.?", re.IGNORECASE)
_doi_in_address = re.compile(
    r"https?://(?!(?:(?:dx|www)\.)?doi\.org/)[^/\s]+/(?:\w+/)*(10\.\d{4,9}/[^\s?#]+)(?:[?#].*)?"
)
_year = re.compile(r"\s*(\d{1,9})(?:\.0*)?\s*")
_HEADER, _HEADER_END = b'{"venue_list":', b"}\t"


class _Kept(msgspec.Struct):
    """What stands before a line that the quarantine keeps; a tab is between them."""

    venue_list: str
    brought_at: datetime
    ordinal: int


@dataclass(frozen=True, slots=True)
class ListedPaper:
    """A paper of a list."""

    paper: Paper
    version: Version
    corpus: str

    @property
    def subject(self) -> PaperSubject | None:
        """None for papers that were not accepted."""
        paper = self.paper
        if NOT_ACCEPTED.match(fold(paper.status or "")):
            return None
        return PaperSubject(paper.title, _squeezed(paper.venue), paper.abstract)

    def parse(self) -> ParsedWork:
        """See parse_paper."""
        return parse_paper(self.paper, self.version, self.corpus)


@dataclass(frozen=True)
class ListReader:
    """Reads the lines of a list that was landed at `brought_at` (UTC).

    A list does not say when a paper changed. The version of a line counts as of the landing, one microsecond later for
    each line before it: the list brought last wins, and in a list the last line on a paper.
    """

    corpus: str
    brought_at: datetime

    def read(self, ordinal: int, raw: bytes) -> ListedPaper:
        """Outline of a line.

        Raises:
            BadRecord: no JSON, a value of another type than the layouts say, or nothing to identify the paper by.
        """
        paper = decode(paper_decoder, raw, "$")
        if paper.surplus:
            raise BadRecord("parse", "row_shape", f"{len(paper.surplus)} cells more than the header has columns", "$")
        updated_at = self.brought_at + timedelta(microseconds=ordinal)
        return ListedPaper(paper, Version(identify(self.corpus, paper), updated_at, tie_hash(raw)), self.corpus)

    def digest(self, raw: bytes) -> int:
        """See tie_hash."""
        return tie_hash(raw)

    def keep(self, ordinal: int, raw: bytes) -> bytes:
        """The line behind its list and its place in time."""
        return msgspec.json.encode(_Kept(self.corpus, self.brought_at, ordinal)) + b"\t" + raw


def is_kept_paper(raw: bytes) -> bool:
    """Whether a line of the quarantine is one of a list."""
    return raw.startswith(_HEADER)


def unwrapped(raw: bytes) -> tuple[ListReader, int, bytes]:
    """Reader, place and bytes of a line of a list that the quarantine kept: it is read as the version that it was."""
    header, _, line = raw.partition(_HEADER_END)
    kept = _kept_decoder.decode(header + b"}")
    return ListReader(kept.venue_list, kept.brought_at), kept.ordinal, line


_kept_decoder = msgspec.json.Decoder(_Kept)


def identify(corpus: str, paper: Paper) -> int:
    """Work id of a paper: from corpus, venue, year and the list's own id, or title and first author where it has none.

    Raises:
        BadRecord: venue or year is missing, or both the id and one of title and authors.
    """
    venue = fold(_squeezed(paper.venue))
    if not venue:
        raise BadRecord("parse", "venue_missing", "a paper without venue cannot be told from others", "$.venue")
    year = str(_year_of(paper))
    own = _squeezed(str(paper.id)) if paper.id is not None else ""
    if own:
        return list_id(corpus, venue, year, "id", own)
    first = next(iter(_names(paper, [])), "")
    title = _folded(paper.title)
    if not (title and first):
        reason = "without an id of its own, a paper is told from others by title and first author, and one is missing"
        raise BadRecord("parse", "identity_missing", reason, "$.id")
    return list_id(corpus, venue, year, "title", title, _folded(first))


def parse_paper(paper: Paper, version: Version, corpus: str) -> ParsedWork:
    """Everything of a paper that we store.

    Raises:
        BadRecord: more authors than any paper has.
    """
    repairs: list[Repair] = []
    names = _names(paper, repairs)
    slots = _slots(paper, repairs)
    names = _each_once(names, slots, repairs)
    if len(names) > MOST_AUTHORS:
        raise BadRecord("parse", "authors_implausible", f"{len(names)} authors", "$.authors")
    slots = _fitting(slots, names)
    is_tied = len(slots) == len(names)
    strings = tuple(dict.fromkeys(string for slot in slots for string in slot))
    if strings and len(names) == 1:
        slots, is_tied = [strings], True
    common = None
    if strings and not is_tied:
        common = places_of_slot(strings)
        differ = f"{len(names)} authors, {len(slots)} affiliations"
        repairs.append(Repair("work.is_unassigned", "affiliations_untied", differ, "true"))
    places = [places_of_slot(slot) for slot in slots] if is_tied else [NOWHERE] * len(names)
    for used in dict.fromkeys([*places, *([common] if common else [])]):
        repairs += used.repairs
    title = _squeezed(paper.title)
    return ParsedWork(
        version=version,
        doi=_doi_of(paper.doi, repairs),
        title=bounded(title, TITLE_LIMIT, "work.title", repairs) if title else None,
        publication_date=None,
        year=_year_of(paper),
        type=PARATEXT if FRONT_MATTER.fullmatch(fold(title)) else CONFERENCE_PAPER,
        language=None,
        venue=clean(_squeezed(paper.venue), TITLE_LIMIT),
        is_retracted=bool(RETRACTED.match(fold(paper.status or ""))),
        cited_by_count=0,
        authors=[Author(None, False, found) for found in places],
        authors_truncated=False,
        references=[],
        references_count=0,
        repairs=repairs,
        corpus=corpus,
        common=common,
    )


def _doi_of(raw: str | None, repairs: list[Repair]) -> str | None:
    """DOI as in parse_doi; one in a publisher's address (link.springer.com/chapter/10.1007/...) is taken."""
    found = _doi_in_address.fullmatch(raw.strip()) if raw else None
    if raw is None or found is None:
        return parse_doi(raw, repairs)
    repairs.append(Repair("work.doi", "doi_in_address", _shown(raw), _shown(found[1])))
    return parse_doi(found[1], repairs)


def _year_of(paper: Paper) -> int:
    match = _year.fullmatch(str(paper.year)) if paper.year is not None else None
    if match is None:
        shown = "no year" if paper.year is None else f"{clean(str(paper.year), EVIDENCE_LIMIT)!r} is not a year"
        raise BadRecord("parse", "year_shape", shown, "$.year")
    return int(match[1])


def _names(paper: Paper, repairs: list[Repair]) -> list[str]:
    """Names of the authors, in order; empty ones stay, since they may have an affiliation."""
    if isinstance(paper.authors, list):
        return [_squeezed(name) for name in paper.authors]
    text = _unescaped(paper.authors if paper.is_plain else paper.author, "authorship.position", repairs)
    if ";" in text or paper.is_plain:
        found = _split(text, ";")
        return found if found[-1:] != [""] else found[:-1]  # "King, Ada;" is closed by its separator
    parts: list[str] = []
    for part in _split(_comma.sub(",", text), ","):
        if parts and _suffix.fullmatch(part):
            parts[-1] += f", {part}"
        elif part:
            parts.append(part)
    if len(parts) > 1:
        repairs.append(Repair("authorship.position", "authors_by_comma", _shown(text), f"{len(parts)} authors"))
    return parts


def _slots(paper: Paper, repairs: list[Repair]) -> list[Strings]:
    """Affiliations slot by slot; lists are taken as they are, text is split."""
    if isinstance(paper.affiliations, list):
        written = [list(map(_squeezed, _listed(slot))) for slot in paper.affiliations]
    else:
        text = _unescaped(paper.affiliations if paper.is_plain else paper.aff, "affiliation.raw_string", repairs)
        written = [_split(slot, "+") for slot in _split(text, ";")]
    return [tuple(string for string in slot if _says_something(string, repairs)) for slot in written]


def _listed(slot: Slot) -> Sequence[str | None]:
    return slot if isinstance(slot, list) else [slot]


def _says_something(string: str, repairs: list[Repair]) -> bool:
    """Whether it is an affiliation: not empty, and no `n/a` or number in its place."""
    is_placeholder = bool(string) and (string.isdecimal() or fold(string) in PLACEHOLDERS)
    if is_placeholder:
        repairs.append(Repair("affiliation.raw_string", "affiliation_placeholder", _shown(string), None))
    return bool(string) and not is_placeholder


def _each_once(names: list[str], slots: list[Strings], repairs: list[Repair]) -> list[str]:
    """Names as they are if there is an affiliation for each. Else once where the whole list stands there twice (ICRA,
    IROS), and without empty ones. One name twice is two people of that name: most lists of two are."""
    if len(names) == len(slots):
        return names
    half, is_odd = divmod(len(names), 2)
    if half > 1 and not is_odd and names[:half] == names[half:]:
        written = _shown("; ".join(names))
        repairs.append(Repair("authorship.position", "authors_twice", written, f"{half} authors"))
        names = names[:half]
    if len(names) == len(slots) or all(names):
        return names
    named = [name for name in names if name]
    repairs.append(Repair("authorship.position", "authors_empty", f"{len(names)} authors", f"{len(named)} authors"))
    return named


def _fitting(slots: list[Strings], names: list[str]) -> list[Strings]:
    """Slots without the empty one that a closing separator makes; one empty slot for each author where there is no
    affiliation at all."""
    if len(slots) == len(names) + 1 and not slots[-1]:
        return slots[:-1]
    return slots if any(slots) else [()] * len(names)


@lru_cache(maxsize=20_000)
def places_of_slot(strings: Strings) -> Places:
    """Places of a slot; one object for all authors whose slot says the same, so that it is located once."""
    repairs: list[Repair] = []
    held = {bounded(string, STRING_LIMIT, "affiliation.raw_string", repairs) for string in strings}
    return Places(tuple(Address(text, ()) for text in sorted(held)), (), tuple(repairs))


def _split(text: str, separator: str) -> list[str]:
    """Parts of a text without surplus blanks; none of an empty one."""
    return [_squeezed(part) for part in text.split(separator)] if text else []


def _squeezed(text: str | None) -> str:
    return " ".join(text.split()) if text else ""


def _folded(text: str | None) -> str:
    """Compare form; of a text without letters or digits, the text itself."""
    squeezed = _squeezed(text)
    return fold(squeezed) or squeezed.casefold()


def _unescaped(text: str | None, column: str, repairs: list[Repair]) -> str:
    """Text with HTML entities resolved, before it is split at the semicolons that they end with."""
    text = text or ""
    if "&" not in text:
        return text
    found = text
    for _ in range(_MOST_ESCAPES):
        before, found = found, _entity.sub(_character, found)
        if found == before:
            break
    if found != text:
        first = max(0, text.index("&") - 20)
        repairs.append(Repair(column, "html_entity", *(_shown(some[first:]) for some in (text, found))))
    return found


def _shown(text: str) -> str:
    return clean(text, EVIDENCE_LIMIT)


def _character(match: re.Match[str]) -> str:
    """Character of an entity; what is none (the `&D;` in "R&D; Google") stays."""
    decimal, hexadecimal, name = match.groups()
    if name:
        return chr(name2codepoint[name]) if name in name2codepoint else "'" if name == "apos" else match[0]
    number = int(decimal) if decimal else int(hexadecimal, 16)
    is_character = 0x20 <= number < 0x110000 and not 0xD800 <= number < 0xE000
    return chr(number) if is_character else match[0]
