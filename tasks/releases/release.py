"""Reads a release: opened read-only, and asked for slices of its tables.

A release that an older version made lacks what came later; asking for that is an error with the next command, not a
traceback.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Select, Table
from sqlalchemy.exc import DBAPIError

from schemas import tables as t
from schemas.errors import UsageError
from schemas.fields import load_definitions
from schemas.indices import VIEWS
from schemas.settings import Settings
from tasks.storage.engines.duckdb import open_read_only

DATABASE = "atlas.duckdb"
CURRENT = "current"
SPAN = 10  # complete years that are shown where nobody says which
COMPLETENESS = VIEWS["completeness"].table("completeness")
TO_PUBLISH = "`collab publish` writes a new release; after an upgrade of the package run `collab upgrade` first"


@dataclass(frozen=True)
class Slice:
    """Part of the mart that counts are summed over: whole years, both ends included."""

    corpus: str
    policy: str
    field: str
    first: int
    last: int

    @property
    def years(self) -> str:
        """The span in words."""
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"

    def holds(self, of: Any) -> sa.ColumnElement[bool]:
        """Condition on a table or view of the mart."""
        keys = (of.c.corpus == self.corpus, of.c.policy == self.policy, of.c.field == self.field)
        return sa.and_(*keys, of.c.year.between(self.first, self.last))


class Release:
    """An open release."""

    def __init__(self, release_id: str, conn: Connection) -> None:
        self.release_id = release_id
        self._conn = conn

    def rows(self, query: Select[Any]) -> list[sa.Row[Any]]:
        """Rows of a query over tables of schema mart, or over `table`."""
        return list(self._conn.execute(query))

    def table(self, name: str) -> Table:
        """A table or view as this release has it.

        Raises:
            UsageError: the release has none of that name.
        """
        found = self._columns.get(name)
        if found is None:
            raise UsageError(f"release {self.release_id} has no table {name}", TO_PUBLISH)
        return Table(name, sa.MetaData(), *(sa.Column(column) for column in found))

    def has(self, name: str) -> bool:
        """Whether the release holds a table or view of that name."""
        return name in self._columns

    @cached_property
    def _columns(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        listed = (
            "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal ORDER BY table_name, column_index"
        )
        for table, column in self._conn.exec_driver_sql(listed):
            found.setdefault(table, []).append(column)
        return found

    @cached_property
    def _cells(self) -> list[sa.Row[Any]]:
        world = t.world_year.c
        return self.rows(sa.select(world.corpus, world.policy, world.field).where(world.papers > 0).distinct())

    def names(self, kind: str) -> list[str]:
        """Values that `corpus`, `policy` or `field` has in the release, in order, policy `iso` first."""
        return sorted({getattr(row, kind) for row in self._cells}, key=lambda name: (name != "iso", name))

    def venues(self, corpus: str, first: int | None = None, last: int | None = None) -> list[str]:
        """Fields that are venues and have counted works in a span of years; every declared one if none has any at all.

        Raises:
            UsageError: unknown corpus, or its venues have counted works in other years only.
        """
        self.check("corpus", corpus)
        known = {field.id for field in load_definitions().fields if field.group == "venue"}
        world = t.world_year.c
        held = sa.select(world.field, world.year).where(world.corpus == corpus, world.papers > 0)
        years = [(row.field, row.year) for row in self.rows(held) if row.field in known]
        found = {field for field, year in years if (first or year) <= year <= (last or year)}
        if years and not found:
            raise UsageError(f"no venues in corpus {corpus} in these years", "give other years, or a --field")
        return sorted(found or known)

    def has_works(self, corpus: str, policy: str, field: str) -> bool:
        """Whether there is a counted work."""
        return any((row.corpus, row.policy, row.field) == (corpus, policy, field) for row in self._cells)

    def check(self, kind: str, value: str) -> str:
        """The value, if the release has it.

        Raises:
            UsageError: it has not; the hint holds the closest ones.
        """
        return closest(kind, value, self.names(kind))

    def check_field(self, field: str) -> str:
        """The field, if the release has works of it or it is declared: then there are none, and that is the answer.

        Raises:
            UsageError: it is neither; `all` is none that is declared, a warehouse of scope `ai` does not count it.
        """
        return closest("field", field, sorted({*self.names("field"), *(one.id for one in load_definitions().fields)}))

    def complete_years(self, corpus: str, field: str) -> list[int]:
        """Years with works that count as complete, in order."""
        return self._complete.get((corpus, field), [])

    def lacking(self, of: Slice) -> str:
        """Years of a slice that are not complete or hold no works, in words: a run of them is named by its ends."""
        complete = sorted(set(self.complete_years(of.corpus, of.field)) & set(range(of.first, of.last + 1)))
        runs = [(before + 1, after - 1) for before, after in pairwise([of.first - 1, *complete, of.last + 1])]
        shown = [str(first) if first == last else f"{first} to {last}" for first, last in runs if first <= last]
        return ", ".join(shown)

    @cached_property
    def _complete(self) -> dict[tuple[str, str], list[int]]:
        self.table(COMPLETENESS.name)
        of, found = COMPLETENESS.c, dict[tuple[str, str], list[int]]()
        query = sa.select(of.corpus, of.field, of.year).where(of.is_complete, of.papers > 0).order_by(of.year)
        for row in self.rows(query):
            found.setdefault((row.corpus, row.field), []).append(row.year)
        return found

    def slice(self, corpus: str, policy: str, field: str, first: int | None = None, last: int | None = None) -> Slice:
        """A checked slice; without years, the last ten that are complete (any, if none is). Of a declared field that no
        work is counted in, it has the years of the corpus.

        Raises:
            UsageError: unknown corpus, policy or field, years in the wrong order, or without a single work of a field
                that has works.
        """
        self.check("corpus", corpus)
        self.check("policy", policy)
        self.check_field(field)
        if first is not None and last is not None and first > last:
            raise UsageError(f"--from {first} comes after --to {last}", f"the first year comes first: --from {last}")
        world = t.world_year.c
        has_works = self.has_works(corpus, policy, field)
        cell = [world.corpus == corpus, world.policy == policy, world.papers > 0]
        cell += [world.field == field] if has_works else []
        held = sorted({row.year for row in self.rows(sa.select(world.year).where(*cell))})
        complete = self.complete_years(corpus, field) or held
        to = last if last is not None else max(complete[-1], first if first is not None else complete[-1])
        start = first if first is not None else max(min(to, held[-1]) - SPAN + 1, held[0])
        if has_works and not any(start <= year <= to for year in held):
            raise UsageError(
                f"no counted works in field {field} from {start} to {to}", f"the release has {held[0]} to {held[-1]}"
            )
        return Slice(corpus, policy, field, start, to)


@contextmanager
def open_release(settings: Settings, release_id: str | None = None) -> Iterator[Release]:
    """The current release, or another that is still kept.

    Raises:
        UsageError: there is none, or none of that name.
    """
    published = settings.published
    name = release_id or CURRENT
    try:
        folders = [entry for entry in published.glob("*/") if (entry / DATABASE).exists()]
        is_there = re.fullmatch(r"[\w.-]+", name) and (published / name / DATABASE).is_file()
    except OSError as exc:
        raise UsageError(f"cannot enter {exc.filename}: {exc.strerror}", "ask for the right to read releases") from None
    kept = sorted(entry.name for entry in folders if entry.name != CURRENT)
    if not is_there:
        if release_id and kept:
            closest("release", release_id, kept)
        raise UsageError(f"no release in {published}", "`collab run` loads and publishes, `collab publish` publishes")
    folder = (published / name).resolve()
    with opened(folder / DATABASE, folder.name) as release:
        yield release


@contextmanager
def opened(database: Path, release_id: str) -> Iterator[Release]:
    """The release in a database file.

    Raises:
        UsageError: the file cannot be read.
    """
    engine = open_read_only(database)
    try:
        with engine.connect() as conn:
            yield Release(release_id, conn.execution_options(schema_translate_map={"mart": None}))
    except DBAPIError as exc:
        cause = (str(exc.orig).strip().splitlines() or ["unreadable"])[0]
        raise UsageError(f"cannot read release {release_id}: {cause}", TO_PUBLISH) from exc
    finally:
        engine.dispose()


def closest(kind: str, value: str, known: list[str]) -> str:
    """The value, if it is known.

    Raises:
        UsageError: it is not; the hint names what comes near, or everything if nothing does.
    """
    if value in known:
        return value
    near = get_close_matches(value.lower(), known, n=3, cutoff=0.5)
    hint = "did you mean " + " or ".join(near) + "?" if near else "known: " + ", ".join(known)
    raise UsageError(f"unknown {kind} {value!r}", hint)


def world_sums(of: Slice) -> Select[Any]:
    """One row: measures of the world, summed over the years."""
    return sa.select(*_sums(t.world_year)).where(of.holds(t.world_year))


def country_sums(of: Slice) -> Select[Any]:
    """One row a territory, `ZZ` included, most papers first."""
    country = t.country_year
    sums = _sums(country)
    summed = sa.select(country.c.territory, *sums).where(of.holds(country)).group_by(country.c.territory)
    return summed.order_by(sa.desc("papers"), country.c.territory)


def pair_sums(of: Slice) -> Select[Any]:
    """One row a pair, most papers first."""
    pair = t.pair_year
    ends = (pair.c.territory_a, pair.c.territory_b)
    return sa.select(*ends, *_sums(pair)).where(of.holds(pair)).group_by(*ends).order_by(sa.desc("papers"), *ends)


def _sums(of: Table) -> list[sa.Label[Any]]:
    sums = {name: sa.func.coalesce(sa.func.sum(of.c[name]), 0) for name in t.measures(of)}  # of no row it is null
    return [sa.cast(total, of.c[name].type).label(name) for name, total in sums.items()]
