"""What a server allows and a file does not: several runs at once, readers beside them, a connection that is lost."""

from __future__ import annotations

import itertools
import multiprocessing
import threading
import time
from datetime import date

import pytest
import sqlalchemy as sa

import tasks.batches.batch as batches
import tasks.storage.engines.postgresql as postgresql
from schemas import tables as t
from schemas.errors import ConnectionLost, WarehouseError
from schemas.settings import load_settings
from tasks.storage.engines.postgresql import READER, WRITER
from tasks.storage.warehouse import Warehouse
from tests.factory import author, cell, counts, proven, rows, run, work, write_snapshot
from tests.waiting import wait

pytestmark = pytest.mark.engines("postgresql", "citus")
START = multiprocessing.get_context("forkserver")
START.set_forkserver_preload(["great_expectations", "tests.factory"])
DAYS = {
    f"2026-01-{day:02}": [
        work(100 * day + n, [author("US"), author(("CN", "DE", "FR")[n % 3])], updated=f"2026-01-{day:02}")
        for n in range(8)
    ]
    + [work(101, cited_by_count=day, updated=f"2026-01-{day:02}")]
    for day in range(1, 7)
}


def night_of(home, snapshot, url: str, batch_works: int) -> None:
    """A run in a process of its own."""
    run(load_settings(home=home, scope="all", workers=1, snapshot=snapshot, warehouse_url=url, batch_works=batch_works))


def test_a_server_holds_the_same_tables_as_the_file(tmp_path, settings_for):
    doi = "https://doi.org/10.1234/a"
    hostile = 'Tab\t "quotes", 50 % \\. \\N {} é 中 \u2028 <b>=1+1</b>\n\\.\nlast'
    more = [
        work(11, doi=doi, title=hostile),
        work(12, [author("US", "DE"), author()], doi=doi, updated="2026-01-03"),
        work(13, [author(strings=[hostile, "", "Lab, Lyon, France"])], title=""),
        work(14, [author("HK"), author("CN"), author("US")], is_retracted=True),
        work(15, publication_year=2999),
        b"{",
    ]
    root = write_snapshot(tmp_path / "s", DAYS | {"2026-01-07": more}, deleted={104: "2026-01-06", 301: "2026-01-06"})
    found = []
    for url in (f"duckdb:///{tmp_path}/file.duckdb", None):
        settings = settings_for(root, home=tmp_path / f"home-{len(found)}", warehouse_url=url)
        for until in (date(2026, 1, 3), None):
            run(settings, until)
        with Warehouse.open(settings) as warehouse:
            held = {
                table: [c for c in table.columns if c.name != "quarantined_at"] for table in (t.quarantine, t.repair)
            }
            listed = {
                table.name: sorted((tuple(row.values()) for row in rows(warehouse, sa.select(*columns))), key=repr)
                for table, columns in held.items()
            }
        found.append((proven(settings), listed))
    assert found[0] == found[1]
    assert hostile.split(maxsplit=1)[0] in str(found[0][0]["work"])


@pytest.mark.parametrize(("homes", "sizes"), [((0, 0), (9, 14)), pytest.param((0, 1), (9, 9), marks=pytest.mark.slow)])
def test_two_runs_at_once_end_as_one(tmp_path, settings_for, homes, sizes):
    root = write_snapshot(tmp_path / "s", DAYS, deleted={104: "2026-01-06"})
    alone = settings_for(root, home=tmp_path / "alone")
    run(alone)
    both = settings_for(root, home=tmp_path / "both")
    url = both.url.render_as_string(hide_password=False)
    runs = [
        START.Process(target=night_of, args=(tmp_path / f"both-{home}", str(root), url, size))
        for home, size in zip(homes, sizes, strict=True)
    ]
    for process in runs:
        process.start()
    for process in runs:
        process.join(300)
    assert [process.exitcode for process in runs] == [0, 0]
    assert proven(both) == proven(alone)
    with Warehouse.open(both) as warehouse:
        loaded = rows(warehouse, sa.select(t.batch.c.landing_id, t.batch.c.first_record, t.batch.c.end_record))
    for landing in {row["landing_id"] for row in loaded}:
        edges = sorted((row["first_record"], row["end_record"]) for row in loaded if row["landing_id"] == landing)
        assert all(end == first for (_, end), (first, _) in itertools.pairwise(edges)), edges
    assert not list((tmp_path / "both-0" / "staging").iterdir())


