"""Database servers for tests: a PostgreSQL of the tests' own, thrown away at the end, or a Citus coordinator that is
there already."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path
from uuid import uuid4

import sqlalchemy as sa

from tasks.storage.layout import SCHEMAS
from tests.debian import Missing, install

PACKAGE = "postgresql"
USER = "postgres"
OPTIONS = {  # it holds nothing that must survive
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "listen_addresses": "127.0.0.1",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "log_checkpoints": "off",
}
CZECH = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'cs'"
"""A database that puts CH behind GB: nothing may depend on how a database orders text."""
KNOWS_CZECH = """SELECT current_setting('server_version_num')::int >= 150000
    AND EXISTS (SELECT 1 FROM pg_collation WHERE collprovider = 'i')"""


def binaries() -> Path:
    """Folder of the PostgreSQL programs; installed as a Debian package where that is possible.

    Raises:
        Missing: there are none and they cannot be installed.
    """
    found = _find()
    if found is None:
        install(PACKAGE)
        found = _find()
    if found is None:
        raise Missing("no PostgreSQL: initdb is not on this machine, and could not be installed")
    return found


def _find() -> Path | None:
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return versions[-1].parent if versions else None


class PostgresServer(AbstractContextManager["PostgresServer"]):
    """A server on a free port of 127.0.0.1, in a temporary folder."""

    def __init__(self) -> None:
        self._binaries = binaries()
        self._as_user: list[str] = []
        self.folder = Path(tempfile.mkdtemp(prefix="collab-postgres-"))
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            try:
                owner = pwd.getpwnam(USER)
            except KeyError:
                raise Missing(f"PostgreSQL does not run as root, and there is no user {USER}") from None
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
            self._as_user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", "--"]
        self.port = free_port()
        self._call("initdb", "--auth=trust", f"--username={USER}", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
        self.start()
        with closing(_connection(_driver(self.url()))) as conn:
            self._order = CZECH if conn.scalar(sa.text(KNOWS_CZECH)) else ""

    def start(self) -> None:
        options = " ".join(f"-c {name}={value}" for name, value in OPTIONS.items())
        listen = f"-p {self.port} -c unix_socket_directories={self.folder}"
        self._call("pg_ctl", "start", "--wait", "--silent", f"--log={self.folder}/log", "-o", f"{listen} {options}")

    def stop(self, mode: str = "fast") -> None:
        self._call("pg_ctl", "stop", "--wait", "--silent", f"--mode={mode}")

    def url(self, database: str = "postgres", user: str = USER) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def new_database(self, like: str | None = None) -> str:
        """URL of a new database, empty or a copy of one that nobody is connected to."""
        name = f"t{uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name} " + (f"TEMPLATE {sa.make_url(like).database}" if like else self._order))
        return self.url(name)

    def execute(self, statement: str) -> None:
        """Run a statement as the owner of the server, outside a transaction."""
        _run(self.url(), statement)

    def __exit__(self, *exc: object) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _call(self, program: str, *arguments: str) -> None:
        command = [*self._as_user, str(self._binaries / program), f"--pgdata={self.folder}/data", *arguments]
        done = subprocess.run(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        if done.returncode:
            raise Missing(f"{program}: {done.stderr.decode(errors='replace').strip()[-300:]}")


class CitusCluster(AbstractContextManager["CitusCluster"]):
    """A coordinator with workers that somebody runs; its databases made here are dropped at the end.

    Making a database on every node takes seconds and each keeps a process of Citus busy, of which a node runs a few
    only: those that tests give back are emptied and used again. Processes of pytest-xdist share none, their names are
    random.
    """

    def __init__(self, url: str) -> None:
        self._coordinator = _driver(url)
        self._made: list[str] = []
        self._free: list[str] = []
        with closing(_connection(self._coordinator)) as conn:
            nodes = "SELECT nodename, nodeport FROM pg_dist_node WHERE noderole = 'primary' AND groupid <> 0"
            self._workers = [self._coordinator.set(host=row[0], port=row[1]) for row in conn.exec_driver_sql(nodes)]
            self._host = conn.exec_driver_sql("SELECT nodename FROM pg_dist_node WHERE groupid = 0").scalar()

    def new_database(self) -> str:
        """URL of an empty database that all workers know."""
        name = self._free.pop() if self._free else self._make()
        return self._coordinator.set(database=name).render_as_string(hide_password=False)

    def give_back(self, url: str) -> None:
        """Empty a database that no test needs any more, whatever it left open."""
        mine = _driver(url)
        with closing(_connection(mine)) as conn:
            conn.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
                " AND application_name NOT LIKE 'citus%%'"
            )
            for schema in SCHEMAS:
                conn.exec_driver_sql(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
            conn.exec_driver_sql(f"ALTER DATABASE {mine.database} RESET ALL")  # workers had kept a timeout of a test
        self._free.append(str(mine.database))

    def _make(self) -> str:
        name = f"t{uuid4().hex[:12]}"
        self._made.append(name)
        for node in (self._coordinator, *self._workers):
            with suppress(sa.exc.ProgrammingError):  # newer versions make it on the workers themselves
                _run(node, f"CREATE DATABASE {name}")
            _run(node.set(database=name), "CREATE EXTENSION IF NOT EXISTS citus")
        mine = self._coordinator.set(database=name)
        _run(mine, f"SELECT citus_set_coordinator_host('{self._host or mine.host}', {mine.port})")
        for worker in self._workers:
            _run(mine, f"SELECT citus_add_node('{worker.host}', {worker.port})")
        return name

    def __exit__(self, *exc: object) -> None:
        for name in self._made:
            for node in (self._coordinator, *self._workers):
                _run(node, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _driver(url: str) -> sa.URL:
    return sa.make_url(url).set(drivername="postgresql+psycopg")


def _connection(url: sa.URL) -> sa.Connection:
    return sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool).connect()


def _run(url: str | sa.URL, statement: str) -> None:
    with closing(_connection(_driver(url) if isinstance(url, str) else url)) as conn:
        conn.exec_driver_sql(statement)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
