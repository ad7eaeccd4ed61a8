"""Decides the countries of every affiliation of a work, with the proof. Pure functions, no network.

Per address and linked institution the first that applies: `override`, `string_over_institution`,
`institution`, `string`, `ror_name`, `none`. What a string names is read by addresses.py, organisations are found by
ror_index.py, and the work is credited by shares.py.

The string wins over a linked institution that it contradicts if it names a place (not only an organisation) and
- the institution is a company: laboratories abroad are linked to headquarters (trap T10); or
- it is a supranational body: the site counts (trap T14); or
- the place is a territory of the state that the institution is coded under, Hong Kong under CN (trap T8); or
- no other institution linked to the string explains the place: "ANDRA, France" linked to an Australian club (trap T8).
A city, state or organisation in the string that is in the institution's country speaks for it: then, and otherwise, the
institution stays, with less confidence. Every contradiction is marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec

from schemas.places.evidence import AGREED, DISPUTED, EXPLICIT, RULES, Evidence
from schemas.places.territories import (
    UNKNOWN,
    code_aliases,
    fold_address,
    historical_codes,
    named_before,
    supranational,
    territory_names,
)
from schemas.tables import COUNTRY_SOURCES, SECTOR_BITS, UNKNOWN_SECTOR
from tasks.countries.addresses import Named, places_in, read_addresses
from tasks.countries.reference import Reference
from tasks.countries.shares import Credit, Part, Sectors, credit, weights_of
from tasks.reading.parsed import Address, BadRecord, Institution, ParsedWork, Places, Repair, hash64

COMPANY = "company"
_ORDER = COUNTRY_SOURCES.index
_OVERRIDES = frozenset({Evidence.OVERRIDE_STRING, Evidence.OVERRIDE_INSTITUTION})
_encode = msgspec.msgpack.Encoder().encode


class Decision(NamedTuple):
    """A country and why."""

    country: str
    rule: Evidence
    words: str | None
    confidence: int

    @property
    def source(self) -> str:
        """The step of the order that decided."""
        return RULES[self.rule].source


class Row(NamedTuple):
    """Evidence for one author: a raw string, an institution, and the country decided from them. Columns of
    core.affiliation from `seq` on."""

    seq: int
    unit: int | None
    institution_id: int | None
    ror: str | None
    institution_type: str | None
    raw_string: str | None
    institution_country: str | None
    country: str
    country_source: str
    is_conflict: bool
    rule: str
    evidence: str | None
    confidence: int


class LocatedPlaces(NamedTuple):
    """Countries of one author's places."""

    rows: tuple[Row, ...]
    part: Part
    institutions: tuple[tuple[Institution, int], ...]
    """Linked institutions, each with the digest of its description."""
    repairs: tuple[Repair, ...]
    digest: int
    """Digest of the rows."""
    source: str
    """First source, in their order, that gives a row a country; none if no row has one."""
    conflicts: int
    """Rows in which string and institution contradict."""


class Located(NamedTuple):
    """A work's evidence, author by author, and the credit that follows from it."""

    authors: list[LocatedPlaces]
    credit: Credit
    of_work: tuple[LocatedPlaces, ...] = ()
    """Places that could not be tied to authors, if there are any."""

    def evidence(self) -> list[tuple[str, int, int]]:
        """(source, authors, conflicts): columns of core.work_evidence from `country_source` on."""
        found: dict[str, list[int]] = {}
        for author in self.authors:
            counts = found.setdefault(author.source, [0, 0])
            counts[0] += 1
            counts[1] += author.conflicts
        found = found or {"none": [0, 0]}  # a work without authors rests on nothing too
        return [(source, found[source][0], found[source][1]) for source in COUNTRY_SOURCES if source in found]


def credited(
    authors: list[LocatedPlaces], corresponding: Sequence[int], of_work: tuple[LocatedPlaces, ...], *, is_cut: bool
) -> Located:
    """A work with its credit (tasks/countries/shares.py); `is_cut`: the source did not list all authors."""
    parts = tuple([author.part for author in authors])
    unassigned = frozenset(row.country for found in of_work for row in found.rows) - {UNKNOWN}
    is_short = is_cut or not authors
    return Located(authors, credit(parts, tuple(corresponding), is_cut=is_short, unassigned=unassigned), of_work)


