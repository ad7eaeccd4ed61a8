"""A mart of its own in a DuckDB in memory, laid out like a release: for tests that bring their own counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import duckdb
from sqlalchemy.types import TypeEngine

from schemas import tables as t
from schemas.indices import VIEWS, VIEWS_OF_COMING_TABLES

CELL = {"corpus": "openalex", "policy": "iso", "field": "ai", "year": 2020}

# Tables and columns that schemas/tables.py does not declare yet.
COMING_COLUMNS = {
    "country_year": ("papers_first BIGINT", "papers_corresponding BIGINT"),
    "pair_year": ("papers_first_a BIGINT", "papers_first_b BIGINT"),
    "world_year": ("references_listed BIGINT",),
}
_KEY = "corpus VARCHAR, policy VARCHAR, field VARCHAR, year INTEGER"
COMING_TABLES = {
    "bloc_year": "bloc VARCHAR, papers BIGINT, fractional DECIMAL(38,9), papers_internal BIGINT,"
    " papers_external BIGINT, papers_with_unknown BIGINT, citations BIGINT",
    "bloc_pair_year": "bloc_a VARCHAR, bloc_b VARCHAR, papers BIGINT, papers_exclusive BIGINT, citations BIGINT",
    "sector_year": "territory VARCHAR, sector VARCHAR, papers BIGINT, papers_international BIGINT, citations BIGINT",
    "sector_pair_year": "territory_a VARCHAR, territory_b VARCHAR, sector_a VARCHAR, sector_b VARCHAR, papers BIGINT,"
    " citations BIGINT",
    "flow_year": "territory_citing VARCHAR, territory_cited VARCHAR, citations BIGINT, fractional DECIMAL(38,18)",
    "mention_year": "mention VARCHAR, territory VARCHAR, papers BIGINT, fractional DECIMAL(38,9), citations BIGINT",
    "mention_pair_year": "mention VARCHAR, territory_a VARCHAR, territory_b VARCHAR, papers BIGINT, citations BIGINT",
}


def make_mart(atlas: duckdb.DuckDBPyConnection, *, coming: bool = False) -> None:
    """Empty tables and all views of a release; with `coming` those that are not declared yet too."""
    for mart in t.MART:
        columns = [f"{c.name} {sql_type(c.type)}" for c in mart.columns]
        if coming:
            columns += [c for c in COMING_COLUMNS.get(mart.name, ()) if c.split()[0] not in mart.c]
        atlas.execute(f"CREATE TABLE {mart.name} ({', '.join(columns)})")
    if coming:
        known = {mart.name for mart in t.MART}
        for name, columns in COMING_TABLES.items():
            if name not in known:
                atlas.execute(f"CREATE TABLE {name} ({_KEY}, {columns})")
    for name, view in (VIEWS | VIEWS_OF_COMING_TABLES if coming else VIEWS).items():
        if view.is_released_as_table:
            columns = [f"{c.name} {sql_type(c.type_)}" for c in view.columns]
            atlas.execute(f"CREATE TABLE {name} ({', '.join(columns)})")
        else:
            atlas.execute(f"CREATE VIEW {name} AS {view.over()}")


def sql_type(of: TypeEngine[Any]) -> str:
    """Type as DuckDB writes it."""
    kind = str(of)
    return "DECIMAL(38,9)" if kind == "NUMERIC(38, 9)" else {"DATETIME": "TIMESTAMP", "TEXT": "VARCHAR"}.get(kind, kind)


def put(atlas: duckdb.DuckDBPyConnection, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows; what a row leaves out is the common cell, or 0 for a measure."""
    names = [row[0] for row in atlas.execute(f"DESCRIBE {table}").fetchall()]
    values = [[({name: Decimal(0) for name in names} | CELL | dict(row))[name] for name in names] for row in rows]
    row = f"({', '.join('?' * len(names))})"
    for at in range(0, len(values), 500):  # one statement a row takes seconds
        block = values[at : at + 500]
        flat = [value for line in block for value in line]
        atlas.execute(f"INSERT INTO {table} VALUES {', '.join([row] * len(block))}", flat)


def read(atlas: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    """Rows of a query by column name."""
    found = atlas.execute(query)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
