"""The layout of a warehouse in its database: schemas, tables and views as `schemas/` declares them, and the version
that is noted there."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection, Table
from sqlalchemy.schema import CreateSchema

from schemas import tables as t
from schemas.errors import WarehouseError
from schemas.indices import VIEWS
from tasks.storage.engines import backend_of

SCHEMAS = ("ops", "core", "mart")
FIRST_VERSION = 1  # noted in ops.meta; later ones where Alembic notes them
VERSION = Table("alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), nullable=False), schema="ops")


def revision(version: int) -> str:
    """Alembic's name of a warehouse version."""
    return f"{version:04d}"


def read_version(conn: Connection) -> int:
    """Version of the warehouse in a database; 0 if there is none.

    Raises:
        WarehouseError: another project keeps its version there.
    """
    listed = sa.inspect(conn)
    if listed.has_table(VERSION.name, schema=VERSION.schema):
        noted = conn.scalar(sa.select(VERSION.c.version_num)) or "0"
        if not noted.isdigit():
            raise WarehouseError(
                f"{VERSION} is that of another project: {noted[:32]!r}",
                "give the warehouse a database of its own in COLLAB_WAREHOUSE_URL",
            )
        return int(noted)
    if not listed.has_table(t.meta.name, schema=t.meta.schema):
        return 0
    noted = conn.scalar(sa.select(t.meta.c.value).where(t.meta.c.name == "warehouse_version"))
    return int(noted or FIRST_VERSION)


def create(conn: Connection) -> None:
    """Make every schema, table and view of the newest version."""
    for schema in SCHEMAS:
        conn.execute(CreateSchema(schema, if_not_exists=True))
    tables = t.metadata.sorted_tables
    for table in tables:
        table.create(conn)
    VERSION.create(conn)
    conn.execute(VERSION.insert(), {"version_num": revision(t.WAREHOUSE_VERSION)})
    make_views(conn)
    backend_of(conn).has_created(conn, tables)


def drop_views(conn: Connection) -> None:
    """Remove every view of the mart that there is."""
    for name in reversed(VIEWS):  # those that read others first
        conn.exec_driver_sql(f"DROP VIEW IF EXISTS mart.{name}")


def make_views(conn: Connection) -> None:
    """Make every view of the mart; they hold nothing and are made anew every time."""
    for name, view in VIEWS.items():
        conn.exec_driver_sql(f"CREATE VIEW mart.{name} AS {view.over('mart')}")


def tables_in(conn: Connection) -> list[tuple[str, str]]:
    """Schema and name of every table that the database has of a warehouse."""
    listed = sa.inspect(conn)
    return [(schema, name) for schema in SCHEMAS for name in listed.get_table_names(schema=schema)]
