"""The warehouse: opening and its version, transactions, temporary tables.

Everything here is SQLAlchemy Core that all engines understand; what differs between them is in `tasks/storage/engines`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import CompoundSelect, Connection, Select, Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import ExecutableDDLElement
from sqlalchemy.sql.compiler import DDLCompiler
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_random

from schemas import tables as t
from schemas.errors import CollabError, NoWarehouse, WarehouseError, WarehouseInUse
from schemas.reviewed import code_version, counting_digest, locating_digest
from schemas.settings import Settings
from schemas.staging import sql_type
from tasks.storage.definitions import COUNTED_BY, put_definitions
from tasks.storage.engines import backend_for, backend_of
from tasks.storage.home import check_home
from tasks.storage.layout import create, read_version

SECONDS_BETWEEN_LOOKS = 10
log = logging.getLogger("collab")


def _say_that_we_wait(state: RetryCallState) -> None:
    if state.attempt_number == 1:
        log.info("%s; waiting for it", getattr(state.outcome and state.outcome.exception(), "message", ""))


def utc_now() -> datetime:
    """Now, UTC, without zone, as the warehouse stores it."""
    return datetime.now(UTC).replace(tzinfo=None)


class Warehouse:
    """An open warehouse of our version and scope."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._backend = backend_for(engine.url)

    @classmethod
    def open(
        cls, settings: Settings, *, create: bool = True, reads_all: bool = False, any_definitions: bool = False
    ) -> Warehouse:
        """Connect, make a warehouse if there is none, and check version, scope and definitions.

        Args:
            create: make a warehouse if there is none; this is a run, and the home is the warehouse's from now on.
            reads_all: allow the memory that counting everything anew takes.
            any_definitions: also open one that was counted by other definitions than ours.

        Raises:
            UsageError: the URL is not one of an engine we support, or the home is that of another warehouse.
            WarehouseError: in use by another process, not a warehouse, of another version, scope or definitions.
        """
        warehouse = cls.connect(settings, create=create, reads_all=reads_all)
        try:
            warehouse.check(settings, any_definitions=any_definitions, is_run=create)
        except CollabError:
            warehouse.close()
            raise
        return warehouse

    @classmethod
    def connect(cls, settings: Settings, *, create: bool, reads_all: bool = False) -> Warehouse:
        """The same for a warehouse of any version. One that another process has open is waited for, as long as
        COLLAB_WAREHOUSE_WAIT says.

        Raises:
            UsageError: the URL is not one of an engine we support.
            WarehouseInUse: it is still open elsewhere.
            WarehouseError: there is none, or it cannot be opened.
        """
        attempt = Retrying(
            retry=retry_if_exception_type(WarehouseInUse),
            stop=stop_after_delay(settings.warehouse_wait * 60),
            wait=wait_random(SECONDS_BETWEEN_LOOKS / 2, SECONDS_BETWEEN_LOOKS),
            before_sleep=_say_that_we_wait,
            reraise=True,
        )
        return attempt(cls._connect, settings, create=create, reads_all=reads_all)

    @classmethod
    def _connect(cls, settings: Settings, *, create: bool, reads_all: bool) -> Warehouse:
        url = settings.url
        backend = backend_for(url)
        backend.find(url, create=create, settings=settings, make=lambda engine: _make(engine, settings))
        limit = settings.rebuild_memory_limit if reads_all else settings.memory_limit
        warehouse = cls(backend.connect(url, settings, limit))
        try:
            with warehouse.reading("opened") as conn:
                is_made = read_version(conn) > 0
            if not is_made and not create:
                raise NoWarehouse(
                    f"no warehouse at {url.render_as_string(hide_password=True)}", "`collab run` makes one"
                )
            if not is_made:
                with warehouse.transaction("opened") as conn:
                    _make_in(conn, settings)
        except WarehouseError:
            warehouse.close()
            raise
        return warehouse

    def check(self, settings: Settings, *, any_definitions: bool = False, is_run: bool = False) -> None:
        """Compare version, scope and definitions with ours, and the home with this warehouse.

        Raises:
            WarehouseError: they differ.
            UsageError: the home is that of another warehouse; see tasks/storage/home.py.
        """
        with self.reading("opened") as conn:
            _check(conn, settings, any_definitions=any_definitions)
            check_home(conn, settings, is_run=is_run)

    def close(self) -> None:
        """Release the database."""
        self.engine.dispose()

    def __enter__(self) -> Warehouse:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def properties(self) -> dict[str, str]:
        """Engine, version, scope and definitions of this warehouse."""
        with self.reading() as conn:
            found = dict(conn.execute(sa.select(t.meta.c.name, t.meta.c.value).order_by(t.meta.c.name)).tuples().all())
            return {**self._backend.describe(conn), "warehouse_version": str(read_version(conn)), **found}

    @contextmanager
    def transaction(self, doing: str = "written") -> Iterator[Connection]:
        """One transaction: everything or nothing, and no other beside it.

        Raises:
            ConnectionLost: the server went away; the transaction was rolled back.
            WarehouseError: the engine could not write, such as on a full disk; the transaction was rolled back.
        """
        with self._explained(doing), self.engine.begin() as conn:
            conn.info.pop("scratch", None)  # what a rolled back transaction made is gone
            self._backend.lock_writers(conn)
            yield conn
            clear_scratch(conn)
            self._backend.has_loaded(conn)

    @contextmanager
    def reading(self, doing: str = "read") -> Iterator[Connection]:
        """A connection that only reads, all of it as of one moment; temporary tables go when it ends.

        Raises:
            ConnectionLost: the server went away.
            WarehouseError: the engine could not read.
        """
        with self._explained(doing), self.engine.connect() as conn:
            conn.info.pop("scratch", None)
            yield self._backend.prepare_reading(conn)

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except DBAPIError as exc:
            raise self._backend.explain(exc, self.engine.url, doing) from exc
        except RuntimeError as exc:
            if self._backend.is_interrupt(exc):
                raise KeyboardInterrupt from None
            raise


