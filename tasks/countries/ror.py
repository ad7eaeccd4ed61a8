"""The Research Organization Registry: its records in schema version 1 and 2, and where each organisation is.

Pure functions. ROR data is CC0; `collab ror update` loads a dump.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from schemas.identifiers import ROR
from schemas.places.territories import code_aliases, territory_names
from tasks.reading.parsed import clean

LONGEST_NAME = 1_000
_ror = re.compile(rf"(?:https?://ror\.org/)?({ROR})")


class Organization(NamedTuple):
    """A record of ROR. `countries` holds every location's, in the record's order, each once."""

    ror: str
    name: str
    names: tuple[str, ...]
    """Every name: displayed, labels in all languages, aliases; acronyms are apart."""
    acronyms: tuple[str, ...]
    countries: tuple[str, ...]
    type: str | None
    status: str
    successors: tuple[str, ...]


def read_organization(record: Any) -> Organization | None:
    """An organisation from a record of schema version 1 or 2; None if it is neither.

    A record may be wrapped as `{"record": ...}`.
    """
    if isinstance(record, Mapping) and isinstance(record.get("record"), Mapping):
        record = record["record"]
    if not isinstance(record, Mapping):
        return None
    ror = _ror.fullmatch(_text(record.get("id")))
    if ror is None:
        return None
    is_v2 = isinstance(record.get("names"), list)
    labelled = _names_v2(record) if is_v2 else _names_v1(record)
    if not labelled:
        return None
    names = tuple(dict.fromkeys(name for name, is_acronym in labelled if not is_acronym))
    acronyms = tuple(dict.fromkeys(name for name, is_acronym in labelled if is_acronym))
    codes = (_known(code) for code in (_countries_v2(record) if is_v2 else _countries_v1(record)))
    types = [_text(kind).lower() for kind in _list(record.get("types")) if _text(kind).lower() != "funder"]
    return Organization(
        ror=ror[1],
        name=(names or acronyms)[0],
        names=names,
        acronyms=acronyms,
        countries=tuple(dict.fromkeys(code for code in codes if code)),
        type=types[0] if types else None,
        status=_text(record.get("status")).lower() or "active",
        successors=tuple(
            found[1]
            for related in _dicts(record.get("relationships"))
            if _text(related.get("type")).lower() == "successor" and (found := _ror.fullmatch(_text(related.get("id"))))
        ),
    )


def _names_v2(record: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Names, the displayed one first, and whether each is an acronym."""
    found = []
    for name in _dicts(record.get("names")):
        kinds = [_text(kind) for kind in _list(name.get("types"))]
        if text := _line(name.get("value")):
            found.append(("ror_display" not in kinds, text, kinds == ["acronym"]))
    return [(text, is_acronym) for _, text, is_acronym in sorted(found, key=lambda item: item[0])]


def _names_v1(record: Mapping[str, Any]) -> list[tuple[str, bool]]:
    labels = [label.get("label") for label in _dicts(record.get("labels"))]
    names = [record.get("name"), *labels, *_list(record.get("aliases"))]
    found = [(_line(name), False) for name in names]
    found += [(_line(name), True) for name in _list(record.get("acronyms"))]
    return [(name, is_acronym) for name, is_acronym in found if name]


def _countries_v2(record: Mapping[str, Any]) -> list[Any]:
    places = (place.get("geonames_details") for place in _dicts(record.get("locations")))
    return [place.get("country_code") for place in places if isinstance(place, Mapping)]


def _countries_v1(record: Mapping[str, Any]) -> list[Any]:
    country = record.get("country")
    return [country.get("country_code")] if isinstance(country, Mapping) else []


def _known(code: Any) -> str | None:
    upper = _text(code).strip().upper()
    upper = code_aliases().get(upper, upper)
    return upper if upper in territory_names() else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _line(value: Any) -> str:
    """Text on one line, without control characters."""
    return " ".join(clean(_text(value), LONGEST_NAME).split())


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dicts(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in _list(value) if isinstance(item, Mapping)]


def countries_of(organizations: Mapping[str, Organization]) -> dict[str, tuple[str, ...]]:
    """Countries of every organisation; a withdrawn record has those of its successors, as far as they are known."""
    return {ror: _follow(ror, organizations) for ror in organizations}


def _follow(ror: str, organizations: Mapping[str, Organization]) -> tuple[str, ...]:
    """Countries where withdrawals lead; successors that lead in a circle or nowhere leave the record's own."""
    seen: set[str] = set()
    found: dict[str, None] = {}
    ahead = [ror]
    while ahead:
        current = ahead.pop(0)
        record = organizations.get(current)
        if record is None or current in seen:
            continue
        seen.add(current)
        if record.status == "withdrawn" and any(name in organizations for name in record.successors):
            ahead += record.successors
        else:
            found |= dict.fromkeys(record.countries)
    return tuple(found) or organizations[ror].countries
