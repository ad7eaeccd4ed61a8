"""Making a warehouse, and bringing one that an older release made up to date in place.

A new warehouse is made from `schemas/tables.py` and marked as of the newest version; an older one goes through the
steps in `tasks/migrations`, run by Alembic in one transaction. Views hold nothing and are made anew every time.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection, Table
from sqlalchemy.schema import CreateSchema

from schemas import tables as t
from schemas.errors import WarehouseError
from schemas.indices import VIEWS
from tasks.engines import backend_of

SCHEMAS = ("ops", "core", "mart")
COUNTED_SINCE = 5  # the newest version that counts what no older one did: the mart is counted anew by an upgrade to it
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
    _make_views(conn)
    backend_of(conn).has_created(conn, tables)


def upgrade(conn: Connection) -> tuple[int, int]:
    """Take a warehouse to the newest version, inside the caller's transaction; returns the versions before and after.

    Grants of roles are renewed too, also when the version is the newest already.
    """
    from alembic import command
    from alembic.config import Config

    have = read_version(conn)
    before = set(_tables(conn))
    backend_of(conn).lock_readers(conn, [f"{schema}.{name}" for schema, name in before if schema == "mart"])
    for name in reversed(VIEWS):  # those that read others first
        conn.exec_driver_sql(f"DROP VIEW IF EXISTS mart.{name}")
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = conn
    if not sa.inspect(conn).has_table(VERSION.name, schema=VERSION.schema):
        command.stamp(config, revision(have))
    command.upgrade(config, revision(t.WAREHOUSE_VERSION))
    if have < COUNTED_SINCE:
        from tasks.definitions import put_blocs
        from tasks.verify import rebuild

        put_blocs(conn)
        rebuild(conn)
    _make_views(conn)
    new = [table for table in t.metadata.sorted_tables if (table.schema, table.name) not in before]
    backend_of(conn).has_created(conn, new)
    return have, read_version(conn)


def _make_views(conn: Connection) -> None:
    for name, view in VIEWS.items():
        conn.exec_driver_sql(f"CREATE VIEW mart.{name} AS {view.over('mart')}")


def _tables(conn: Connection) -> list[tuple[str, str]]:
    listed = sa.inspect(conn)
    return [(schema, name) for schema in SCHEMAS for name in listed.get_table_names(schema=schema)]