def attach_arrow(conn: Connection, name: str, data: pa.Table) -> sa.TableClause:
    """Make an Arrow table readable in SQL under `name` until `detach_arrow` or the end of the transaction."""
    backend_of(conn).attach(conn, name, data)
    return sa.table(name, *(sa.column(field.name, sql_type(field.type)) for field in data.schema))


def detach_arrow(conn: Connection, names: Sequence[str]) -> None:
    """Forget attached Arrow tables."""
    backend_of(conn).detach(conn, names)


class _CreateTableAs(ExecutableDDLElement):
    """CREATE TEMPORARY TABLE name AS query. SQLAlchemy has its own from 2.1 on, which the server of Prefect cannot run
    with."""

    inherit_cache = False

    def __init__(self, name: str, query: Select[Any] | CompoundSelect[Any]) -> None:
        self.name, self.query = name, query


@compiles(_CreateTableAs)
def _compile_create_table_as(made: _CreateTableAs, compiler: DDLCompiler, **_: Any) -> str:
    name = compiler.preparer.quote(made.name)
    return f"CREATE TEMPORARY TABLE {name} AS {compiler.sql_compiler.process(made.query, literal_binds=True)}"


class Recipe(NamedTuple):
    """A temporary table that is made again and again: its columns, and the statement that makes it."""

    table: Table
    statement: str


def recipe(conn: Connection, name: str, query: Select[Any] | CompoundSelect[Any]) -> Recipe:
    """How to make a temporary table with the rows of a query; good for every connection to this kind of engine."""
    table = Table(name, sa.MetaData(), *(sa.Column(c.name, c.type) for c in query.selected_columns))
    return Recipe(table, str(_CreateTableAs(name, query).compile(dialect=conn.dialect)))


def scratch(conn: Connection, name: str, query: Select[Any] | CompoundSelect[Any]) -> Table:
    """Temporary table with the rows of a query, until `clear_scratch` or the rollback."""
    return make_scratch(conn, recipe(conn, name, query))


def make_scratch(conn: Connection, made: Recipe) -> Table:
    """The same by a recipe."""
    conn.exec_driver_sql(made.statement)
    conn.info.setdefault("scratch", {})[made.table.name] = made.table
    backend_of(conn).has_filled(conn, made.table)
    return made.table


def clear_scratch(conn: Connection, *names: str) -> None:
    """Drop the named temporary tables of this connection, all without names."""
    held: dict[str, Table] = conn.info.setdefault("scratch", {})
    dropped = [held.pop(name).name for name in names or tuple(held)]
    if dropped:  # at once: a batch has some fifty
        conn.exec_driver_sql(
            "; ".join(f"DROP TABLE {conn.dialect.identifier_preparer.quote(name)}" for name in dropped)
        )


def export_parquet(conn: Connection, query: Select[Any], path: Path) -> int:
    """Write a query to one Parquet file and return its number of rows.

    Raises:
        OSError: the file cannot be written.
    """
    return backend_of(conn).export_parquet(conn, query, path)


def _make(engine: sa.Engine, settings: Settings) -> None:
    with engine.begin() as conn:
        _make_in(conn, settings)


def _make_in(conn: Connection, settings: Settings) -> None:
    """Make all tables, unless another run made them while this one waited."""
    if read_version(conn):
        return
    create(conn)
    values = {
        "scope": settings.scope,
        "located_by": f"{locating_digest()}/",
        "created_by": code_version(),
        "warehouse_id": uuid4().hex,
    }
    conn.execute(t.meta.insert(), [{"name": name, "value": value} for name, value in values.items()])
    put_definitions(conn)


def _check(conn: Connection, settings: Settings, *, any_definitions: bool) -> None:
    have = read_version(conn)
    if have > t.WAREHOUSE_VERSION:
        raise WarehouseError(
            f"the warehouse is of version {have}, this release knows versions up to {t.WAREHOUSE_VERSION}",
            "upgrade collab-atlas to the release that wrote it",
        )
    if have < t.WAREHOUSE_VERSION:
        raise WarehouseError(
            f"the warehouse is of version {have}, this release needs {t.WAREHOUSE_VERSION}",
            "`collab upgrade` brings it up to date in place; keep a copy until `collab verify` has passed",
        )
    found = dict(conn.execute(sa.select(t.meta.c.name, t.meta.c.value)).tuples().all())
    if missing := {"scope", COUNTED_BY} - found.keys():
        raise WarehouseError(
            f"ops.meta lacks {' and '.join(sorted(missing))}: the warehouse was changed by something else",
            "restore a copy of it: deployments/README.md, Back up and restore",
        )
    if found["scope"] != settings.scope:
        raise WarehouseError(
            f"the warehouse holds scope {found['scope']!r}, COLLAB_SCOPE is {settings.scope!r}",
            "use a warehouse for each scope (another COLLAB_HOME or database), or set COLLAB_SCOPE back",
        )
    if found[COUNTED_BY] != counting_digest() and not any_definitions:
        raise WarehouseError(
            f"the warehouse was counted by definitions {found[COUNTED_BY]}, these are {counting_digest()}",
            "`collab rebuild` decides stored works again by these; keep a copy until `collab verify` has passed",
        )
