"""What the warehouse asks of a database engine beyond the SQL that all of them understand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import Connection, Select, Table
from sqlalchemy.exc import DBAPIError

from schemas.errors import WarehouseError
from schemas.settings import Settings


class Backend(ABC):
    """One database engine. Stateless: what is open belongs to the SQLAlchemy engine that `connect` returns.

    Methods that are not abstract do nothing where an engine has no need of them.
    """

    keeps_indexes = False
    """Whether large tables have the keys and indexes that are declared."""

    @abstractmethod
    def connect(self, url: sa.URL, settings: Settings, memory_limit: str) -> sa.Engine:
        """An engine for the warehouse at `url`; nothing is opened before its first connection.

        Args:
            memory_limit: what queries may use before they spill, such as 400MB.
        """

    def address(self, url: sa.URL, home: Path) -> str:
        """Where a warehouse lies, without who asks: no user and no password."""
        del home
        name = url.get_backend_name()
        return sa.URL.create(
            name, host=url.host, port=url.port, database=url.database, query=url.query
        ).render_as_string()

    def find(self, url: sa.URL, *, create: bool, settings: Settings, make: Callable[[sa.Engine], None]) -> None:  # noqa: B027
        """Make sure that there is a database to connect to.

        Args:
            create: make one if there is none.
            make: creates the tables of the warehouse in a new database.

        Raises:
            WarehouseError: there is none.
        """

    def lock_writers(self, conn: Connection) -> None:  # noqa: B027
        """Wait until no other transaction writes, and keep others waiting until this one ends."""

    def lock_readers(self, conn: Connection, tables: Sequence[str]) -> None:  # noqa: B027
        """Wait until nobody reads some tables, and keep readers out until this transaction ends."""

    def prepare_reading(self, conn: Connection) -> Connection:
        """Make everything that is read on a connection come from one moment."""
        return conn

    @abstractmethod
    def attach(self, conn: Connection, name: str, data: pa.Table) -> None:
        """Make an Arrow table readable in SQL under `name`."""

    @abstractmethod
    def detach(self, conn: Connection, names: Sequence[str]) -> None:
        """Forget attached tables."""

    def has_filled(self, conn: Connection, table: Table) -> None:  # noqa: B027
        """Tell the planner what a temporary table holds."""

    def has_loaded(self, conn: Connection) -> None:  # noqa: B027
        """Tell the planner what the tables of the warehouse hold, as far as it does not know yet."""

    def joining_whole(self, conn: Connection) -> AbstractContextManager[None]:
        """Plan for joins of whole tables with each other, rather than for looking up some rows of large ones."""
        del conn
        return nullcontext()

    @abstractmethod
    def adding(self, mart: Table, cells: Table) -> sa.Executable:
        """A statement that adds to the measures of a mart table those of `cells`, which has the same columns, and
        inserts the cells that the mart does not have yet. It reads the mart once."""

    @abstractmethod
    def export_parquet(self, conn: Connection, query: Select[Any], path: Path) -> int:
        """Write a query to one Parquet file and return its number of rows.

        Raises:
            OSError: the file cannot be written.
        """

    def has_created(self, conn: Connection, tables: Sequence[Table]) -> None:  # noqa: B027
        """Finish tables that were just created: place them, and grant roles what they may do."""

    def order_by_bytes(self, conn: Connection) -> None:  # noqa: B027
        """Make every text column of the warehouse one that is ordered by its bytes, as new ones are."""

    @abstractmethod
    def describe(self, conn: Connection) -> dict[str, str]:
        """What a maintainer wants to know of the engine: its version, and what is missing."""

    def is_interrupt(self, exc: RuntimeError) -> bool:
        """Whether an error is how the engine passes on Ctrl-C or another signal that came during a query."""
        del exc
        return False

    @abstractmethod
    def explain(self, exc: DBAPIError, url: sa.URL, doing: str) -> WarehouseError:
        """An error of the engine in one line: cause and next command.

        Args:
            doing: what could not be done: opened, read or written.
        """


def compiled(conn: Connection, query: Select[Any]) -> str:
    """SQL text of a query with its values in place, for statements that take no parameters."""
    return str(query.compile(conn, compile_kwargs={"literal_binds": True}))


def first_line(exc: DBAPIError) -> str:
    """What the engine says, without the lines that point into the statement."""
    return (str(exc.orig).strip().splitlines() or [type(exc.orig).__name__])[0]
