"""Brings a warehouse that an older release made up to date in place, by the steps in migrations/, which Alembic runs in
one transaction. A new one is made by tasks/storage/layout.py and needs none of them."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from schemas import tables as t
from tasks.loading.verify import rebuild
from tasks.storage.definitions import put_blocs
from tasks.storage.engines import backend_of
from tasks.storage.layout import VERSION, drop_views, make_views, read_version, revision, tables_in

COUNTED_SINCE = 5  # the newest version that counts what no older one did: the mart is counted anew by an upgrade to it


def upgrade(conn: Connection) -> tuple[int, int]:
    """Take a warehouse to the newest version, inside the caller's transaction; returns the versions before and after.

    Grants of roles are renewed too, also when the version is the newest already.
    """
    from alembic import command
    from alembic.config import Config

    have = read_version(conn)
    before = set(tables_in(conn))
    backend_of(conn).lock_readers(conn, [f"{schema}.{name}" for schema, name in before if schema == "mart"])
    drop_views(conn)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = conn
    if not sa.inspect(conn).has_table(VERSION.name, schema=VERSION.schema):
        command.stamp(config, revision(have))
    command.upgrade(config, revision(t.WAREHOUSE_VERSION))
    if have < COUNTED_SINCE:
        put_blocs(conn)
    outdated = t.MART if have < COUNTED_SINCE else [mart for mart in t.MART if _has_turned_pairs(conn, mart)]
    if outdated:
        rebuild(conn, outdated)
    make_views(conn)
    new = [table for table in t.metadata.sorted_tables if (table.schema, table.name) not in before]
    backend_of(conn).has_created(conn, new)
    return have, read_version(conn)


def _has_turned_pairs(conn: Connection, mart: Table) -> bool:
    """Whether a table has the larger end of a pair first: until version 6 PostgreSQL's databases decided what that is,
    since then its bytes do."""
    ends = next(((mart.c[a], mart.c[f"{a[:-1]}b"]) for a in t.key_columns(mart) if a.endswith("_a")), None)
    return ends is not None and bool(conn.scalar(sa.select(sa.exists().where(ends[0] > ends[1]))))