@lru_cache(maxsize=4_096)
def country_of_code(code: str, year: int | None) -> str:
    """Active code for a country code as found in a record: aliases and historical codes are translated, anything else
    returned as it is.

    Raises:
        BadRecord: a withdrawn code that has no single successor, or is used after its time.
    """
    upper = code.strip().upper()
    if upper in territory_names():
        return upper
    if alias := code_aliases().get(upper):
        return alias
    if past := historical_codes().get(upper):
        if past.successor and (year or 0) <= past.until:
            return past.successor
        raise BadRecord(
            "locate",
            "historical_code",
            f"country code {upper} was withdrawn and cannot be mapped for {year}",
            "$.authorships",
        )
    return upper


class Locator:
    """Decides by the rules of the package and by one state of the reference data.

    What an author's record says about places is decided once: co-authors share it.
    """

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self._undated = lru_cache(maxsize=1_000)(self._locate_undated)

    def locate(self, work: ParsedWork) -> Located:
        """Countries of every affiliation of a work, and its shares under every policy.

        Raises:
            BadRecord: an institution carries a withdrawn country code that cannot be mapped.
        """
        authors = [
            self._undated(author.places) or self.locate_places(author.places, work.year) for author in work.authors
        ]
        of_work = (self.locate_places(work.common, work.year),) if work.common else ()
        for found in (*authors, *of_work):
            work.repairs += found.repairs
        leads = [at for at, author in enumerate(work.authors, start=1) if author.is_corresponding]
        return credited(authors, leads, of_work, is_cut=work.authors_truncated)

    def locate_string(self, raw: str) -> list[Decision]:
        """What a string says on its own."""
        return self._decide(None, None, set(), raw, fold_address(raw), read_addresses(raw))

    def _locate_undated(self, places: Places) -> LocatedPlaces | None:
        """Countries of places that do not depend on the year; None if they do, because a withdrawn code is among
        them."""
        held = [institution for address in places.addresses for institution in address.institutions]
        if any((it.country or "").strip().upper() in historical_codes() for it in (*held, *places.loose_institutions)):
            return None
        return self.locate_places(places, None)

    def locate_places(self, places: Places, year: int | None) -> LocatedPlaces:
        """Countries of one author's places.

        Raises:
            BadRecord: see locate.
        """
        strings_count = places.is_linked or not places.loose_institutions
        rows: list[Row] = []
        numbers: dict[str, int] = {}
        repairs: list[Repair] = []
        found: dict[Institution, None] = {}
        for address in places.addresses:
            folded = fold_address(address.raw_string)
            unit = numbers.setdefault(folded, len(numbers) + 1) if strings_count else None
            self._add(address, folded, unit, year, rows, repairs)
            found |= dict.fromkeys(it for it in address.institutions if it.id)
        for number, institution in enumerate(places.loose_institutions, start=1):
            alone = Address(None, (institution,))
            self._add(alone, "", None if places.is_linked else number, year, rows, repairs)
            if institution.id:
                found[institution] = None
        units: dict[int, set[str]] = {}
        sources: set[str] = set()
        conflicts = 0
        for row in rows:
            conflicts += row.is_conflict
            if row.unit is not None:
                units.setdefault(row.unit, set()).add(row.country)
                if row.country != UNKNOWN:
                    sources.add(row.country_source)
        return LocatedPlaces(
            rows=tuple(rows),
            part=Part(weights_of(units), _sectors_of(rows, units)),
            institutions=tuple([(institution, hash64(_encode(institution))) for institution in found]),
            repairs=tuple(repairs),
            digest=hash64(_encode(rows)),
            source=min(sources, key=_ORDER, default="none"),
            conflicts=conflicts,
        )

    def _add(
        self,
        address: Address,
        folded: str,
        unit: int | None,
        year: int | None,
        rows: list[Row],
        repairs: list[Repair],
    ) -> None:
        """Rows of an address: one for each institution linked to it, several where the string alone names several
        countries, and one for each further address in it that no institution stands for."""
        raw = address.raw_string
        named = read_addresses(raw) if raw else ()
        linked = [(institution, self._given(institution, year, repairs)) for institution in address.institutions]
        decided: list[Decision] = []
        for at, (institution, given) in enumerate(linked or [(None, None)]):
            others = {country for other, (_, country) in enumerate(linked) if other != at and country}
            is_conflict = _contradicts(given, named)
            for decision in self._decide(institution, given, others, raw, folded, named):
                rows.append(_row(len(rows) + 1, unit, institution, raw, given, decision, is_conflict))
                decided.append(decision)
        if linked and not any(one.rule in _OVERRIDES for one in decided):
            for one in named:
                if one.rule in EXPLICIT and not any(_agree(decision.country, one.country) for decision in decided):
                    rows.append(_row(len(rows) + 1, unit, None, raw, None, _said(one), False))

    @staticmethod
    def _given(institution: Institution, year: int | None, repairs: list[Repair]) -> str | None:
        """Country of an institution as the record has it, its code mended."""
        code = institution.country
        given = country_of_code(code, year) if code else None
        if code != given:
            repairs.append(Repair("affiliation.institution_country", "country_alias", code, given))
        return given

    def _decide(
        self,
        institution: Institution | None,
        given: str | None,
        others: set[str],
        raw: str | None,
        folded: str,
        named: tuple[Named, ...],
    ) -> list[Decision]:
        """Countries of one address and institution; several only where the string alone decides."""
        if override := self.reference.override(institution.id if institution else None, _ror_of(institution), folded):
            rule = Evidence.OVERRIDE_STRING if override.kind == "string" else Evidence.OVERRIDE_INSTITUTION
            return [Decision(override.country, rule, override.key, RULES[rule].confidence)]
        registered = None if given or institution is None else self.reference.country_of_ror(institution.ror)
        country = given or registered
        if country:
            rule = Evidence.RECORD if given else Evidence.ROR_RECORD
            words = None if given or institution is None else institution.ror
            if not _contradicts(country, named):
                agrees = any(_agree(country, one.country) for one in named)
                return [Decision(country, rule, words, AGREED if agrees else RULES[rule].confidence)]
            winner = _string_wins(institution, country, others, raw or "", named)
            if winner is not None:
                return [Decision(one.country, winner, one.words, RULES[winner].confidence) for one in named]
            return [Decision(country, rule, words, DISPUTED)]
        if named:
            return [_said(one) for one in named]
        match = self.reference.find(raw) if raw else None
        if match is not None:
            rule = Evidence.ROR_PRINTED if match.score == 100 else Evidence.ROR_SIMILAR
            return [Decision(match.country, rule, f"{match.name} (ror.org/{match.ror})", RULES[rule].confidence)]
        return [Decision(UNKNOWN, Evidence.NOTHING_FOUND if raw else Evidence.NOTHING_PRINTED, None, 0)]


