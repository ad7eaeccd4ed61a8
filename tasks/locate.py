"""Decides the countries of a work and what share each holds. Pure functions, no network.

Per affiliation row the first that applies (design section 5): `override`, `institution`, `string`, `none`. The safe
rule for strings: an address names the country in its last segment. A territory with a code of its own beats the state
named after it ("Hong Kong, China" is HK).

Shares follow the Nature Index rule: each author weighs 1/authors, split equally over the author's units, each unit
equally over its known countries. A unit is a distinct raw affiliation string; institutions tied to no string are units
only for an author without linked strings; a unit without a known country, and an author without units, is `ZZ`. Shares
are integers of 1e-9, floored, the remainder to the largest (ties: first code, `ZZ` last), so that a work's shares sum
to exactly 1. Other policies sum the iso shares.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import NamedTuple

import msgspec

from schemas.tables import SHARE_SCALE
from schemas.territories import (
    UNKNOWN,
    Policy,
    code_aliases,
    fold,
    fold_address,
    historical_codes,
    named_before,
    names_to_code,
    overrides,
    policies,
    territory_names,
)
from tasks.parse import BadRecord, Institution, ParsedWork, Places, Repair, hash64

_postal = re.compile(r"^[\d\s-]+|[\d\s-]+$")
_contact = re.compile(r"\s*(?:e-?mail|electronic address)\b.*|\S+@\S+", re.IGNORECASE | re.DOTALL)
_LONGEST_ADDRESS = 2_000
_NOBODY = frozenset({UNKNOWN})
Weights = tuple[tuple[str, int], ...]
"""Territory and divisor of an author's weight; a territory stands once for each unit that holds it."""
_encode = msgspec.msgpack.Encoder().encode


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


class LocatedPlaces(NamedTuple):
    """Countries of one author's places."""

    rows: tuple[Row, ...]
    weights: Weights
    institutions: tuple[tuple[Institution, int], ...]
    """Linked institutions, each with the digest of its description."""
    repairs: tuple[Repair, ...]
    digest: int
    """Digest of the rows."""


class Territory(NamedTuple):
    """Share of a territory in a work under a policy; `share` in units of 1e-9. Columns of core.work_territory."""

    policy: str
    territory: str
    share: int
    authors: int
    only_author: int | None


class PolicyRow(NamedTuple):
    """What a policy makes of a work as a whole. Columns of core.work_policy."""

    policy: str
    territories: int
    unknown_share: int


class Credit(NamedTuple):
    """Territories of a work under every policy."""

    authors_located: int
    territories: tuple[Territory, ...]
    policies: tuple[PolicyRow, ...]


class Located(NamedTuple):
    """A work's evidence, author by author, and the credit that follows from it."""

    authors: list[LocatedPlaces]
    credit: Credit


@lru_cache(maxsize=10_000)
def countries_in(raw: str) -> tuple[str, ...]:
    """Countries that a raw affiliation string names, in order of appearance; empty if it names none.

    One string can hold several addresses, separated by semicolons. Never a guess from a part of a word.
    """
    found: dict[str, None] = {}
    text = raw[-_LONGEST_ADDRESS:]
    if "@" in text or "mail" in (lower := text.lower()) or "electronic" in lower:
        text = _contact.sub("", text)
    for address in text.split(";"):
        segments = [_fold_segment(part) for part in address.rsplit(",", 2)]
        segments = [part for part in segments if part]
        if segments and (code := _country_at_end(segments)):
            found[code] = None
    return tuple(found)


@lru_cache(maxsize=10_000)
def _fold_segment(part: str) -> str:
    part = part.strip(" .()[]")
    return fold(_postal.sub("", part)) if part[:1].isdigit() or part[-1:].isdigit() else fold(part)


def _country_at_end(segments: list[str]) -> str | None:
    names = names_to_code()
    code = names.get(segments[-1])
    if code is None or len(segments) == 1:
        return code
    before = names.get(segments[-2])
    return before if before and named_before().get(before) == code else code


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


def locate(work: ParsedWork) -> Located:
    """Countries of every affiliation of a work, and its shares under every policy.

    Raises:
        BadRecord: an institution carries a withdrawn country code that cannot be mapped.
    """
    authors = [_locate_undated(author.places) or _locate_places(author.places, work.year) for author in work.authors]
    for author in authors:
        work.repairs += author.repairs
    weights = tuple([author.weights for author in authors])
    return Located(authors, _credit(weights, work.authors_truncated or not authors))


@lru_cache(maxsize=10_000)
def _credit(authors: tuple[Weights, ...], is_cut: bool) -> Credit:
    """Credit of a work; the countries of small teams repeat, in the same order, in every second work."""
    iso = _iso_shares(authors, phantom=is_cut)
    linked: dict[str, list[int]] = {}
    for position, weights in enumerate(authors, start=1):
        for territory in {territory for territory, _ in weights}:
            linked.setdefault(territory, []).append(position)
    territories: list[Territory] = []
    rows: list[PolicyRow] = []
    for policy in policies():
        found = _apply(policy, iso, linked)
        is_partly_unknown = found[-1].territory == UNKNOWN  # ZZ sorts last
        unknown = found[-1].share if is_partly_unknown else 0
        rows.append(PolicyRow(policy.id, len(found) - is_partly_unknown, unknown))
        territories += found
    located = {position for territory, positions in linked.items() if territory != UNKNOWN for position in positions}
    return Credit(len(located), tuple(territories), tuple(rows))


