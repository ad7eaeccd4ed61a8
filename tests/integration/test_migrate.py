"""A warehouse that an older release made is upgraded in place: nothing is lost, and it ends like a new one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

import tasks.storage.layout as layout
import tasks.upkeep.migrate as migrate
from schemas import tables as t
from schemas.errors import WarehouseError
from tasks.batches.relocate import relocate
from tasks.loading.verify import rebuild
from tasks.storage.warehouse import Warehouse
from tests.factory import author, contents, prove, run, work, write_snapshot
from tests.waiting import wait

SCRIPTS = Path(migrate.__file__).with_name("migrations")
DAYS = {
    "2026-01-01": [work(11), work(12, [author("US"), author()]), work(13, doi="https://doi.org/10.1234/a")],
    "2026-01-02": [work(11, [author("DE"), author("FR")], updated="2026-01-02"), b"{"],
}


def first_release(conn: sa.Connection) -> None:
    """The tables as the first release made them."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["connection"] = conn
    conn.exec_driver_sql("CREATE SCHEMA ops")
    command.upgrade(config, layout.revision(layout.FIRST_VERSION))
    layout.VERSION.drop(conn)
    if conn.dialect.name == "postgresql":  # there since version 2, with keys from the start
        for mart in (t.world_year, t.country_year, t.pair_year):
            conn.exec_driver_sql(f"ALTER TABLE {mart} ADD PRIMARY KEY ({', '.join(t.key_columns(mart))})")


@pytest.fixture
def old(tmp_path, settings_for):
    """Settings of a warehouse of version 1 that holds a night, and of a new one that holds the same."""
    root = write_snapshot(tmp_path / "s", DAYS)
    new, settings = settings_for(root, home=tmp_path / "new"), settings_for(root, home=tmp_path / "old")
    run(new, date(2026, 1, 1))
    with Warehouse.open(new) as warehouse, warehouse.reading() as conn:
        held = {
            table: [dict(row) for row in conn.execute(sa.select(table)).mappings()]
            for table in t.metadata.sorted_tables
        }
    for row in held[t.work]:  # digests before version 4 knew of no evidence
        row |= {"place_hash": 0, "content_hash": 0}
    held[t.meta] = [row for row in held[t.meta] if row["name"] != "located_by"]
    settings.home.mkdir()
    with sa.create_engine(settings.url, poolclass=sa.NullPool).begin() as conn:
        first_release(conn)
        first = {(schema, name) for schema, name in layout.tables_in(conn)}
        for table, found in held.items():
            if found and (table.schema, table.name) in first:
                known = {c["name"] for c in sa.inspect(conn).get_columns(table.name, schema=table.schema)}
                conn.execute(sa.insert(table), [{n: v for n, v in row.items() if n in known} for row in found])
        conn.execute(sa.insert(t.meta), {"name": "warehouse_version", "value": "1"})
    return settings, new


def columns(settings) -> list[tuple]:
    """Every column of every table and view, as the database lists them."""
    query = (
        "SELECT table_schema, table_name, column_name, data_type, is_nullable, collation_name"
        " FROM information_schema.columns WHERE table_schema IN ('ops', 'core', 'mart')"
        " ORDER BY table_schema, table_name, ordinal_position"
    )
    with Warehouse.open(settings) as warehouse, warehouse.reading() as conn:
        return [tuple(row) for row in conn.exec_driver_sql(query)]


def keys(settings) -> dict[str, tuple[list[str], set[str]]]:
    """By what cells are added, and ledgers are read, on PostgreSQL; DuckDB has neither keys nor indexes on them."""
    with Warehouse.open(settings) as warehouse, warehouse.reading() as conn:
        found = sa.inspect(conn)
        return {
            str(table): (
                found.get_pk_constraint(table.name, table.schema)["constrained_columns"],
                {str(index["name"]) for index in found.get_indexes(table.name, table.schema)} if is_ledger else set(),
            )
            for mart in t.MART
            for table, is_ledger in ((mart, False), (t.ledger_of(mart), True))
        }


def test_an_older_warehouse_is_upgraded_in_place(old):
    settings, new = old
    with pytest.raises(WarehouseError, match=r"version 1, this release needs \d.*`collab upgrade`"):
        Warehouse.open(settings)
    with Warehouse.connect(settings, create=False) as warehouse:
        assert warehouse.properties()["warehouse_version"] == "1"
        for expected in ((1, t.WAREHOUSE_VERSION), (t.WAREHOUSE_VERSION, t.WAREHOUSE_VERSION)):
            with warehouse.transaction() as conn:
                assert migrate.upgrade(conn) == expected
        assert relocate(warehouse, settings).changed == 3  # what decided was not noted before version 4
    assert columns(settings) == columns(new)
    assert keys(settings) == keys(new)
    for warm in (settings, new):
        run(warm)
    found = []
    for warm in (settings, new):
        with Warehouse.open(warm) as warehouse:
            with warehouse.reading() as conn:
                prove(conn)
                assert conn.exec_driver_sql("SELECT count(*) FROM mart.pair_rates").scalar() > 0
            found.append(contents(warehouse))
    assert found[0] == found[1]


