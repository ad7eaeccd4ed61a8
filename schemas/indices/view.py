"""What a view is made of: columns that carry their SQL and their documentation together, so that neither can be without
the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, Double, Integer, Table
from sqlalchemy.types import TypeEngine

from schemas import tables as t
from schemas.tables import CELL

LOW_N = 25  # below this many papers a rate says little; the row stays (ETO drops such pairs)
LOW_N_TEXT = f"whether the row rests on fewer than {LOW_N} papers, so that its rates say little; no row is dropped"


@dataclass(frozen=True)
class ViewColumn:
    """A column of a view.

    `text` says the rule in an analyst's words, `unit` what one of it is, `denominator` what it is a part of, `caveat`
    what it does not say, `source` where the formula comes from.
    """

    name: str
    sql: str
    type_: TypeEngine[Any]
    text: str
    unit: str = ""
    denominator: str = ""
    caveat: str = ""
    source: str = ""

    @property
    def comment(self) -> str:
        """Everything that is said of the column, as one text."""
        parts = [self.text]
        for label, said in (("unit", self.unit), ("of", self.denominator), ("", self.caveat), ("source", self.source)):
            if said:
                parts.append(f"{label}: {said}" if label else said)
        return "; ".join(parts)


@dataclass(frozen=True)
class View:
    """A view over the mart: what it says, one row per what, its columns, and where its rows come from.

    `rows` is everything of the query from FROM on, `ahead` its common table expressions. Names of tables carry
    `{mart}` or `{ops}` for the schema that holds them. A view that reads `ops` is a table in a release, which has
    no `ops`.
    """

    text: str
    key: tuple[str, ...]
    columns: tuple[ViewColumn, ...]
    rows: str
    ahead: str = ""

    @property
    def is_released_as_table(self) -> bool:
        """Whether a release holds its rows instead of its query."""
        return "{ops}" in self.ahead + self.rows

    def over(self, schema: str | None = None) -> str:
        """SQL of the view over the mart tables in a schema, or in the one that is searched."""
        listed = ",\n    ".join(f"{column.sql} AS {column.name}" for column in self.columns)
        query = f"{self.ahead}SELECT {listed}\n{self.rows}"
        return query.replace("{mart}", f"{schema}." if schema else "").replace("{ops}", "ops.")

    def table(self, name: str, schema: str = "mart") -> Table:
        """The view as a table to select from."""
        return Table(name, sa.MetaData(), *(sa.Column(c.name, c.type_) for c in self.columns), schema=schema)


def kept(of: Table, alias: str, *names: str) -> list[ViewColumn]:
    """Columns of a table as they are, with their own documentation; all of them without names."""
    found = [of.c[name] for name in names or of.c.keys()]
    return [
        ViewColumn(c.name, f"{alias}.{c.name}", c.type, c.comment or "", unit=str(c.info.get("unit", "")))
        for c in found
    ]


def cell(alias: str, *more: str) -> list[ViewColumn]:
    """The columns that say which cell a row is of, and territories as named."""
    texts = {
        "territory": "code of the territory",
        "partner": "code of the other territory",
        "territory_a": "first territory of the pair, in the alphabet",
        "territory_b": "second territory of the pair",
    }
    named = [ViewColumn(name, f"{alias}.{name}", sa.String(), texts[name]) for name in more]
    return [*kept(t.world_year, alias, *CELL), *named]


def count(name: str, sql: str, text: str, *, unit: str = "works", caveat: str = "") -> ViewColumn:
    """A whole number."""
    return ViewColumn(name, sql, BigInteger(), text, unit=unit, caveat=caveat)


def number(name: str, sql: str, text: str, *, unit: str, caveat: str = "") -> ViewColumn:
    """A whole number that stays small, such as a rank."""
    return ViewColumn(name, sql, Integer(), text, unit=unit, caveat=caveat)


def rate(
    name: str, sql: str, text: str, *, of: str, unit: str = "share, 0 to 1", caveat: str = "", source: str = ""
) -> ViewColumn:
    """A quotient in floating point; null where it is undefined."""
    return ViewColumn(name, sql, Double(), text, unit, of, caveat, source)


def flag(name: str, sql: str, text: str) -> ViewColumn:
    """A truth value."""
    return ViewColumn(name, sql, Boolean(), text)


def low_n(papers: str) -> ViewColumn:
    """The mark of rows that rest on few papers."""
    return flag("low_n", f"{papers} < {LOW_N}", LOW_N_TEXT)


def double(sql: str) -> str:
    """An expression as a floating point number."""
    return f"CAST({sql} AS DOUBLE PRECISION)"


def ratio(part: str, whole: str) -> str:
    """Quotient of two expressions; null, never infinite, where the whole is 0."""
    return f"{double(part)} / nullif({whole}, 0)"


def join(table: str, alias: str, to: str, kind: str = "JOIN", on: Iterable[str] = CELL, **other: str) -> str:
    """A join on columns of one name, and on columns of the joined table given as name=expression."""
    same = [f"{alias}.{name} = {to}.{name}" for name in on]
    return f"{kind} {table} {alias} ON " + " AND ".join(same + [f"{alias}.{n} = {sql}" for n, sql in other.items()])
