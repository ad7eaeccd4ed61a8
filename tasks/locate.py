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
from tasks.parse import Author, BadRecord, Institution, ParsedWork, Repair

_postal = re.compile(r"^[\d\s-]+|[\d\s-]+$")
_contact = re.compile(r"\s*(?:e-?mail|electronic address)\b.*|\S+@\S+", re.IGNORECASE | re.DOTALL)
_LONGEST_ADDRESS = 2_000


class Row(NamedTuple):
    """Evidence for one author: a raw string, an institution, and the country decided from them."""

    position: int
    seq: int
    unit: int | None
    institution: Institution | None
    raw_string: str | None
    institution_country: str | None
    country: str
    country_source: str
    is_conflict: bool


class Territory(NamedTuple):
    """Share of a territory in a work; `share` in units of 1e-9."""

    territory: str
    share: int
    authors: int
    only_author: int | None


class Located(NamedTuple):
    """A work's evidence and, per policy, its territories."""

    rows: list[Row]
    authors_located: int
    by_policy: dict[str, list[Territory]]


@lru_cache(maxsize=200_000)
def countries_in(raw: str) -> tuple[str, ...]:
    """Countries that a raw affiliation string names, in order of appearance; empty if it names none.

    One string can hold several addresses, separated by semicolons. Never a guess from a part of a word.
    """
    found: dict[str, None] = {}
    for address in _contact.sub("", raw[-_LONGEST_ADDRESS:]).split(";"):
        segments = [fold(_postal.sub("", part.strip(" .()[]"))) for part in address.rsplit(",", 2)]
        segments = [part for part in segments if part]
        if segments and (code := _country_at_end(segments)):
            found[code] = None
    return tuple(found)


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
    rows: list[Row] = []
    authors: list[dict[int, set[str]]] = []
    for position, author in enumerate(work.authors, start=1):
        mine = _rows_of(author, position, work.year, work.repairs)
        rows += mine
        units: dict[int, set[str]] = {}
        for row in mine:
            if row.unit is not None:
                units.setdefault(row.unit, set()).add(row.country)
        authors.append(units)
    countries = [_known(units) for units in authors]
    iso = _iso_shares(authors, phantom=work.authors_truncated or not authors)
    unfolded = _apply(policies()[0], iso, countries)
    by_policy = {
        policy.id: unfolded if policy.counts_as.keys().isdisjoint(iso) else _apply(policy, iso, countries)
        for policy in policies()
    }
    return Located(rows, sum(1 for known in countries if known - {UNKNOWN}), by_policy)


def _rows_of(author: Author, position: int, year: int | None, repairs: list[Repair]) -> list[Row]:
    rows: list[Row] = []
    units: dict[str, int] = {}
    is_linked = any(address.institutions for address in author.addresses)
    strings_count = is_linked or not author.loose_institutions
    for address in author.addresses:
        named = countries_in(address.raw_string)
        folded = fold_address(address.raw_string)
        unit = units.setdefault(folded, len(units) + 1) if strings_count else None
        for institution in address.institutions or (None,):
            country, choices, source, is_conflict = _decide(institution, named, folded, year, repairs)
            for choice in choices:
                rows.append(
                    Row(
                        position,
                        len(rows) + 1,
                        unit,
                        institution,
                        address.raw_string,
                        country,
                        choice,
                        source,
                        is_conflict,
                    )
                )
    for number, institution in enumerate(author.loose_institutions, start=1):
        country, (choice,), source, _ = _decide(institution, (), "", year, repairs)
        rows.append(
            Row(
                position,
                len(rows) + 1,
                None if is_linked else number,
                institution,
                None,
                country,
                choice,
                source,
                False,
            )
        )
    return rows


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


def _known(units: dict[int, set[str]]) -> set[str]:
    """Territories of one author: known countries of all units, `ZZ` if a unit (or the author) has none."""
    found: set[str] = set() if units else {UNKNOWN}
    for countries in units.values():
        found |= (countries - {UNKNOWN}) or {UNKNOWN}
    return found


def _iso_shares(authors: list[dict[int, set[str]]], *, phantom: bool) -> dict[str, int]:
    """Exact shares in units of 1e-9. A phantom author of unknown country stands for those the source did not list."""
    fractions: list[tuple[str, int]] = [(UNKNOWN, 1)] if phantom else []  # (territory, divisor of the author's weight)
    for units in authors:
        if not units:
            fractions.append((UNKNOWN, 1))
        for countries in units.values():
            known = sorted(countries - {UNKNOWN}) or [UNKNOWN]
            fractions += [(territory, len(units) * len(known)) for territory in known]
    common = math.lcm(*{divisor for _, divisor in fractions})
    sums: dict[str, int] = {}
    for territory, divisor in fractions:
        sums[territory] = sums.get(territory, 0) + common // divisor
    whole = (len(authors) + phantom) * common
    shares = {territory: part * SHARE_SCALE // whole for territory, part in sums.items()}
    largest = min(shares, key=lambda territory: (-sums[territory], territory == UNKNOWN, territory))
    shares[largest] += SHARE_SCALE - sum(shares.values())
    return shares


def _apply(policy: Policy, iso: dict[str, int], countries: list[set[str]]) -> list[Territory]:
    """Territories of a work under a policy: shares are sums of iso shares, authors are counted anew."""
    shares: dict[str, int] = {}
    for territory, share in iso.items():
        target = policy.counts_as.get(territory, territory)
        shares[target] = shares.get(target, 0) + share
    linked: dict[str, list[int]] = {}
    for position, known in enumerate(countries, start=1):
        for territory in {policy.counts_as.get(code, code) for code in known}:
            linked.setdefault(territory, []).append(position)
    found = []
    for territory in sorted(shares):
        authors = linked.get(territory, [])
        found.append(Territory(territory, shares[territory], len(authors), authors[0] if len(authors) == 1 else None))
    return found
