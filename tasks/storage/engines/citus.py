"""Citus: PostgreSQL tables spread over workers. Found by its extension; SQL and driver stay the same.

Tables of a work lie together on the shard of its id, so that whatever joins them runs beside the data. Institutions,
organisations, corrections and members of blocs, which are joined with them, are copied to every worker. What happens
(`ops` but for `seen`) and what analysts read (`mart`) stays on the coordinator: it is small, and increments join it
with temporary tables in ways that Citus refuses for distributed ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from schemas import tables as t

IS_SPREAD = "SELECT count(*) FROM pg_dist_partition WHERE logicalrelid = CAST(:name AS regclass)"


def is_installed(conn: Connection) -> bool:
    """Whether the database is a Citus coordinator."""
    return bool(conn.scalar(sa.text("SELECT count(*) FROM pg_extension WHERE extname = 'citus'")))


def place(conn: Connection, tables: Sequence[Table]) -> None:
    """Distribute new tables as they are declared (`info["spread"]`): by a column, co-located, or copied everywhere.

    A warehouse that is older than the extension in its database stays on the coordinator, with what an upgrade adds.
    """
    if t.work not in tables and not conn.scalar(sa.text(IS_SPREAD), {"name": f"{t.work.schema}.{t.work.name}"}):
        return
    for table in sorted(
        tables, key=lambda table: table is not t.work
    ):  # the one that the others lie beside comes first
        spread, name = table.info["spread"], f"{table.schema}.{table.name}"
        if spread == t.EVERYWHERE:
            conn.execute(sa.text("SELECT create_reference_table(:name)"), {"name": name})
        elif spread is not None:
            first = f"{t.work.schema}.{t.work.name}"
            mates = "default" if table is t.work else first
            conn.execute(
                sa.text("SELECT create_distributed_table(:name, :column, colocate_with => :mates)"),
                {"name": name, "column": spread, "mates": mates},
            )


def describe(conn: Connection) -> str:
    """Version and number of workers."""
    version = conn.scalar(sa.text("SELECT extversion FROM pg_extension WHERE extname = 'citus'"))
    workers = conn.scalar(sa.text("SELECT count(*) FROM citus_get_active_worker_nodes()"))
    return f"{version}, {workers} workers"
