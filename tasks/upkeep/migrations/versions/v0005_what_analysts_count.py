"""Blocs, sectors, leads, citation flows and mentions as tables of the mart; works of venue lists.

Stored works get no lead, sector or mention by this step: `collab rebuild` decides them again, because the definitions
changed with it.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

TEXT, COUNT = sa.String(), sa.BigInteger()
CELL = {"corpus": TEXT, "policy": TEXT, "field": TEXT, "year": sa.Integer()}
PAIR = {"territory_a": TEXT, "territory_b": TEXT}
SHARE, PRODUCT = sa.Numeric(38, 9), sa.Numeric(38, 18)
PAPERS = {"papers": COUNT, "citations": COUNT}
TABLES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "bloc_year": (
        {"bloc": TEXT},
        {
            "papers": COUNT,
            "fractional": SHARE,
            "papers_internal": COUNT,
            "papers_external": COUNT,
            "papers_with_unknown": COUNT,
            "citations": COUNT,
        },
    ),
    "bloc_pair_year": (
        {"bloc_a": TEXT, "bloc_b": TEXT},
        {"papers": COUNT, "papers_exclusive": COUNT, "citations": COUNT},
    ),
    "sector_year": (
        {"territory": TEXT, "sector": TEXT},
        {"papers": COUNT, "papers_international": COUNT, "citations": COUNT},
    ),
    "sector_pair_year": ({**PAIR, "sector_a": TEXT, "sector_b": TEXT}, PAPERS),
    "flow_year": ({"territory_citing": TEXT, "territory_cited": TEXT}, {"citations": COUNT, "fractional": PRODUCT}),
    "mention_year": (
        {"mention": TEXT, "territory": TEXT},
        {"papers": COUNT, "fractional": SHARE, "citations": COUNT},
    ),
    "mention_pair_year": ({"mention": TEXT, **PAIR}, PAPERS),
}
ADDED: dict[tuple[str, str], dict[str, tuple[Any, str]]] = {
    ("core", "work"): {"is_unassigned": (sa.Boolean(), "false")},
    ("core", "work_territory"): {
        "is_first": (sa.Boolean(), "false"),
        "is_corresponding": (sa.Boolean(), "false"),
        "sectors": (sa.Integer(), "0"),
    },
    **{
        (schema, f"{name}{suffix}"): dict.fromkeys(columns, (COUNT, "0"))
        for name, columns in (
            ("world_year", ("references_listed",)),
            ("country_year", ("papers_first", "papers_first_international", "papers_corresponding")),
            ("pair_year", ("papers_first_a", "papers_first_b")),
        )
        for schema, suffix in (("mart", ""), ("ops", "_change"))
    },
}


def upgrade() -> None:
    """Add columns, make tables; tasks/upkeep/migrate.py fills the mart."""
    is_server = op.get_bind().dialect.name == "postgresql"
    for (schema, table), columns in ADDED.items():
        if is_server:
            _add(schema, table, columns)
        else:
            _rewrite(schema, table, columns)
    _make("core", "work_mention", {"work_id": COUNT, "mention": TEXT}, ("work_id", "mention"), keyed=is_server)
    years = {"first_year": sa.Integer(), "last_year": sa.Integer()}
    member = {"bloc": TEXT, "scheme": TEXT, "territory": TEXT, **years}
    _make("core", "bloc_member", member, ("bloc", "territory", "first_year"), keyed=True)
    for name, (keys, measures) in TABLES.items():
        key = (*CELL, *keys)
        _make("mart", name, {**CELL, **keys, **measures}, key, keyed=is_server)
        booked = {"batch_id": TEXT, "reason": TEXT, **CELL, **keys, **measures}
        _make("ops", f"{name}_change", booked, ("batch_id", "reason", *key), keyed=is_server)
        if is_server:
            for ends in dict.fromkeys((tuple(keys), tuple(keys)[::-1])):
                op.create_index(f"{name}_{'_'.join(ends)}", name, list(ends), schema="mart")
    if is_server:
        op.create_index("reference_cited_work_id", "reference", ["cited_work_id"], schema="core")


def _add(schema: str, table: str, columns: dict[str, tuple[Any, str]]) -> None:
    for name, (type_, filled) in columns.items():
        op.add_column(table, sa.Column(name, type_, nullable=False, server_default=sa.text(filled)), schema=schema)
        op.alter_column(table, name, server_default=None, schema=schema)


def _rewrite(schema: str, table: str, columns: dict[str, tuple[Any, str]]) -> None:
    """The same on DuckDB, which cannot make a column that it just added NOT NULL in the same transaction."""
    have = sa.inspect(op.get_bind()).get_columns(table, schema=schema)
    made = [sa.Column(c["name"], c["type"], nullable=c["nullable"], autoincrement=False) for c in have]
    made += [sa.Column(name, type_, nullable=False, autoincrement=False) for name, (type_, _) in columns.items()]
    op.create_table(f"{table}_new", *made, schema=schema)
    values = ", ".join(filled for _, filled in columns.values())
    op.execute(f"INSERT INTO {schema}.{table}_new SELECT *, {values} FROM {schema}.{table}")
    op.drop_table(table, schema=schema)
    op.execute(f"ALTER TABLE {schema}.{table}_new RENAME TO {table}")


def _make(schema: str, name: str, columns: dict[str, Any], key: tuple[str, ...], *, keyed: bool) -> None:
    made = [sa.Column(n, type_, nullable=False, autoincrement=False) for n, type_ in columns.items()]
    constraints = [sa.PrimaryKeyConstraint(*key, name=f"{name}_pkey")] if keyed else []
    op.create_table(name, *made, *constraints, schema=schema)
