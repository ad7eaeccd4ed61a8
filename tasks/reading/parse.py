"""Turns one raw record of OpenAlex into a typed work (tasks/reading/parsed.py), or says exactly why it cannot.

Pure functions. `read_work` decodes the outline (enough to decide the scope), `parse_work` the rest.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import lru_cache

import msgspec

from schemas import openalex
from schemas.identifiers import AUTHOR_SENTINELS, INSTITUTION_SENTINEL, OPENALEX, OPENALEX_NUMBER, ROR
from schemas.places.territories import work_types
from schemas.tables import STRING_LIMIT, TITLE_LIMIT
from tasks.reading.parsed import (
    EVIDENCE_LIMIT,
    Address,
    Author,
    BadRecord,
    Institution,
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

CODE_LIMIT = 40

_QUOTED_WORK_PREFIX = f'"{OPENALEX}W'.encode()
_NUMBERS_END = 10**18  # ids have at most 18 digits
_work_id, _author_id, _institution_id = (
    re.compile(f"{re.escape(OPENALEX)}{letter}({OPENALEX_NUMBER})") for letter in "WAI"
)
_ror = re.compile(rf"https://ror\.org/({ROR})")


def read_work(line: bytes) -> openalex.Work:
    """Decode the outline of a record.

    Raises:
        BadRecord: not JSON, nested too deeply, or a field of another type than the contract says; with its version, if
            that much can be read.
    """
    try:
        return decode(openalex.work_decoder, line, "$")
    except BadRecord as bad:
        with suppress(BadRecord):
            bad.version = read_version(decode(openalex.identity_decoder, line, "$"), line)
        raise


def read_version(work: openalex.Work | openalex.Identity, line: bytes) -> Version:
    """Identity of a record: number, date of change (UTC) and tie-break.

    Raises:
        BadRecord: the id or the date has another shape than the contract says.
    """
    return Version(parse_work_id(work.id), parse_updated_date(work.updated_date), tie_hash(line))


def parse_work_id(identifier: str) -> int:
    """Number in an OpenAlex work id.

    Raises:
        BadRecord: it is not one.
    """
    return _number(_work_id, identifier, "work_id_shape", "$.id")


def parse_work(work: openalex.Work, version: Version) -> ParsedWork:
    """Everything of an outlined work that we store.

    Raises:
        BadRecord: authorships or references do not fit the contract.
    """
    repairs: list[Repair] = []
    authorships = decode(openalex.authorships_decoder, work.authorships, "$.authorships") or []
    references, references_count = _parse_references(bytes(work.referenced_works))
    authors = _parse_authors(authorships, repairs)
    title, venue = work.any_title, work.venue
    return ParsedWork(
        version=version,
        doi=parse_doi(work.doi, repairs),
        title=bounded(title, TITLE_LIMIT, "work.title", repairs) if title else None,
        publication_date=_parse_date(work.publication_date, repairs),
        year=work.publication_year,
        type=_parse_type(work.type, repairs),
        language=_code(work.language),
        venue=clean(venue, TITLE_LIMIT) if venue else None,
        is_retracted=_parse_flag(work.is_retracted, repairs),
        cited_by_count=work.cited_by_count or 0,
        authors=authors,
        authors_truncated=bool(work.is_authors_truncated) or (work.authors_count or 0) > len(authorships),
        references=references,
        references_count=references_count,
        repairs=repairs,
    )


def _parse_references(raw: bytes) -> tuple[list[int], int]:
    """Numbers of the cited works, sorted, each once, and how many entries the list has.

    Most ids of a record are here. Without address and quotation marks a list of good ids is a list of numbers; if it is
    not, or if something other than one address for each number was taken away, the ids are looked at one by one.
    """
    numerals = raw.replace(_QUOTED_WORK_PREFIX, b"").replace(b'"', b"")
    if not numerals.translate(None, b"0123456789,[]"):
        with suppress(msgspec.MsgspecError):
            numbers = openalex.numbers_decoder.decode(numerals)
            is_good = len(raw) - len(numerals) == len(numbers) * (len(_QUOTED_WORK_PREFIX) + 1)
            if is_good and (not numbers or (min(numbers) > 0 and max(numbers) < _NUMBERS_END)):
                return sorted(set(numbers)), len(numbers)
    identifiers = decode(openalex.references_decoder, raw, "$.referenced_works") or []
    path = "$.referenced_works[...]"
    found = {_number(_work_id, identifier, "reference_shape", path) for identifier in identifiers if identifier}
    return sorted(found), len(identifiers)


def _parse_authors(authorships: list[openalex.Authorship], repairs: list[Repair]) -> list[Author]:
    authors: list[Author] = []
    for item in authorships:
        try:
            authors.append(_parse_author(item, repairs))
        except BadRecord as bad:
            path = f"$.authorships[{len(authors)}]{bad.path}"
            raise BadRecord(bad.stage, bad.rule, bad.reason, path) from None
    return authors


def _parse_author(item: openalex.Authorship, repairs: list[Repair]) -> Author:
    places = _parse_places(
        bytes(item.institutions),
        bytes(item.affiliations),
        bytes(item.raw_affiliation_strings),
        item.raw_affiliation_string,
    )
    repairs += places.repairs
    author_id = _parse_author_id(item.author, repairs) if item.author and item.author.id else None
    return Author(author_id, bool(item.is_corresponding), places)


@lru_cache(maxsize=1_000)  # co-authors follow each other; ten times as many are seen again no more often
def _parse_places(raw_institutions: bytes, raw_affiliations: bytes, raw_strings: bytes, single: str | None) -> Places:
    repairs: list[Repair] = []
    institutions: dict[str, Institution] = {}
    for number, raw in enumerate(decode(openalex.institutions_decoder, raw_institutions, ".institutions") or ()):
        held = _parse_institution(raw, repairs)
        if held.is_known:
            institutions[raw.id or f"#{number}"] = held
    affiliations = decode(openalex.affiliations_decoder, raw_affiliations, ".affiliations") or ()
    linked: dict[str, dict[str, Institution]] = {}
    tied: set[str] = set()
    for affiliation in affiliations:
        if affiliation.raw_affiliation_string:
            printed = bounded(affiliation.raw_affiliation_string, STRING_LIMIT, "affiliation.raw_string", repairs)
            links = linked.setdefault(printed, {})
            for key in affiliation.institution_ids or ():
                if key:
                    found = institutions.get(key) or _parse_institution(openalex.Institution(id=key), repairs)
                    tied.add(key)
                    if found.is_known:
                        links[key] = found
    strings = decode(openalex.strings_decoder, raw_strings, ".raw_affiliation_strings")
    for text in [single] if strings is None else strings:
        if text and clean(text, STRING_LIMIT) not in linked:
            linked[bounded(text, STRING_LIMIT, "affiliation.raw_string", repairs)] = {}
    if not affiliations and len(linked) == 1:  # before 2023 there was one string, and the institutions were in it
        linked = dict.fromkeys(linked, institutions)
        tied = set(institutions)
    loose = [found for key, found in institutions.items() if key not in tied]
    addresses = tuple(
        Address(text, _ordered(links.values()))
        for text, links in sorted(
            linked.items()
        )  # the source lists them in any order, and order is no change of content
    )
    return Places(addresses, _ordered(loose), tuple(repairs))


def _ordered(institutions: Collection[Institution]) -> tuple[Institution, ...]:
    if len(institutions) < 2:
        return tuple(institutions)
    return tuple(sorted(institutions, key=lambda found: (found.id or 0, found.name or "")))


def _parse_author_id(author: openalex.Author, repairs: list[Repair]) -> int | None:
    number = _number(_author_id, author.id or "", "author_id_shape", ".author.id")
    if number in AUTHOR_SENTINELS:
        repairs.append(Repair("authorship.author_id", "author_sentinel", str(number), None))
        return None
    return number


def _parse_institution(raw: openalex.Institution, repairs: list[Repair]) -> Institution:
    number = None
    if raw.id == INSTITUTION_SENTINEL:
        repairs.append(Repair("affiliation.institution_id", "institution_sentinel", raw.id, None))
    elif raw.id:
        number = _number(_institution_id, raw.id, "institution_id_shape", ".institutions[...].id")
    ror = _ror.fullmatch(raw.ror) if raw.ror else None
    name = clean(raw.display_name, TITLE_LIMIT) if raw.display_name else None
    return Institution(number, ror[1] if ror else _code(raw.ror), name, _code(raw.country_code), _code(raw.type))


def _parse_date(raw: str | None, repairs: list[Repair]) -> date | None:
    if raw is None:
        return None
    try:
        return date.fromisoformat(raw)
    except ValueError:
        repairs.append(Repair("work.publication_date", "date_shape", clean(raw, EVIDENCE_LIMIT), None))
        return None


def _parse_type(raw: str | None, repairs: list[Repair]) -> str:
    raw = _code(raw)
    if raw is None:
        return "unknown"
    translated = work_types().crossref.get(raw)
    if translated is None or raw in work_types().known:
        return raw
    repairs.append(Repair("work.type", "type_crossref", raw, translated))
    return translated


def _parse_flag(raw: bool | None, repairs: list[Repair]) -> bool:
    if raw is None:
        repairs.append(Repair("work.is_retracted", "retraction_unknown", None, "false"))
    return bool(raw)


def _code(raw: str | None) -> str | None:
    return clean(raw, CODE_LIMIT) if raw else None


def _number(shape: re.Pattern[str], identifier: str, rule: str, path: str) -> int:
    match = shape.fullmatch(identifier)
    if match is None:
        raise BadRecord("parse", rule, f"{clean(identifier, EVIDENCE_LIMIT)!r} is not an id of this kind", path)
    return int(match[1])


def parse_updated_date(text: str) -> datetime:
    """UTC without zone.

    Raises:
        BadRecord: it is no date.
    """
    try:
        stamp = datetime.fromisoformat(text)
        # OpenAlex writes UTC without saying so
        return stamp.astimezone(UTC).replace(tzinfo=None) if stamp.tzinfo else stamp
    except (ValueError, OverflowError):
        reason = f"{clean(text, EVIDENCE_LIMIT)!r} is not a date"
        raise BadRecord("parse", "updated_date_shape", reason, "$.updated_date") from None
