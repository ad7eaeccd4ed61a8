"""How tables are declared: every column with the rule behind it in an analyst's words, its unit, and the rules that its
values are held to.

The logical key of a table is in `info["key"]`: on DuckDB key constraints on large tables made aggregates 10 to 30 times
slower, so there delete+insert inside one transaction keeps keys unique and `collab verify` checks it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Index, MetaData, PrimaryKeyConstraint, String, Table
from sqlalchemy.types import TypeEngine

from schemas.rules import Rule

EVERYWHERE = "everywhere"  # a copy of the table on each machine
_SERVER = "postgresql"
BYTES = "C"  # the collation that orders by bytes

metadata = MetaData()


def ordered_by_bytes(type_: String) -> String:
    """A text type that every engine orders as DuckDB and Python do, whatever the collation of the database: a Czech
    one puts CH behind GB, and such a pair of territories would be counted the other way round."""
    return type_.with_variant(type(type_)(collation=BYTES), _SERVER)


def column(
    name: str,
    type_: TypeEngine[Any] | type[TypeEngine[Any]],
    text: str,
    *rules: Rule,
    null: bool = False,
    unit: str = "",
) -> Column[Any]:
    """A documented column: `text` says the rule behind the value in an analyst's words, `unit` what one of it is."""
    made = type_() if isinstance(type_, type) else type_
    made = ordered_by_bytes(made) if isinstance(made, String) else made
    return Column(name, made, nullable=null, autoincrement=False, comment=text, info={"unit": unit, "rules": rules})


def table(
    schema: str,
    name: str,
    text: str,
    *columns: Column[Any],
    key: tuple[str, ...],
    small: bool = False,
    log: bool = False,
    spread: str | None = None,
    indexes: tuple[tuple[str, ...], ...] = (),
) -> Table:
    """A documented table.

    Args:
        small: carry a real primary key on every engine, not only where one is cheap.
        log: rows are only added, a batch at a time, so that no engine needs to hold the key against others.
        spread: where several machines hold the warehouse, the column whose value says which holds a row, or
            EVERYWHERE; None: one machine holds it all.
        indexes: columns that rows are looked up by, on engines where an index is cheap.
    """
    made = Table(name, metadata, *columns, schema=schema, comment=text, info={"key": key, "spread": spread})
    names = {c.name for c in columns if not c.nullable}
    if not log and names.issuperset(key):
        constraint = PrimaryKeyConstraint(*key, name=f"{name}_pkey")
        made.append_constraint(constraint if small else constraint.ddl_if(dialect=_SERVER))
    for of in indexes:
        Index(f"{name}_{'_'.join(of)}", *(made.c[c] for c in of)).ddl_if(dialect=_SERVER)
    return made


def key_columns(of: Table) -> tuple[str, ...]:
    """Logical key of a table."""
    return tuple(of.info["key"])


def measures(of: Table) -> tuple[str, ...]:
    """Columns of a mart table that are sums over works."""
    return tuple(c.name for c in of.columns if c.name not in of.info["key"])


def batch_id() -> Column[Any]:
    """The batch that wrote a row."""
    return column("batch_id", String, "batch that wrote the row")
