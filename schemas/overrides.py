"""Reviewed corrections of countries: those that ship with the package, and those that users bring.

A CSV with the columns kind, key, country, reason, source, date. kind `institution`: key is an OpenAlex id (I123) or a
ROR id; kind `string`: key is a raw affiliation string, compared without case, surplus blanks and closing stops. country
is an active code, or ZZ: "known not to be known". A reason and a date are required. Lines before the header that begin
with # are comments.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from datetime import date
from functools import cache
from typing import NamedTuple

from schemas.errors import UsageError
from schemas.identifiers import OPENALEX, OPENALEX_NUMBER, ROR
from schemas.places.territories import code_aliases, fold_address, territory_names
from schemas.reviewed import read_table
from schemas.tables import STRING_LIMIT

COLUMNS = ("kind", "key", "country", "reason", "source", "date")
KINDS = ("institution", "string")
_day = re.compile(r"\d{4}-\d{2}-\d{2}")
_institution = re.compile(rf"(?:{re.escape(OPENALEX)})?(I{OPENALEX_NUMBER})|(?:https?://ror\.org/)?({ROR})")


class Override(NamedTuple):
    """One correction; `key` is folded if it is a string, a bare id if it is an institution."""

    kind: str
    key: str
    country: str
    reason: str
    source: str
    date: date


def read_overrides(rows: Iterable[tuple[int, Mapping[str, str | None]]], name: str) -> list[Override]:
    """Corrections from the numbered lines of a CSV.

    Raises:
        UsageError: a row is not a correction; nothing is taken from a file with a wrong row.
    """
    found: dict[tuple[str, str], Override] = {}
    for number, row in rows:
        values = {column: (row.get(column) or "").strip() for column in COLUMNS}
        if wrong := _wrong(values) or ("has more columns than the header" if None in row else ""):
            raise UsageError(f"{name}, line {number}: {wrong}", "mend the file; nothing of it was applied")
        kind, key = values["kind"], values["key"]
        if kind == "institution":
            match = _institution.fullmatch(key)
            key = (match[1] or match[2]) if match else key
        else:
            key = fold_address(key)
        override = Override(
            kind, key, values["country"].upper(), values["reason"], values["source"], date.fromisoformat(values["date"])
        )
        other = found.get((kind, key))
        if other is not None and other.country != override.country:
            raise UsageError(
                f"{name}, line {number}: {values['key']!r} is corrected to {other.country} further up",
                "keep one of the two; nothing of the file was applied",
            )
        found[kind, key] = override
    return list(found.values())


def parse_overrides(text: str, name: str) -> list[Override]:
    """Corrections from a CSV; lines that begin with # are comments.

    Raises:
        UsageError: it is not such a CSV, or a row is not a correction.
    """
    lines = io.StringIO(text.removeprefix("\ufeff"), newline="").readlines()
    comments = next((at for at, line in enumerate(lines) if not line.startswith("#")), len(lines))
    hint = f"separate the columns by commas: {','.join(COLUMNS)}"
    try:
        reader = csv.DictReader(lines[comments:])
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise UsageError(f"{name} has no column {', '.join(missing)}", hint)
        return read_overrides(((comments + reader.line_num, row) for row in reader), name)
    except csv.Error as exc:
        raise UsageError(f"{name} is not a CSV: {exc}", hint) from None


def _wrong(values: dict[str, str]) -> str:
    if values["kind"] not in KINDS:
        return f"kind {values['kind']!r} is not one of {', '.join(KINDS)}"
    if not fold_address(values["key"]):
        return "key is empty"
    if values["kind"] == "institution" and not _institution.fullmatch(values["key"]):
        return f"key {values['key'][:40]!r} is neither an OpenAlex id such as I123 nor a ROR id"
    if values["country"].upper() not in territory_names():
        meant = code_aliases().get(values["country"].upper())
        return f"country {values['country'][:10]!r} is not an active ISO 3166-1 code, XK or ZZ" + (
            f"; write {meant}" if meant else ""
        )
    if len(values["key"]) > STRING_LIMIT:
        return f"key is longer than {STRING_LIMIT:,} characters, and strings are stored up to there"
    if not values["reason"]:
        return "reason is empty"
    try:
        if not _day.fullmatch(values["date"]):
            raise ValueError
        date.fromisoformat(values["date"])
    except ValueError:
        return f"date {values['date'][:20]!r} is not a date such as 2026-11-22"
    return ""


@cache
def shipped_overrides() -> tuple[Override, ...]:
    """The corrections that ship with the package."""
    return tuple(read_overrides(enumerate(read_table("overrides.csv")), "overrides.csv"))
