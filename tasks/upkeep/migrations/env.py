"""Alembic's entry: runs the steps on the connection, and in the transaction, that tasks/upkeep/migrate.py hands on."""

from __future__ import annotations

from alembic import context
from alembic.ddl.postgresql import PostgresqlImpl

from schemas.tables import metadata


class DuckDBImpl(PostgresqlImpl):
    """DuckDB understands the DDL of PostgreSQL, and rolls it back like other statements."""

    __dialect__ = "duckdb"


context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, version_table_schema="ops"
)
context.run_migrations()