def test_readers_wait_for_nobody_and_see_no_half(tmp_path, settings_for, monkeypatch):
    root = write_snapshot(tmp_path / "s", {"2026-01-01": [work(11)], "2026-01-02": [work(12, updated="2026-01-02")]})
    settings = settings_for(root)
    run(settings, date(2026, 1, 1))
    is_inside, may_commit = threading.Event(), threading.Event()
    real = batches.check_gates

    def pause(gates):
        is_inside.set()
        assert may_commit.wait(60)
        return real(gates)

    monkeypatch.setattr(batches, "check_gates", pause)
    other = threading.Thread(target=run, args=(settings,))
    other.start()
    assert is_inside.wait(60)
    with Warehouse.open(settings) as warehouse:
        assert cell(warehouse, t.world_year)["papers"] == 1
        with warehouse.reading() as conn:
            before = conn.scalar(sa.select(sa.func.sum(t.pair_year.c.papers)))
            may_commit.set()
            other.join(60)
            assert conn.scalar(sa.select(sa.func.sum(t.pair_year.c.papers))) == before  # still as of its beginning
        assert cell(warehouse, t.world_year)["papers"] == 2
    proven(settings)


def test_a_writer_waits_for_another_and_says_so(tmp_path, settings_for, caplog):
    settings = settings_for(write_snapshot(tmp_path / "s", {"2026-01-01": [work(11)]}))
    with Warehouse.open(settings) as warehouse, caplog.at_level("INFO", "collab"):
        with warehouse.transaction():
            other = threading.Thread(target=run, args=(settings,))
            other.start()
            wait(lambda: "another run is writing" in caplog.text, 60, "the word that another run is writing")
            assert other.is_alive()
        other.join(60)
        assert "another run is writing to the warehouse; waiting for it" in caplog.text
        assert cell(warehouse, t.world_year)["papers"] == 1


def cut_connections(settings, function: str = "pg_terminate_backend") -> None:
    """What an administrator, a failover or a firewall does."""
    with sa.create_engine(settings.url, poolclass=sa.NullPool).connect() as conn:
        conn.exec_driver_sql(
            f"SELECT {function}(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND application_name = 'collab-atlas'"
        )


@pytest.mark.parametrize("moment", ["check_gates", pytest.param("store_parts", marks=pytest.mark.slow)])
def test_a_connection_lost_while_loading_is_made_good(tmp_path, settings_for, monkeypatch, moment):
    root = write_snapshot(tmp_path / "s", DAYS)
    settings, real, cuts = settings_for(root, batch_works=10), getattr(batches, moment), []

    def cut(*args):
        if len(cuts) < 2:
            cuts.append(moment)
            cut_connections(settings)
        return real(*args)

    monkeypatch.setattr(batches, moment, cut)
    night = run(settings)
    assert len(cuts) == 2
    assert counts(night)["fetched"] == sum(len(works) for works in DAYS.values())
    found = proven(settings)
    run(settings_for(root, home=tmp_path / "whole"))
    assert proven(settings_for(root, home=tmp_path / "whole")) == found


@pytest.mark.parametrize(("function", "is_lost"), [("pg_terminate_backend", True), ("pg_cancel_backend", False)])
def test_a_copy_that_is_cut_is_no_traceback(tmp_path, settings_for, monkeypatch, function, is_lost):
    settings = settings_for(write_snapshot(tmp_path / "s", {"2026-01-01": [work(11)]}))
    real, cuts = postgresql._csv_blocks, []

    def cut(data):
        if not cuts:
            cuts.append(function)
            cut_connections(settings, function)
            time.sleep(0.2)
        yield from real(data)

    monkeypatch.setattr(postgresql, "_csv_blocks", cut)
    if is_lost:
        assert counts(run(settings)) == {"fetched": 1, "new": 1}
    else:
        with pytest.raises(WarehouseError, match=r"could not be written: .*cancel"):
            run(settings)
        assert counts(run(settings)) == {"fetched": 1, "new": 1}
    proven(settings)