def _sectors_of(rows: list[Row], units: dict[int, set[str]]) -> Sectors:
    """Sectors of the institutions that link an author to each territory: a unit with a known country links nobody to
    the unknown, and an author without units is unknown in both."""
    sectors = {} if units else {UNKNOWN: SECTOR_BITS[UNKNOWN_SECTOR]}
    for row in rows:
        if row.unit is not None and (row.country != UNKNOWN or units[row.unit] == {UNKNOWN}):
            sectors[row.country] = sectors.get(row.country, 0) | _sector_bit(row.institution_type)
    return tuple(sorted(sectors.items()))


def _sector_bit(institution_type: str | None) -> int:
    return SECTOR_BITS.get(institution_type or UNKNOWN_SECTOR, SECTOR_BITS[UNKNOWN_SECTOR])


def _row(
    seq: int,
    unit: int | None,
    institution: Institution | None,
    raw: str | None,
    given: str | None,
    decision: Decision,
    is_conflict: bool,
) -> Row:
    about: tuple[int | None, str | None, str | None] = (None, None, None)
    if institution:
        about = institution.id, institution.ror, institution.type
    why = str(decision.rule), decision.words, decision.confidence
    return Row(seq, unit, *about, raw, given, decision.country, decision.source, is_conflict, *why)


def _said(named: Named) -> Decision:
    return Decision(named.country, named.rule, named.words, RULES[named.rule].confidence)


def _ror_of(institution: Institution | None) -> str | None:
    return institution.ror if institution else None


def _contradicts(country: str | None, named: tuple[Named, ...]) -> bool:
    """Whether a string names places, and none of them in the country of the institution."""
    if not country or not any(one.rule in EXPLICIT for one in named):
        return False
    return not any(_agree(country, one.country) for one in named)


def _agree(country: str | None, named: str) -> bool:
    """A string that says China does not contradict an institution in Hong Kong; one that says Hong Kong contradicts
    CN (trap T8)."""
    return country == named or named_before().get(country or "") == named


def _string_wins(
    institution: Institution | None, country: str, others: set[str], raw: str, named: tuple[Named, ...]
) -> Evidence | None:
    """The rule by which a contradicting string wins; None if the institution stays."""
    if country in places_in(raw):
        return None
    if institution is not None and institution.type == COMPANY:
        return Evidence.COMPANY_ABROAD
    if institution is not None and institution.ror in supranational():
        return Evidence.SUPRANATIONAL_SITE
    if any(named_before().get(one.country) == country for one in named):
        return Evidence.TERRITORY_OF_STATE
    is_explained = any(_agree(other, one.country) for other in others for one in named)
    return None if is_explained else Evidence.UNSUPPORTED_INSTITUTION
