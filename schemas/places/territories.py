"""Territories, aliases, historical codes, territory policies and reviewed overrides, from the reviewed files in
schemas/data.

`ZZ` is *unknown*: a visible territory in every table, never dropped and never folded. A policy says which territory
counts as which; adding a policy is adding a file to schemas/data/policies.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

from schemas.reviewed import DATA, read_caption, read_table

UNKNOWN = "ZZ"


@lru_cache(maxsize=10_000)
def fold_address(text: str) -> str:
    """Compare form of a whole raw affiliation string: case, surplus blanks and stops at either end do not make another
    unit (trap T7); any other punctuation does."""
    return " ".join(text.split()).strip(" .,;").casefold()


@dataclass(frozen=True)
class Historical:
    """A withdrawn code; `successor` is empty where a country would have to be guessed."""

    successor: str
    until: int


@dataclass(frozen=True)
class Policy:
    """A territory policy: `counts_as` holds only the territories that are folded into another."""

    id: str
    counts_as: dict[str, str]
    text: str


@cache
def territory_names() -> dict[str, str]:
    """Code -> English name, for every territory that may stand in a table, `ZZ` included."""
    return {row["code"]: row["name"] for row in read_table("territories.csv")} | {UNKNOWN: "Unknown"}


@cache
def native_names() -> dict[str, str]:
    """Code -> name in an official or working language of the territory."""
    return {row["code"]: row["native_name"] for row in read_table("territories.csv")}


@cache
def territory_codes3() -> dict[str, str]:
    """ISO 3166-1 alpha-3 code -> alpha-2 code."""
    return {row["alpha3"]: row["code"] for row in read_table("territories.csv")}


@cache
def named_before() -> dict[str, str]:
    """Territory with a code of its own -> the state that addresses name after it ("Hong Kong, China")."""
    return {row["code"]: row["named_before"] for row in read_table("territories.csv") if row["named_before"]}


@cache
def sovereigns() -> frozenset[str]:
    """States that addresses name after one of their territories."""
    return frozenset(named_before().values())


@cache
def code_aliases() -> dict[str, str]:
    """Other codes that mean exactly one territory, such as UK for GB."""
    return {row["alias"]: row["code"] for row in read_table("aliases.csv") if row["kind"] == "code"}


@cache
def historical_codes() -> dict[str, Historical]:
    """Withdrawn ISO 3166-3 codes."""
    return {row["code"]: Historical(row["successor"], int(row["until"])) for row in read_table("historical_codes.csv")}


@cache
def policies() -> tuple[Policy, ...]:
    """All territory policies, `iso` first (its shares are the ones the others sum)."""
    found = []
    for path in sorted((DATA / "policies").iterdir(), key=lambda p: (p.name != "iso.csv", p.name)):
        if path.name.endswith(".csv"):
            name = f"policies/{path.name}"
            text = read_caption(name)
            folded = {row["territory"]: row["counts_as"] for row in read_table(name)}
            found.append(Policy(path.name.removesuffix(".csv"), folded, text))
    return tuple(found)


@cache
def language_codes() -> frozenset[str]:
    """ISO 639-1 codes."""
    return frozenset(row["code"] for row in read_table("languages.csv"))


@dataclass(frozen=True)
class WorkTypes:
    """Types that are counted, types that are known, and older Crossref names for them."""

    counted: frozenset[str]
    known: frozenset[str]
    crossref: dict[str, str]


@cache
def work_types() -> WorkTypes:
    """The allow-list of work types (trap T17)."""
    rows = read_table("work_types.csv")
    return WorkTypes(
        counted=frozenset(row["type"] for row in rows if row["is_counted"] == "true"),
        known=frozenset(row["type"] for row in rows),
        crossref={old: row["type"] for row in rows for old in row["crossref"].split()},
    )


@cache
def supranational() -> frozenset[str]:
    """ROR ids of bodies that no state alone runs (trap T14)."""
    return frozenset(row["ror"] for row in read_table("supranational.csv"))
