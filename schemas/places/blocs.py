"""Blocs: sets of territories that are counted as one, with dated memberships, from schemas/data/blocs.csv and
bloc_members.csv.

A territory belongs to a bloc in a calendar year if it was a member on 1 July, so for the greater part of the year:
the United Kingdom is in the European Union of 2019 and not of 2020. A scheme `alliance` may overlap with others; the
blocs of `region` and of `rest-of-world` each hold every territory once, and `ZZ` (unknown) never.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from schemas.places.territories import UNKNOWN, territory_names
from schemas.reviewed import read_table

PARTITIONS = frozenset({"region", "rest-of-world"})
"""Schemes whose blocs hold every territory exactly once."""
SCHEMES = PARTITIONS | {"alliance"}
FIRST_YEAR, LAST_YEAR = 1, 9999
_MIDDLE = (7, 1)


@dataclass(frozen=True)
class Period:
    """A membership from its first day to its last, both included; None is open."""

    territory: str
    valid_from: date | None
    valid_to: date | None

    @property
    def first_year(self) -> int:
        """First calendar year in which 1 July falls into the period."""
        start = self.valid_from
        return FIRST_YEAR if start is None else start.year + ((start.month, start.day) > _MIDDLE)

    @property
    def last_year(self) -> int:
        """Last such year; before `first_year` for a period without a 1 July."""
        end = self.valid_to
        return LAST_YEAR if end is None else end.year - ((end.month, end.day) < _MIDDLE)


@dataclass(frozen=True)
class Bloc:
    """A bloc; `text` is what to know before quoting a number of it."""

    id: str
    name: str
    scheme: str
    text: str
    source: str
    periods: tuple[Period, ...]


class Membership(NamedTuple):
    """A territory counts for a bloc in these calendar years, both included; 1 and 9999 are open ends."""

    bloc: str
    territory: str
    first_year: int
    last_year: int


@cache
def blocs() -> tuple[Bloc, ...]:
    """All blocs with their members, in the order of the file.

    Raises:
        ValueError: the files contradict themselves or name what does not exist; see build_blocs.
    """
    return build_blocs(read_table("blocs.csv"), read_table("bloc_members.csv"))


@cache
def members_by_year() -> tuple[Membership, ...]:
    """Memberships in calendar years, by the rule of 1 July; a territory that left and came back has several."""
    return tuple(
        Membership(bloc.id, period.territory, period.first_year, period.last_year)
        for bloc in blocs()
        for period in bloc.periods
        if period.first_year <= period.last_year
    )


def build_blocs(rows: Sequence[dict[str, str]], member_rows: Iterable[dict[str, str]]) -> tuple[Bloc, ...]:
    """Blocs from rows of blocs.csv and bloc_members.csv.

    Raises:
        ValueError: an unknown bloc, territory, scheme or date; a bloc named twice, without members or without a source;
            periods of one territory that overlap; a partition that misses a territory or holds one twice.
    """
    periods: dict[str, list[Period]] = {}
    for row in rows:
        if row["scheme"] not in SCHEMES or not row["source"] or not row["text"] or row["bloc"] in periods:
            raise ValueError(f"blocs.csv, {row['bloc']}: unknown scheme, no source, no text, or named twice")
        periods[row["bloc"]] = []
    for row in member_rows:
        if row["bloc"] not in periods:
            raise ValueError(f"bloc_members.csv: {row['bloc']} is not in blocs.csv")
        periods[row["bloc"]].append(_period(row))
    for bloc, members in periods.items():
        _check_periods(bloc, members)
    found = tuple(
        Bloc(row["bloc"], row["name"], row["scheme"], row["text"], row["source"], tuple(periods[row["bloc"]]))
        for row in rows
    )
    for scheme in sorted(PARTITIONS & {bloc.scheme for bloc in found}):
        _check_partition(scheme, [bloc for bloc in found if bloc.scheme == scheme])
    return found


def _period(row: dict[str, str]) -> Period:
    where = f"bloc_members.csv, {row['bloc']} {row['territory']}"
    if row["territory"] not in territory_names().keys() - {UNKNOWN}:
        raise ValueError(f"{where}: not the code of a territory")
    try:
        start, end = (date.fromisoformat(row[side]) if row[side] else None for side in ("valid_from", "valid_to"))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    if start and end and start > end:
        raise ValueError(f"{where}: ends before it begins")
    return Period(row["territory"], start, end)


def _check_periods(bloc: str, members: Sequence[Period]) -> None:
    if not members:
        raise ValueError(f"blocs.csv, {bloc}: without members in bloc_members.csv")
    ordered = sorted(members, key=lambda period: (period.territory, period.valid_from or date.min))
    for before, period in pairwise(ordered):
        if before.territory == period.territory and (before.valid_to or date.max) >= (period.valid_from or date.min):
            raise ValueError(f"bloc_members.csv, {bloc} {period.territory}: periods overlap")


def _check_partition(scheme: str, members: Sequence[Bloc]) -> None:
    held = [period for bloc in members for period in bloc.periods]
    if any(period.valid_from or period.valid_to for period in held):
        raise ValueError(f"bloc_members.csv, scheme {scheme}: members have no dates")
    codes = sorted(period.territory for period in held)
    if codes != sorted(territory_names().keys() - {UNKNOWN}):
        raise ValueError(f"bloc_members.csv, scheme {scheme}: a territory is missing or in two blocs")