@pytest.mark.engines("postgresql")
def test_pairs_that_a_database_ordered_its_own_way_are_turned(tmp_path, settings_for):
    both = work(11, [author("CH"), author("GB")])
    settings = settings_for(write_snapshot(tmp_path / "s", {"2026-01-01": [both, work(12, [author("US")])]}))
    run(settings)
    pairs = sa.select(t.pair_year.c.territory_a, t.pair_year.c.territory_b).distinct()
    with Warehouse.open(settings) as warehouse:
        found = contents(warehouse)
        with warehouse.transaction() as conn:
            _as_in_version_6(conn)
            assert conn.execute(pairs).all() == [("GB", "CH")]
            conn.exec_driver_sql("CREATE VIEW public.of_mine AS SELECT territory_a FROM mart.pair_year")
    with pytest.raises(WarehouseError, match="`collab upgrade`"):
        Warehouse.open(settings)
    with Warehouse.connect(settings, create=False) as warehouse:
        with pytest.raises(WarehouseError, match=r"view of_mine depends on.*-> drop what depends on it"):
            _upgrade(warehouse)
        with warehouse.transaction() as conn:
            conn.exec_driver_sql("DROP VIEW public.of_mine")
        for _ in range(2):
            _upgrade(warehouse)
        with warehouse.reading() as conn:
            assert conn.execute(pairs).all() == [("CH", "GB")]
            prove(conn)
            batches = conn.execute(sa.select(t.batch.c.kind)).scalars().all()
        assert batches.count("rebuild") == 2  # ours and that of the first upgrade
        assert contents(warehouse)[t.pair_year.name] == found[t.pair_year.name]


def _upgrade(warehouse: Warehouse) -> None:
    with warehouse.transaction() as conn:
        migrate.upgrade(conn)


def _as_in_version_6(conn: sa.Connection) -> None:
    """Text follows the collation of the Czech database, pairs with it, and ledgers have keys."""
    layout.drop_views(conn)
    for table in t.metadata.sorted_tables:
        texts = [c for c in table.columns if isinstance(c.type, sa.String)]
        changes = [f'ALTER {c.name} TYPE {c.type.compile()} COLLATE "default"' for c in texts]
        if changes:
            conn.exec_driver_sql(f"ALTER TABLE {table} {', '.join(changes)}")
    for ledger in map(t.ledger_of, t.MART):
        conn.exec_driver_sql(f"DROP INDEX {ledger}_batch_id")
        conn.exec_driver_sql(f"ALTER TABLE {ledger} ADD PRIMARY KEY ({', '.join(t.key_columns(ledger))})")
    layout.make_views(conn)
    conn.execute(sa.update(layout.VERSION).values(version_num="0006"))
    rebuild(conn)


def test_a_database_whose_versions_another_project_keeps_is_refused(tmp_path, settings_for):
    settings = settings_for(write_snapshot(tmp_path / "s", DAYS))
    run(settings, date(2026, 1, 1))
    with Warehouse.open(settings) as warehouse, warehouse.transaction() as conn:
        conn.execute(sa.update(layout.VERSION).values(version_num="1975ea83b712"))
    with pytest.raises(WarehouseError, match=r"another project: '1975ea83b712' -> give .* a database of its own"):
        Warehouse.open(settings)


def test_an_upgrade_that_fails_changes_nothing(old, monkeypatch):
    settings, _ = old

    def fail(conn):
        raise RuntimeError("power cut")

    monkeypatch.setattr(migrate, "make_views", fail)
    with Warehouse.connect(settings, create=False) as warehouse:
        with pytest.raises(RuntimeError), warehouse.transaction() as conn:
            migrate.upgrade(conn)
        assert warehouse.properties()["warehouse_version"] == "1"
        with warehouse.reading() as conn:
            assert conn.scalar(sa.select(sa.func.count()).select_from(t.work)) == 3


def test_every_version_has_its_step():
    script = ScriptDirectory(str(SCRIPTS))
    assert script.get_heads() == [layout.revision(t.WAREHOUSE_VERSION)]
    steps = [step.revision for step in script.walk_revisions()]
    assert steps == [layout.revision(version) for version in range(t.WAREHOUSE_VERSION, 0, -1)]


def test_the_command_upgrades_in_a_process_of_its_own(old):
    """Nothing has imported Alembic there before the warehouse is opened."""
    settings, _ = old
    environment = {**os.environ, "COLLAB_HOME": str(settings.home), "COLLAB_WAREHOUSE_URL": url_of(settings)}
    environment["COLLAB_SCOPE"] = settings.scope
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "upgrade"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "upgraded from version 1 to" in done.stdout


@pytest.mark.engines("postgresql")
def test_an_upgrade_waits_for_readers_and_says_so(old, caplog):
    settings, _ = old

    def upgrade() -> None:
        with Warehouse.connect(settings, create=False) as warehouse, warehouse.transaction("upgraded") as conn:
            migrate.upgrade(conn)

    with Warehouse.connect(settings, create=False) as warehouse, caplog.at_level("INFO", "collab"):
        with warehouse.reading() as conn:
            conn.exec_driver_sql("SELECT count(*) FROM mart.pair_year")
            other = threading.Thread(target=upgrade)
            other.start()
            wait(lambda: "somebody is reading the warehouse" in caplog.text, 30, "the word that somebody is reading")
            assert other.is_alive()
            assert conn.exec_driver_sql("SELECT count(*) FROM mart.pair_year").scalar() is not None
        other.join(60)
        assert "somebody is reading the warehouse; waiting for the end of what they read" in caplog.text
        assert warehouse.properties()["warehouse_version"] == str(t.WAREHOUSE_VERSION)


def url_of(settings) -> str:
    return settings.url.render_as_string(hide_password=False).replace("+psycopg", "")
