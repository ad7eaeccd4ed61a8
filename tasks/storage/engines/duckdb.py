"""DuckDB: the embedded warehouse, one file, one process at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import Connection, Select, Table
from sqlalchemy.exc import DBAPIError
from typing_extensions import override

from schemas.errors import NoWarehouse, UsageError, WarehouseError, WarehouseInUse
from schemas.settings import Settings
from schemas.tables import key_columns, measures
from tasks.storage.engines.base import Backend, compiled, first_line

CHECKPOINT_AFTER = "128MB"  # of log: at DuckDB's own 16 MB every larger night rewrites parts of the file at its commit
MORE_MEMORY = "raise COLLAB_MEMORY_LIMIT or COLLAB_REBUILD_MEMORY_LIMIT"
MENDED_BY = {  # by what an error says
    "Out of Memory Error": MORE_MEMORY,
    "failed to pin block": MORE_MEMORY,  # a commit that runs out of memory says no more
    "IO Error": "free space",
    "No space left": "free space",
}
HEADERS = 3 * 4096  # bytes that every DuckDB file begins with


class DuckDB(Backend):
    """The file is locked by the process that has it open: a second one gets a clear error instead of half a night."""

    @override
    def connect(self, url: sa.URL, settings: Settings, memory_limit: str) -> sa.Engine:
        config = {
            "checkpoint_threshold": CHECKPOINT_AFTER,
            "memory_limit": memory_limit,
            "preserve_insertion_order": False,  # keeps whole results in memory; who needs an order asks for it
            "temp_directory": str(settings.home / "spill"),
            "threads": settings.processes,
        }
        return sa.create_engine(url, connect_args={"config": config})

    @override
    def address(self, url: sa.URL, home: Path) -> str:
        """A file in the home is named from there: the home may be moved."""
        file = _file(url).resolve()
        return str(file.relative_to(home) if file.is_relative_to(home) else file)

    @override
    def find(self, url: sa.URL, *, create: bool, settings: Settings, make: Callable[[sa.Engine], None]) -> None:
        if url.database in (None, "", ":memory:"):
            return
        file = _file(url)
        try:
            if file.exists():
                return
            if not create:
                raise NoWarehouse(f"no warehouse at {file}", "`collab run` makes one")
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise UsageError(
                f"cannot enter or make folder {file.parent}: {exc.strerror}",
                "set COLLAB_HOME to a folder you may write",
            ) from None
        self._make_file(url, file, settings, make)

    def _make_file(self, url: sa.URL, file: Path, settings: Settings, make: Callable[[sa.Engine], None]) -> None:
        """Make a warehouse under another name and move it into place when it is whole.

        DuckDB makes an empty file and then its headers: a run killed in between would leave a file that nothing opens.
        """
        unfinished = file.with_name(file.name + ".new")
        if unfinished.exists() and unfinished.stat().st_size < HEADERS:
            unfinished.unlink()
        engine = self.connect(url.set(database=str(unfinished)), settings, settings.memory_limit)
        try:
            make(engine)
        except DBAPIError as exc:
            raise self.explain(exc, engine.url, "opened") from None
        finally:
            engine.dispose()
        try:
            file.hardlink_to(unfinished)  # a rename would replace what another process made meanwhile
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            unfinished.rename(file)
        unfinished.unlink(missing_ok=True)

    @override
    def attach(self, conn: Connection, name: str, data: pa.Table) -> None:
        _driver(conn).register(name, data)  # without copying it

    @override
    def detach(self, conn: Connection, names: Sequence[str]) -> None:
        for name in names:
            _driver(conn).unregister(name)

    @override
    def adding(self, mart: Table, cells: Table) -> sa.Executable:
        # No key to conflict with: constraints make large tables slow here (schemas/declare.py).
        same = " AND ".join(f"mart.{name} = cell.{name}" for name in key_columns(mart))
        sums = ", ".join(f"{name} = mart.{name} + cell.{name}" for name in measures(mart))
        return sa.text(
            f"MERGE INTO {mart.schema}.{mart.name} AS mart USING {cells.name} AS cell ON {same}"
            f" WHEN MATCHED THEN UPDATE SET {sums} WHEN NOT MATCHED THEN INSERT BY NAME"
        )

    @override
    def export_parquet(self, conn: Connection, query: Select[Any], path: Path) -> int:
        target = str(path).replace("'", "''")
        copy = f"COPY ({compiled(conn, query)}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)"
        try:
            return int(conn.exec_driver_sql(copy).one()[0])
        except DBAPIError as exc:
            cause = first_line(exc)
            if str(path.parent) not in cause:
                raise
            raise OSError(cause.removeprefix("IO Error: ")) from exc  # the warehouse is well, the file is not

    @override
    def describe(self, conn: Connection) -> dict[str, str]:
        return {"engine": f"DuckDB {conn.exec_driver_sql('SELECT version()').scalar()}"}

    @override
    def is_interrupt(self, exc: RuntimeError) -> bool:
        return str(exc) == "Query interrupted"

    @override
    def explain(self, exc: DBAPIError, url: sa.URL, doing: str) -> WarehouseError:
        file, cause = _file(url), first_line(exc)
        if "Could not set lock" in cause:
            return WarehouseInUse(
                f"{file} is in use by another process",
                "wait for that run to end (COLLAB_WAREHOUSE_WAIT waits so many minutes), or read published/current,"
                " which is never locked",
            )
        if "version number" in cause:
            return WarehouseError(
                f"{file} was written by another version of DuckDB", "install the DuckDB release that wrote it"
            )
        if "not a valid DuckDB" in cause:
            return WarehouseError(f"{file} is not a DuckDB file", "move it away, or set COLLAB_HOME to another folder")
        if doing == "opened":
            return WarehouseError(f"cannot open {file}: {cause}", "check path, permissions and free space")
        hint = next((hint for sign, hint in MENDED_BY.items() if sign in cause), "mend that")
        return WarehouseError(f"the warehouse could not be {doing}: {cause}", f"{hint}, then run again")


def _file(url: sa.URL) -> Path:
    return Path(url.database or ":memory:")


def _driver(conn: Connection) -> Any:
    return conn.connection.driver_connection


def open_read_only(file: Path) -> sa.Engine:
    """An engine that reads a published copy; any number of processes may, also while a night writes elsewhere."""
    url = sa.URL.create("duckdb", database=str(file))
    return sa.create_engine(url, connect_args={"read_only": True}, poolclass=sa.NullPool)
