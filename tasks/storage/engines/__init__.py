"""The engines a warehouse can live in. Only this package knows them by name."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from schemas.errors import UsageError
from tasks.storage.engines.base import Backend
from tasks.storage.engines.duckdb import DuckDB
from tasks.storage.engines.postgresql import PostgreSQL

BACKENDS: dict[str, Backend] = {"duckdb": DuckDB(), "postgresql": PostgreSQL()}


def backend_for(url: sa.URL) -> Backend:
    """Backend of a database address.

    Raises:
        UsageError: the engine is not supported, or its driver does not understand the address.
    """
    name = url.get_backend_name()
    if name not in BACKENDS:
        raise UsageError(
            f"COLLAB_WAREHOUSE_URL: engine {name} is not supported",
            "use duckdb:///path/to/warehouse.duckdb or postgresql://user@host/database",
        )
    try:
        url.get_dialect()().create_connect_args(url)
    except (sa.exc.ArgumentError, ValueError) as exc:
        raise UsageError(f"COLLAB_WAREHOUSE_URL: {exc}", "mend what follows the ? in it") from None
    return BACKENDS[name]


def backend_of(conn: Connection) -> Backend:
    """Backend of an open connection."""
    return BACKENDS[conn.dialect.name]
