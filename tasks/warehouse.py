"""The warehouse: opening, versions, bulk loads, exports. The only module that knows a dialect by name.

Everything else is SQLAlchemy Core that both engines understand. One writer at a time: DuckDB locks its file, so a
second process gets a clear error instead of half a night.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import CompoundSelect, Connection, Select, Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import ExecutableDDLElement
from sqlalchemy.sql.compiler import DDLCompiler

from schemas import tables as t
from schemas.errors import UsageError, WarehouseError
from schemas.reviewed import definitions_digest
from schemas.settings import Settings

SCHEMAS = ("ops", "core", "mart")
CHECKPOINT_AFTER = "128MB"  # of log: at DuckDB's own 16 MB every larger night rewrites parts of the file at its commit
HEADERS = 3 * 4096  # bytes that every DuckDB file begins with


def code_version() -> str:
    """Version of collab-atlas that is running."""
    try:
        return version("collab-atlas")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "source"


def utc_now() -> datetime:
    """Now, UTC, without zone, as the warehouse stores it."""
    return datetime.now(UTC).replace(tzinfo=None)


class Warehouse:
    """An open warehouse of our version and scope."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    @classmethod
    def open(cls, settings: Settings, *, create: bool = True, reads_all: bool = False) -> Warehouse:
        """Connect, create what is missing, and check version and scope.

        Args:
            create: make a warehouse if there is none.
            reads_all: allow the memory that counting everything anew takes.

        Raises:
            UsageError: the URL is not one of an engine we support.
            WarehouseError: locked by another process, not a warehouse, newer than this code, or built for another
                scope.
        """
        url = settings.url
        if url.get_backend_name() != "duckdb":
            raise UsageError(
                f"COLLAB_WAREHOUSE_URL: engine {url.get_backend_name()} is not supported",
                "use duckdb:///path/to/warehouse.duckdb",
            )
        in_memory = url.database in (None, "", ":memory:")
        file = Path(url.database or ":memory:")
        if not in_memory and not file.exists():
            if not create:
                raise WarehouseError(f"no warehouse at {file}", "`collab run` makes one")
            _make_folder(file.parent)
            _make_file(url, file, settings)
        return cls._connect(url, file, settings, settings.rebuild_memory_limit if reads_all else settings.memory_limit)

    @classmethod
    def _connect(cls, url: sa.URL, file: Path, settings: Settings, memory_limit: str) -> Warehouse:
        config = {
            "checkpoint_threshold": CHECKPOINT_AFTER,
            "memory_limit": memory_limit,
            "preserve_insertion_order": False,  # keeps whole results in memory; who needs an order asks for it
            "temp_directory": str(settings.home / "spill"),
            "threads": settings.processes,
        }
        warehouse = cls(sa.create_engine(url, connect_args={"config": config}))
        try:
            with warehouse.engine.begin() as conn:
                _prepare(conn, settings)
        except DBAPIError as exc:
            warehouse.close()
            raise _explain(exc, file) from None
        except WarehouseError:
            warehouse.close()
            raise
        return warehouse

    def close(self) -> None:
        """Release the file."""
        self.engine.dispose()

    def __enter__(self) -> Warehouse:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def properties(self) -> dict[str, str]:
        """Version, scope and definitions of this warehouse."""
        with self.reading() as conn:
            return dict(conn.execute(sa.select(t.meta.c.name, t.meta.c.value).order_by(t.meta.c.name)).tuples().all())

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction: everything or nothing.

        Raises:
            WarehouseError: the engine could not write, such as on a full disk; the transaction was rolled back.
        """
        try:
            with self.engine.begin() as conn:
                conn.info.pop("scratch", None)  # what a rolled back transaction made is gone
                yield conn
                clear_scratch(conn)
        except DBAPIError as exc:
            cause = str(exc.orig).splitlines()[0]
            is_memory = "Out of Memory" in cause
            hint = "raise COLLAB_MEMORY_LIMIT or COLLAB_REBUILD_MEMORY_LIMIT" if is_memory else "free space"
            raise WarehouseError(f"the warehouse could not be written: {cause}", f"{hint}, then run again") from exc

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that only reads."""
        with self.engine.connect() as conn:
            yield conn


def attach_arrow(conn: Connection, name: str, data: pa.Table) -> Table:
    """Make an Arrow table readable in SQL under `name` without copying it, until `detach_arrow`."""
    _driver(conn).register(name, data)
    return sa.table(name, *(sa.column(field.name, _sql_type(field.type)) for field in data.schema))  # type: ignore[return-value]


def detach_arrow(conn: Connection, names: Sequence[str]) -> None:
    """Forget attached Arrow tables."""
    for name in names:
        _driver(conn).unregister(name)


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


def scratch(conn: Connection, name: str, query: Select[Any] | CompoundSelect[Any]) -> Table:
    """Temporary table with the rows of a query, until `clear_scratch` or the rollback."""
    conn.execute(_CreateTableAs(name, query))
    table = Table(name, sa.MetaData(), *(sa.Column(c.name, c.type) for c in query.selected_columns))
    conn.info.setdefault("scratch", {})[name] = table
    return table


