"""PostgreSQL, and Citus on top of it: a server that many may read while one transaction writes."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from pyarrow import csv
from sqlalchemy import Connection, Select, Table
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from typing_extensions import override

from schemas.declare import BYTES
from schemas.errors import ConnectionLost, WarehouseError
from schemas.settings import Settings
from schemas.staging import arrow_type, sql_type
from schemas.tables import CORE, MART, key_columns, measures
from tasks.storage.engines import citus
from tasks.storage.engines.base import Backend, compiled, first_line

log = logging.getLogger("collab")
READER, WRITER = "collab_reader", "collab_writer"
WRITERS = 0x436F6C6C6162  # key of the advisory lock that serialises writers: "Collab"
ROWS_PER_COPY = 50_000
ENCODING = "utf8"  # of COPY, whatever the environment or the database say
SESSION = {  # stronger than what the role or the database set
    "DateStyle": "ISO",  # as exports are read
    "TimeZone": "UTC",
    "application_name": "collab-atlas",
    "idle_in_transaction_session_timeout": "0",  # a release is written inside a transaction
    "jit": "off",  # compiling a query costs more than most of ours run
    "lock_timeout": "0",  # writers wait for each other
    "search_path": "pg_temp, public",  # only temporary tables are named without their schema
    "statement_timeout": "0",
    "temp_buffers": "64MB",  # what a batch changes lives in temporary tables
    "work_mem": "64MB",
}
KEEPALIVE = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
KEYS = {"stage_id", "institution_id"} | {name for table in (*CORE, *MART) for name in table.info["key"]}
NEVER_ANALYSED = """SELECT nspname, relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname IN ('core', 'mart', 'ops') AND relkind = 'r' AND reltuples < 0 AND pg_relation_size(pg_class.oid) > 0
    AND pg_has_role(relowner, 'USAGE')"""
ORDERED_AS_THE_DATABASE = """SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns
    WHERE table_schema IN ('core', 'mart', 'ops') AND data_type IN ('character varying', 'text')
    AND collation_name IS NULL AND table_name <> 'alembic_version'"""
LOST = ("08", "57P0")  # classes of SQLSTATE: connection exception, shutdown of the server
DISK_FULL = "53100"
WAYS_OF_FEW = ("enable_nestloop", "enable_sort")  # to join and sum that are quick for few rows only
DEPENDED_ON = ("0A000", "2BP01")  # a change of a column, or the end of a view, that a view of somebody else reads
RETRYABLE = ("40001", "40P01")  # serialisation failure, deadlock
OTHERS_AT_MART = """SELECT count(*) FROM pg_locks JOIN pg_class ON pg_class.oid = relation
    WHERE relnamespace = 'mart'::regnamespace AND pid <> pg_backend_pid() AND granted"""


class PostgreSQL(Backend):
    """The database exists already; its owner makes the tables. Readers see the state before a load or after it."""

    keeps_indexes = True

    @override
    def connect(self, url: sa.URL, settings: Settings, memory_limit: str) -> sa.Engine:
        del settings, memory_limit  # the server has limits of its own
        given = {name: value for name, value in KEEPALIVE.items() if name not in url.query}
        engine = sa.create_engine(
            url,
            pool_pre_ping=True,
            # A snapshot taken before the wait for the writers' lock would hide what the other writer did.
            isolation_level="READ COMMITTED",
            connect_args={**given, "client_encoding": ENCODING},
        )
        sa.event.listen(engine, "connect", _set_up_session)
        return engine

    @override
    def lock_writers(self, conn: Connection) -> None:
        if not conn.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(WRITERS))):
            log.info("another run is writing to the warehouse; waiting for it")
            conn.execute(sa.select(sa.func.pg_advisory_xact_lock(WRITERS)))

    @override
    def lock_readers(self, conn: Connection, tables: Sequence[str]) -> None:
        if not tables:
            return
        if conn.scalar(sa.text(OTHERS_AT_MART)):
            log.info("somebody is reading the warehouse; waiting for the end of what they read")
        conn.exec_driver_sql(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")

    @override
    def prepare_reading(self, conn: Connection) -> Connection:
        return conn.execution_options(isolation_level="REPEATABLE READ")

    @override
    def attach(self, conn: Connection, name: str, data: pa.Table) -> None:
        columns = [sa.Column(field.name, sql_type(field.type), autoincrement=False) for field in data.schema]
        table = Table(name, sa.MetaData(), *columns, prefixes=["TEMPORARY"], postgresql_on_commit="DROP")
        table.create(conn)
        quoted = conn.dialect.identifier_preparer.quote(name)
        with _cursor(conn) as cursor, cursor.copy(f"COPY {quoted} FROM STDIN (FORMAT csv)") as copy:
            for block in _csv_blocks(data):
                copy.write(block)
        self.has_filled(conn, table)

    @override
    def detach(self, conn: Connection, names: Sequence[str]) -> None:
        for name in names:
            conn.execute(sa.schema.DropTable(Table(name, sa.MetaData())))

    @override
    def has_filled(self, conn: Connection, table: Table) -> None:
        keys = [column.name for column in table.columns if column.name in KEYS]
        if keys:  # by what it is joined; statistics of the other columns cost as much as filling the table
            conn.exec_driver_sql(f"ANALYZE {table.name} ({', '.join(keys)})")

    @override
    def has_loaded(self, conn: Connection) -> None:
        """Tables that were never analysed; the server sees to the others itself, about once a minute.

        Without statistics it joined the cells of a batch by an index that finds a hundred rows for each: the first
        batches took a third longer.
        """
        unknown = conn.execute(sa.text(NEVER_ANALYSED)).tuples().all()
        for schema, name in unknown:
            conn.exec_driver_sql(f"ANALYZE {schema}.{name}")

    @override
    @contextmanager
    def joining_whole(self, conn: Connection) -> Iterator[None]:
        """Every join by work and policy is taken for fewer rows than the one before, until a loop over all works for
        each of them looks cheap: 22 s instead of 0.2 for the pairs of blocs of 1,000 works. Sums by seven texts take
        3 s instead of 9 for a million rows if these are not sorted."""
        for way in WAYS_OF_FEW:
            conn.exec_driver_sql(f"SET LOCAL {way} = off")
        yield
        for way in WAYS_OF_FEW:
            conn.exec_driver_sql(f"SET LOCAL {way} = on")  # after an error the rollback sees to it

    @override
    def adding(self, mart: Table, cells: Table) -> sa.Executable:
        key, sums = key_columns(mart), measures(mart)
        added = insert(mart).from_select([*key, *sums], sa.select(*(cells.c[name] for name in (*key, *sums))))
        return added.on_conflict_do_update(
            index_elements=key, set_={name: mart.c[name] + added.excluded[name] for name in sums}
        )

    @override
    def export_parquet(self, conn: Connection, query: Select[Any], path: Path) -> int:
        types = {c.name: arrow_type(c.type) for c in query.selected_columns}
        rows = 0
        with _cursor(conn) as cursor:
            copying = f"COPY ({compiled(conn, query)}) TO STDOUT (FORMAT csv, HEADER)"
            with (
                cursor.copy(copying) as copy,
                csv.open_csv(
                    io.BufferedReader(_Blocks(copy), csv.ReadOptions().block_size),
                    parse_options=csv.ParseOptions(newlines_in_values=True),
                    convert_options=csv.ConvertOptions(
                        column_types=types,
                        true_values=["t"],
                        false_values=["f"],
                        null_values=[""],
                        strings_can_be_null=True,
                        quoted_strings_can_be_null=False,  # PostgreSQL quotes an empty string, not a null
                    ),
                ) as reader,
                pq.ParquetWriter(path, pa.schema(list(types.items())), compression="zstd") as writer,
            ):
                for batch in reader:
                    writer.write_batch(batch)
                    rows += batch.num_rows
        return rows

    @override
    def has_created(self, conn: Connection, tables: Sequence[Table]) -> None:
        if citus.is_installed(conn):
            citus.place(conn, tables)
        self._grant(conn)

    def _grant(self, conn: Connection) -> None:
        """Readers see the mart and nothing else; writers change rows, not tables.

        Roles belong to the whole server: who may not create them finds them made by an administrator, or goes without.
        """
        may_create = conn.scalar(sa.text("SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user"))
        for role in (READER, WRITER):
            if not _has_role(conn, role):
                if not may_create:
                    continue
                conn.exec_driver_sql(f"CREATE ROLE {role} NOLOGIN")
            schemas = ("mart",) if role == READER else ("ops", "core", "mart")
            rights = "SELECT" if role == READER else "SELECT, INSERT, UPDATE, DELETE"
            for schema in schemas:
                conn.exec_driver_sql(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
                conn.exec_driver_sql(f"GRANT {rights} ON ALL TABLES IN SCHEMA {schema} TO {role}")

    @override
    def order_by_bytes(self, conn: Connection) -> None:
        changes: dict[str, list[str]] = {}
        for schema, table, column, type_ in conn.execute(sa.text(ORDERED_AS_THE_DATABASE)).tuples():
            changes.setdefault(f"{schema}.{table}", []).append(f'ALTER {column} TYPE {type_} COLLATE "{BYTES}"')
        for name, of in changes.items():
            conn.exec_driver_sql(f"ALTER TABLE {name} {', '.join(of)}")

    @override
    def describe(self, conn: Connection) -> dict[str, str]:
        found = {"engine": f"PostgreSQL {conn.scalar(sa.text('SHOW server_version'))}"}
        if citus.is_installed(conn):
            found["citus"] = citus.describe(conn)
        found |= {
            f"role {role}": "granted" if _may_use_mart(conn, role) else "missing: see deployments/README.md"
            for role in (READER, WRITER)
        }
        return found

    @override
    def explain(self, exc: DBAPIError, url: sa.URL, doing: str) -> WarehouseError:
        place, cause = f"{url.host or 'the local server'}/{url.database}", first_line(exc)
        state = getattr(exc.orig, "sqlstate", None)
        if state == "42501":  # insufficient privilege
            hint = "see the roles in deployments/README.md: a night needs collab_writer and TEMP on the database"
            return WarehouseError(f"the warehouse {place} refuses: {cause}", hint)
        is_lost = exc.connection_invalidated or (state is None and isinstance(exc, sa.exc.OperationalError))
        if is_lost or (state or "").startswith(LOST) or state in RETRYABLE:
            hint = "see that the server runs and COLLAB_WAREHOUSE_URL is right, then run again"
            return ConnectionLost(f"the warehouse {place} could not be {doing}: {cause}", hint)
        detail = exc.orig.diag.message_detail if isinstance(exc.orig, psycopg.Error) else None
        if state in DEPENDED_ON and detail:
            hint = "drop what depends on it (views of your own?), run again, and make it anew"
            return WarehouseError(
                f"the warehouse {place} could not be {doing}: {cause} ({detail.splitlines()[0]})", hint
            )
        hint = "free space on the server, then run again" if state == DISK_FULL else "mend that, then run again"
        return WarehouseError(f"the warehouse {place} could not be {doing}: {cause}", hint)


class _Blocks(io.RawIOBase):
    """Blocks that a COPY sends, as a file."""

    def __init__(self, blocks: Iterator[Any]) -> None:
        self._blocks, self._left = iter(blocks), memoryview(b"")

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any) -> int:
        if not self._left:
            self._left = memoryview(next(self._blocks, b""))
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


def _csv_blocks(data: pa.Table) -> Iterator[bytes]:
    """CSV as PostgreSQL reads it: strings in quotes, nulls as nothing."""
    options = csv.WriteOptions(include_header=False)
    for batch in data.to_batches(max_chunksize=ROWS_PER_COPY):
        sink = io.BytesIO()
        csv.write_csv(batch, sink, options)
        yield sink.getvalue()


def _has_role(conn: Connection, role: str) -> bool:
    return bool(conn.scalar(sa.text("SELECT count(*) FROM pg_roles WHERE rolname = :role"), {"role": role}))


def _may_use_mart(conn: Connection, role: str) -> bool:
    """Whether a role is there and was granted what it is for, as far as the mart shows it."""
    right = "SELECT" if role == READER else "INSERT"
    granted = sa.text(
        "SELECT has_schema_privilege(:role, 'mart', 'USAGE') AND has_table_privilege(:role, :table, :right)"
    )
    named = {"role": role, "table": f"mart.{MART[0].name}", "right": right}
    return _has_role(conn, role) and bool(conn.scalar(granted, named))


def _set_up_session(connection: Any, _: Any) -> None:
    """Settings of a session.

    Raises:
        WarehouseError: the database stores text in an encoding that not every title fits into.
    """
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise WarehouseError(
            f"the database stores text as {encoding}, titles need UTF8",
            "make another with `createdb --encoding UTF8 --template template0`",
        )
    with connection.cursor() as cursor:
        for name, value in SESSION.items():
            cursor.execute("SELECT set_config(%s, %s, false)", (name, value))
    connection.commit()


@contextmanager
def _cursor(conn: Connection) -> Iterator[Any]:
    """Cursor of the driver, for COPY; its errors come as SQLAlchemy's, like those of every other statement."""
    driver: Any = conn.connection.driver_connection
    try:
        with driver.cursor() as cursor:
            yield cursor
    except psycopg.Error as exc:
        is_lost = bool(driver.closed)
        if is_lost:
            conn.invalidate(exc)
        raise DBAPIError("COPY", None, exc, connection_invalidated=is_lost) from exc