@lru_cache(maxsize=10_000)
def _locate_undated(places: Places) -> LocatedPlaces | None:
    """Countries of places that do not depend on the year; None if they do, because a withdrawn code is among them."""
    held = [institution for address in places.addresses for institution in address.institutions]
    if any((it.country or "").strip().upper() in historical_codes() for it in (*held, *places.loose_institutions)):
        return None
    return _locate_places(places, None)


def _locate_places(places: Places, year: int | None) -> LocatedPlaces:
    rows: list[Row] = []
    numbers: dict[str, int] = {}
    repairs: list[Repair] = []
    found: dict[Institution, None] = {}

    def add(institution: Institution | None, raw_string: str | None, unit: int | None, folded: str) -> None:
        named = countries_in(raw_string) if raw_string else ()
        country, choices, source, is_conflict = _decide(institution, named, folded, year, repairs)
        about: tuple[int | None, str | None, str | None] = (None, None, None)
        if institution:
            about = institution.id, institution.ror, institution.type
            if institution.id:
                found[institution] = None
        rows.extend(
            Row(seq, unit, *about, raw_string, country, choice, source, is_conflict)
            for seq, choice in enumerate(choices, start=len(rows) + 1)
        )

    is_linked = any(address.institutions for address in places.addresses)
    strings_count = is_linked or not places.loose_institutions
    for address in places.addresses:
        folded = fold_address(address.raw_string)
        unit = numbers.setdefault(folded, len(numbers) + 1) if strings_count else None
        for institution in address.institutions or (None,):
            add(institution, address.raw_string, unit, folded)
    for number, institution in enumerate(places.loose_institutions, start=1):
        add(institution, None, None if is_linked else number, "")

    units: dict[int, set[str]] = {}
    for row in rows:
        if row.unit is not None:
            units.setdefault(row.unit, set()).add(row.country)
    known = [(countries - _NOBODY) or _NOBODY for countries in units.values()] or [_NOBODY]
    return LocatedPlaces(
        rows=tuple(rows),
        weights=tuple((territory, len(known) * len(unit)) for unit in known for territory in sorted(unit)),
        institutions=tuple((institution, hash64(_encode(institution))) for institution in found),
        repairs=tuple(repairs),
        digest=hash64(_encode(rows)),
    )


def _decide(
    institution: Institution | None, named: tuple[str, ...], folded: str, year: int | None, repairs: list[Repair]
) -> tuple[str | None, tuple[str, ...], str, bool]:
    """Country of the institution, countries decided (several only where the string alone decides), what decided,
    and whether they conflict."""
    by_institution, by_string = overrides()
    code = institution.country if institution else None
    country = country_of_code(code, year) if code else None
    if code != country:
        repairs.append(Repair("affiliation.institution_country", "country_alias", code, country))
    is_conflict = bool(named and country) and not any(_agree(country, other) for other in named)
    override = by_string.get(folded) or (
        by_institution.get(f"I{institution.id}") if institution and by_institution else None
    )
    if override:
        return country, (override,), "override", is_conflict
    if country:
        return country, (country,), "institution", is_conflict
    return country, named or (UNKNOWN,), "string" if named else "none", is_conflict


def _agree(country: str | None, named: str) -> bool:
    """A string that says China does not contradict an institution in Hong Kong; one that says Hong Kong contradicts
    CN (trap T8)."""
    return country == named or named_before().get(country or "") == named


def _iso_shares(authors: tuple[Weights, ...], *, phantom: bool) -> dict[str, int]:
    """Exact shares in units of 1e-9.

    A phantom author of unknown country stands for those the source did not list.
    """
    parts = [*(part for weights in authors for part in weights), *([(UNKNOWN, 1)] if phantom else [])]
    common = math.lcm(*{divisor for _, divisor in parts})
    sums: dict[str, int] = {}
    for territory, divisor in parts:
        sums[territory] = sums.get(territory, 0) + common // divisor
    whole = (len(authors) + phantom) * common
    shares = {territory: part * SHARE_SCALE // whole for territory, part in sums.items()}
    largest = min(shares, key=lambda territory: (-sums[territory], territory == UNKNOWN, territory))
    shares[largest] += SHARE_SCALE - sum(shares.values())
    return shares


def _apply(policy: Policy, iso: dict[str, int], linked: dict[str, list[int]]) -> list[Territory]:
    """Territories of a work under a policy: shares are sums of iso shares, authors are counted anew."""
    shares: dict[str, int] = {}
    positions: dict[str, set[int]] = {}
    for territory, share in iso.items():
        target = policy.counts_as.get(territory, territory)
        shares[target] = shares.get(target, 0) + share
        positions.setdefault(target, set()).update(linked.get(territory, ()))
    return [
        Territory(policy.id, territory, shares[territory], len(found), next(iter(found)) if len(found) == 1 else None)
        for territory, found in sorted(positions.items())
    ]