def clear_scratch(conn: Connection, *names: str) -> None:
    """Drop the named temporary tables of this connection, all without names."""
    held: dict[str, Table] = conn.info.setdefault("scratch", {})
    for name in names or tuple(held):
        held.pop(name).drop(conn)


def export_parquet(conn: Connection, query: Select[Any], path: Path) -> int:
    """Write a query to one Parquet file and return its number of rows."""
    compiled = str(query.compile(conn, compile_kwargs={"literal_binds": True}))
    target = str(path).replace("'", "''")
    row = conn.exec_driver_sql(f"COPY ({compiled}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)").one()
    return int(row[0])


def fetch_arrow(conn: Connection, query: Select[Any]) -> pa.Table:
    """Result of a query as an Arrow table."""
    compiled = str(query.compile(conn, compile_kwargs={"literal_binds": True}))
    found: pa.Table = _driver(conn).execute(compiled).to_arrow_table()
    return found


def _driver(conn: Connection) -> Any:
    return conn.connection.driver_connection


def _sql_type(type_: pa.DataType) -> sa.types.TypeEngine[Any]:
    if pa.types.is_decimal(type_):
        return sa.Numeric(type_.precision, type_.scale)
    if pa.types.is_timestamp(type_):
        return sa.DateTime()
    plain: dict[pa.DataType, sa.types.TypeEngine[Any]] = {
        pa.int64(): sa.BigInteger(),
        pa.int32(): sa.Integer(),
        pa.bool_(): sa.Boolean(),
        pa.date32(): sa.Date(),
        pa.string(): sa.String(),
        pa.binary(): sa.LargeBinary(),
    }
    return plain[type_]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise UsageError(
            f"cannot make folder {folder}: {exc.strerror}", "set COLLAB_HOME to a folder you may write"
        ) from None


def _make_file(url: sa.URL, file: Path, settings: Settings) -> None:
    """Make a warehouse under another name and move it into place when it is whole.

    DuckDB makes an empty file and then its headers: a run killed in between would leave a file that nothing opens.
    """
    unfinished = file.with_name(file.name + ".new")
    if unfinished.exists() and unfinished.stat().st_size < HEADERS:
        unfinished.unlink()
    Warehouse._connect(url.set(database=str(unfinished)), unfinished, settings, settings.memory_limit).close()
    try:
        file.hardlink_to(unfinished)  # a rename would replace what another process made meanwhile
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        unfinished.rename(file)
    unfinished.unlink(missing_ok=True)


def _prepare(conn: Connection, settings: Settings) -> None:
    listed = sa.table("tables", sa.column("table_schema"), sa.column("table_name"), schema="information_schema")
    is_made = sa.select(sa.func.count()).where(
        listed.c.table_schema == t.meta.schema, listed.c.table_name == t.meta.name
    )
    if not conn.scalar(is_made):
        _create(conn, settings)
        return
    found = dict(conn.execute(sa.select(t.meta.c.name, t.meta.c.value)).tuples().all())
    have = int(found.get("warehouse_version", "0"))
    if have > t.WAREHOUSE_VERSION:
        raise WarehouseError(
            f"the warehouse is of version {have}, this release knows versions up to {t.WAREHOUSE_VERSION}",
            "upgrade collab-atlas to the release that wrote it",
        )
    if have < t.WAREHOUSE_VERSION:
        raise WarehouseError(
            f"the warehouse is of version {have}, this release needs {t.WAREHOUSE_VERSION}",
            "set COLLAB_HOME to a new folder and run again",
        )
    if found["scope"] != settings.scope:
        raise WarehouseError(
            f"the warehouse holds scope {found['scope']!r}, COLLAB_SCOPE is {settings.scope!r}",
            "use one COLLAB_HOME for each scope, or set COLLAB_SCOPE back",
        )
    if found["definitions"] != definitions_digest():
        raise WarehouseError(
            f"the warehouse was built with definitions {found['definitions']}, these are {definitions_digest()}",
            "set COLLAB_HOME to a new folder and load again, or go back to the former definitions",
        )


def _create(conn: Connection, settings: Settings) -> None:
    for schema in SCHEMAS:
        conn.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
    for table in t.metadata.sorted_tables:
        table.create(conn)
    values = {
        "warehouse_version": str(t.WAREHOUSE_VERSION),
        "scope": settings.scope,
        "definitions": definitions_digest(),
        "created_by": code_version(),
        "warehouse_id": uuid4().hex,
    }
    conn.execute(t.meta.insert(), [{"name": name, "value": value} for name, value in values.items()])


def _explain(exc: DBAPIError, file: Path) -> WarehouseError:
    cause = str(exc.orig).splitlines()[0]
    if "Could not set lock" in cause:
        return WarehouseError(
            f"{file} is in use by another process",
            "wait for that run to end, or read published/current, which is never locked",
        )
    if "version number" in cause:
        return WarehouseError(
            f"{file} was written by another version of DuckDB", "install the DuckDB release that wrote it"
        )
    if "not a valid DuckDB" in cause:
        return WarehouseError(f"{file} is not a DuckDB file", "move it away, or set COLLAB_HOME to another folder")
    return WarehouseError(f"cannot open {file}: {cause}", "check path, permissions and free space")