def test_a_commit_whose_answer_was_lost_is_not_repeated(tmp_path, settings_for, monkeypatch):
    settings = settings_for(write_snapshot(tmp_path / "s", {"2026-01-01": [work(11)]}))
    real, calls = batches.load, []

    def lose_the_answer(*args):
        outcome = real(*args)
        calls.append(outcome)
        if len(calls) == 1:
            raise ConnectionLost("the server went away")
        return outcome

    monkeypatch.setattr(batches, "load", lose_the_answer)
    assert counts(run(settings)) == {"fetched": 1, "new": 1}
    assert calls[0].row == calls[1].row
    assert sorted(calls[0].results) == sorted(calls[1].results)
    proven(settings)


def test_a_server_that_stays_away_is_one_line(tmp_path, settings_for):
    settings = settings_for(write_snapshot(tmp_path / "s", {"2026-01-01": [work(11)]}))
    gone = settings.model_copy(
        update={"warehouse_url": "postgresql://somebody:secret@127.0.0.1:1/atlas", "home": tmp_path / "other"}
    )
    with pytest.raises(ConnectionLost) as caught:
        Warehouse.open(gone)
    assert "127.0.0.1/atlas" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def as_role(conn: sa.Connection, role: str, statement: sa.Executable) -> object:
    """First value of a statement, or the SQLSTATE of its refusal."""
    with conn.begin_nested() as point:
        conn.exec_driver_sql(f"SET LOCAL ROLE {role}")
        try:
            return conn.scalar(statement)
        except sa.exc.ProgrammingError as exc:
            return exc.orig.sqlstate
        finally:
            point.rollback()


REFUSED = "42501"


def test_readers_see_the_mart_and_nothing_else(tmp_path, settings_for):
    settings = settings_for(write_snapshot(tmp_path / "s", {"2026-01-01": [work(11)]}))
    run(settings)
    with Warehouse.open(settings) as warehouse, warehouse.engine.connect() as conn:
        assert warehouse.properties()[f"role {READER}"] == "granted"
        assert as_role(conn, READER, sa.select(t.world_year.c.papers).limit(1)) == 1
        assert as_role(conn, READER, sa.text("SELECT papers FROM mart.pair_rates LIMIT 1")) == 1
        for table in (t.work, t.affiliation, t.seen, t.batch, t.quarantine, t.meta):
            assert as_role(conn, READER, sa.select(sa.func.count()).select_from(table)) == REFUSED
        changes = sa.update(t.world_year).values(papers=0).returning(t.world_year.c.papers)
        assert as_role(conn, READER, changes) == REFUSED


def test_a_night_needs_the_writer_role_only(tmp_path, settings_for):
    root = write_snapshot(tmp_path / "s", {"2026-01-01": [work(11)], "2026-01-02": [work(12, updated="2026-01-02")]})
    settings = settings_for(root)
    run(settings, date(2026, 1, 1))
    name = f"night_{settings.url.database}"
    with sa.create_engine(settings.url, isolation_level="AUTOCOMMIT").connect() as conn:
        conn.exec_driver_sql(f"CREATE ROLE {name} LOGIN PASSWORD 'secret' IN ROLE {WRITER}")
    try:
        url = settings.url.set(username=name, password="secret").render_as_string(hide_password=False)
        writer = settings.model_copy(update={"warehouse_url": url})
        assert counts(run(writer))["new"] == 1
        proven(writer)
        with Warehouse.open(writer) as warehouse, warehouse.engine.connect() as conn:
            for ddl in (
                "DROP TABLE core.work",
                "CREATE TABLE mart.mine (x int)",
                "ALTER TABLE mart.world_year ADD x int",
            ):
                with pytest.raises(sa.exc.ProgrammingError) as caught, conn.begin():
                    conn.exec_driver_sql(ddl)
                assert caught.value.orig.sqlstate == REFUSED
    finally:
        with sa.create_engine(settings.url, isolation_level="AUTOCOMMIT").connect() as conn:
            conn.exec_driver_sql(f"DROP ROLE {name}")
