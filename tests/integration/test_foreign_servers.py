"""A server as others set it up, clients whose clocks and homes differ, addresses with secrets in odd places."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
import sqlalchemy as sa

import tasks.loading.ledger as ledger
from schemas import tables as t
from schemas.errors import UsageError, WarehouseError
from schemas.settings import load_settings
from tasks.loading.verify import rebuild
from tasks.releases.report import read_report
from tasks.storage.engines.postgresql import READER, SESSION, WRITER
from tasks.storage.warehouse import Warehouse, utc_now
from tasks.upkeep.status import read_status
from tests.factory import cell, prove, run, work, write_snapshot

ON_SERVERS = pytest.mark.engines("postgresql", "citus")
TITLE = "中文 é 𝔸"


@pytest.fixture
def administer(settings_for):
    """Runs a statement as the owner of the server, outside a transaction."""

    def execute(statement: str) -> None:
        with sa.create_engine(settings_for().url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool).connect() as c:
            c.exec_driver_sql(statement)

    return execute


@pytest.mark.engines("postgresql")
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_titles_do_not_fit_into_is_refused(settings_for, administer, encoding):
    settings = settings_for()
    name = f"{settings.url.database}_{encoding.lower()}"
    administer(f"CREATE DATABASE {name} ENCODING {encoding} LOCALE 'C' TEMPLATE template0")
    other = settings.model_copy(update={"warehouse_url": settings.url.set(database=name).render_as_string(False)})
    with pytest.raises(WarehouseError, match=rf"stores text as {encoding}.*createdb --encoding UTF8"):
        Warehouse.open(other)


@ON_SERVERS
def test_what_the_role_or_the_client_set_changes_nothing(tmp_path, settings_for, administer, monkeypatch):
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    monkeypatch.setenv("PGDATESTYLE", "SQL, DMY")
    root = write_snapshot(tmp_path / "s", {"2026-01-01": [work(11, title=TITLE)], "2026-01-02": [work(12)]})
    settings = settings_for(root)
    for option, value in {
        "default_transaction_isolation": "'repeatable read'",
        "DateStyle": "'German'",
        "statement_timeout": "300",
        "search_path": "ops",
        "IntervalStyle": "'sql_standard'",
    }.items():
        administer(f"ALTER DATABASE {settings.url.database} SET {option} = {value}")
    run(settings)
    with Warehouse.open(settings) as warehouse:
        with warehouse.transaction() as conn:
            assert conn.scalar(sa.text("SHOW transaction_isolation")) == "read committed"
            shown = {name: conn.scalar(sa.text(f"SHOW {name}")) for name in SESSION}
            assert conn.scalar(sa.select(t.work.c.title).where(t.work.c.work_id == 11)) == TITLE
        assert shown["statement_timeout"] == "0"
        with warehouse.reading() as conn:
            prove(conn)


def test_a_batch_of_a_machine_whose_clock_is_behind_is_published(tmp_path, settings_for, monkeypatch):
    root = write_snapshot(tmp_path / "s", {"2026-01-01": [work(11)], "2026-01-02": [work(12, updated="2026-01-02")]})
    settings = settings_for(root)
    first = run(settings, date(2026, 1, 1))
    monkeypatch.setattr(ledger, "utc_now", lambda: utc_now() - timedelta(hours=1))
    second = run(settings)
    assert second.release is not None
    assert second.release.release_id != first.release.release_id
    with Warehouse.open(settings) as warehouse, warehouse.transaction() as conn:
        assert read_status(conn, settings, utc_now()).is_published
        conn.execute(sa.update(t.world_year).values(papers=7))
        rebuild(conn)
        assert ledger.has_changed(conn, conn.scalar(sa.select(sa.func.max(t.release.c.published_at))))


@ON_SERVERS
def test_each_home_says_what_changed_since_its_own_release(tmp_path, settings_for):
    days = {f"2026-01-0{n}": [work(10 + n, updated=f"2026-01-0{n}")] for n in (1, 2, 3)}
    mine = settings_for(write_snapshot(tmp_path / "s", days))
    url = mine.url.render_as_string(hide_password=False)
    other = mine.model_copy(update={"warehouse_url": url, "home": tmp_path / "other"})
    run(mine, date(2026, 1, 1))
    run(other, date(2026, 1, 2))
    run(mine, date(2026, 1, 3))
    with Warehouse.open(mine) as warehouse, warehouse.reading() as conn:
        assert len(ledger.releases_in(conn, mine.published)) == 2
        assert len(ledger.releases_in(conn, other.published)) == 1
        assert not read_status(conn, other, utc_now()).is_published
        assert read_status(conn, mine, utc_now()).is_published
        found = read_report(conn, mine, "all").changes
        moved = sum(row.papers for row in found if row.aggregate == "pair_year")
    assert cell(Warehouse.open(mine), t.world_year)["papers"] == 3
    assert moved == 2  # its own first release held the first work only


@ON_SERVERS
def test_check_says_which_role_has_no_grants(tmp_path, settings_for, administer):
    settings = settings_for(write_snapshot(tmp_path / "s", {"2026-01-01": [work(11)]}))
    run(settings)
    administer(f"REVOKE ALL ON ALL TABLES IN SCHEMA mart FROM {READER}")
    with Warehouse.open(settings) as warehouse:
        found = warehouse.properties()
    assert found[f"role {READER}"].startswith("missing")
    assert found[f"role {WRITER}"] == "granted"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://me@host/atlas?sslpassword=hunter2", "no secrets after the"),
        ("postgresql://me@host/atlas?oauth_client_secret=hunter2", "no secrets after the"),
        ("postgresql://me:hun@ter2@host:99999@x/atlas", "%40|not a database URL"),
        ("postgresql+psycopg2://me:hunter2@host/atlas", "without a driver"),
        ("postgres+asyncpg://me:hunter2@host/atlas", "without a driver"),
    ],
)
@pytest.mark.engines("duckdb")
def test_an_address_that_would_show_its_secret_is_refused(url, why):
    with pytest.raises(UsageError, match=why) as caught:
        load_settings(warehouse_url=url)
    assert "hunter2" not in str(caught.value)
    assert "ter2" not in str(caught.value)
