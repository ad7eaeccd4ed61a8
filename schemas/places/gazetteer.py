"""Names that say a country: of countries, their parts, cities and organisations, as one table of folded words.

Read once from the reviewed files in schemas/data. A name that several files hold keeps the kind that comes first in
`Kind`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import NamedTuple

from schemas.reviewed import read_table
from schemas.words import fold


class Kind(IntEnum):
    """What a name is the name of, the stronger evidence first."""

    NOTHING = 0
    """Contains a name and says nothing ("Beth Israel")."""
    AMONG = 1
    """Names several states; a place in the address decides which."""
    COUNTRY = 2
    RISKY_COUNTRY = 3
    """Also a person, a town or a word: a country only where it stands alone."""
    SUBDIVISION = 4
    ORGANIZATION = 5
    CITY = 6
    TOWN = 7
    """A city that decides only where it stands alone: its name is a word or a person's in names of organisations."""
    SEAT = 8
    """An organisation with several sites: in the country of its seat where the address names no place."""
    LONE_SEAT = 9
    """The same where the name fills its segment: it is a word, a person or a part of other names."""


class Name(NamedTuple):
    """What a sequence of words names. `among` holds the states that one of kind AMONG may mean; its country is the one
    it means where no place says which, or empty."""

    kind: Kind
    country: str
    among: frozenset[str] = frozenset()
    also: frozenset[str] = frozenset()
    """Of a city: countries with abbreviated states that have a place of the name."""


@dataclass(frozen=True)
class Gazetteer:
    """All names, by their folded words joined with blanks."""

    names: dict[str, Name]
    begins: dict[str, dict[str, int]]
    """First word of names of several words -> second word -> words of the longest such name."""
    abbreviations: dict[str, tuple[str, ...]]
    """Abbreviation of a state or province as printed -> countries that have one of it."""
    towns: dict[str, frozenset[str]]
    """Places whose name tells no country, by folded name -> countries, none with abbreviated states."""
    codes: dict[str, frozenset[str]]
    """Abbreviation of a state as printed -> other countries that have one of it and print it in addresses."""
    dense: dict[str, Name]
    """Names in scripts without blanks between words; they are looked for at the ends of a segment."""


@cache
def load_gazetteer() -> Gazetteer:
    """The gazetteer; about 60,000 names."""
    names: dict[str, Name] = {}

    def add(text: str, kind: Kind, country: str, also: frozenset[str] = frozenset()) -> None:
        words = fold(text)
        if words and (words not in names or kind < names[words].kind):
            names[words] = Name(kind, country, also=also)

    for row in read_table("cities.csv"):
        add(row["name"], Kind.CITY if row["use"] else Kind.TOWN, row["country"], frozenset(row["also"].split()))
    for row in (*read_table("names.csv"), *read_table("territories.csv")):
        add(row["name"], Kind.COUNTRY, row["code"])
    for row in read_table("aliases.csv"):
        if row["kind"] == "name":
            add(row["alias"], Kind.COUNTRY, row["code"])
    abbreviations: dict[str, dict[str, None]] = {}
    for row in read_table("subdivisions.csv"):
        add(row["name"], Kind.SUBDIVISION, row["country"])
        for short in row["abbreviations"].split():
            abbreviations.setdefault(short, {})[row["country"]] = None
    for row in read_table("organizations.csv"):
        add(row["name"], Kind.ORGANIZATION if row["country"] else Kind.NOTHING, row["country"])
    for row in read_table("headquarters.csv"):
        seat = Kind.LONE_SEAT if row["use"] else Kind.SEAT
        add(row["name"], seat if row["country"] else Kind.NOTHING, row["country"])
    _qualify(names)
    return Gazetteer(
        names=names,
        begins=_begins(names),
        abbreviations={short: tuple(countries) for short, countries in abbreviations.items()},
        towns={fold(row["name"]): frozenset(row["countries"].split()) for row in read_table("towns.csv")},
        codes={row["code"]: frozenset(row["countries"].split()) for row in read_table("shared_codes.csv")},
        dense={words: name for words, name in names.items() if is_dense(words)},
    )


def _qualify(names: dict[str, Name]) -> None:
    """Restrict names that are also something else."""
    for row in read_table("risky_names.csv"):
        words = fold(row["name"])
        if row["rule"] == "among":
            names[words] = Name(Kind.AMONG, row["otherwise"], frozenset(row["among"].split()))
        elif words in names:
            names[words] = Name(Kind.RISKY_COUNTRY, names[words].country)


def _begins(names: Iterable[str]) -> dict[str, dict[str, int]]:
    begins: dict[str, dict[str, int]] = {}
    for phrase in names:
        if " " in phrase:
            first, second, *rest = phrase.split(" ")
            seconds = begins.setdefault(first, {})
            seconds[second] = max(seconds.get(second, 0), len(rest) + 2)
    return begins


def is_dense(text: str) -> bool:
    """Whether a text is written in a script without blanks between words (Chinese, Japanese) or with few (Korean)."""
    return "\u3040" <= text[:1] <= "\u9fff" or "\uac00" <= text[:1] <= "\ud7af"
