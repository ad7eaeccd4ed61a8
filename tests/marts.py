"""A mart of its own in a DuckDB in memory, laid out like a release: for tests that bring their own counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import duckdb
from sqlalchemy.types import TypeEngine

from schemas import tables as t
from schemas.indices import VIEWS

CELL = {"corpus": "openalex", "policy": "iso", "field": "ai", "year": 2020}


def make_mart(atlas: duckdb.DuckDBPyConnection) -> None:
    """Empty tables and all views of a release."""
    for mart in t.MART:
        columns = [f"{c.name} {sql_type(c.type)}" for c in mart.columns]
        atlas.execute(f"CREATE TABLE {mart.name} ({', '.join(columns)})")
    for name, view in VIEWS.items():
        if view.is_released_as_table:
            columns = [f"{c.name} {sql_type(c.type_)}" for c in view.columns]
            atlas.execute(f"CREATE TABLE {name} ({', '.join(columns)})")
        else:
            atlas.execute(f"CREATE VIEW {name} AS {view.over()}")


def sql_type(of: TypeEngine[Any]) -> str:
    """Type as DuckDB writes it."""
    kind = str(of).replace(", ", ",").replace("NUMERIC", "DECIMAL")
    return {"DATETIME": "TIMESTAMP", "TEXT": "VARCHAR"}.get(kind, kind)


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


def countries(**papers: tuple[int, int, int]) -> list[dict[str, Any]]:
    """Rows of country_year: of each territory papers, international papers, links."""
    return [
        {"territory": code, "papers": n, "papers_international": i, "links": links, "fractional": Decimal(n)}
        for code, (n, i, links) in papers.items()
    ]


def pair(a: str, b: str, papers: int, **more) -> dict[str, Any]:
    """A row of pair_year."""
    return {"territory_a": a, "territory_b": b, "papers": papers} | more
