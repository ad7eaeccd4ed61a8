"""What is particular to Citus: where tables lie, and which SQL it refuses.

The normal suite has no Citus: there every statement that a warehouse on PostgreSQL really gets is held to the same
rules (tests/citus_shapes.py).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from functools import partial

import pytest
import sqlalchemy as sa

import schemas.expectations as expectations
import tasks.storage.engines.postgresql as postgresql
import tasks.validation.gates
from flows.progress import Lines
from flows.steps import Summary, directly, run_night
from schemas import tables as t
from schemas.settings import load_settings
from tasks.landing.harvest import ApiIntake
from tasks.night import Night
from tasks.storage.warehouse import Warehouse
from tests.citus_shapes import refused
from tests.citus_statements import ALLOWED, SHAPES
from tests.commands import invoke
from tests.factory import OFF_TOPIC, URL, author, rows, run, work, write_snapshot
from tests.replay import KEY, ReplayServer

CHANGES = re.compile(r"(INSERT INTO|DELETE FROM|UPDATE|CREATE TABLE|CREATE TEMPORARY TABLE|CREATE VIEW) ([\w.]+)")
TEMPORARY = {
    *("known", "stored", "picked", "arriving", "old_work", "new_work", "mates", "losers", "affected", "described"),
    *("judged", "stage_work", "stage_version", "stage_deletion", "stage_rejected"),
    *(f"{side}_{name}" for side in ("old", "new") for name in ("work_policy", "work_territory", "work_field")),
    *(f"{step}_{mart.name}" for step in ("delta", "cells", "fresh", "moved", "other") for mart in t.MART),
}


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Text of every statement that the warehouse gets from here on, those inside a COPY included."""
    found: set[str] = set()

    def note(_conn, _cursor, statement, *_):
        found.add(statement)

    def note_copied(conn, query):
        found.add(text := copied(conn, query))
        return text

    copied = postgresql.compiled
    monkeypatch.setattr(postgresql, "compiled", note_copied)
    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    yield found
    sa.event.remove(sa.Engine, "before_cursor_execute", note)


def live_through_everything(root, monkeypatch) -> None:
    """Nights with every kind of record, and every command."""

    def collab(*args: str, code: int = 0) -> None:
        result = invoke(*args)
        assert result.exit_code == code, result.output

    def night(code: int = 0) -> None:
        collab("run", "--snapshot", str(root), "--no-prefect", code=code)

    doi = "https://doi.org/10.1234/a"
    cited = [f"{URL}W1", f"{URL}W11", f"{URL}W12"]
    days = {
        "2026-01-01": [
            *(work(n, referenced_works=cited, title="Learning in PyTorch") for n in (11, 12, 14, 15, 19)),
            work(13, doi=doi),
            work(18, primary_topic=OFF_TOPIC),
            work(20, publication_year=2999),
            work(21, [author("US", "DE"), author()], author_position=None),
            b"{",
        ]
    }
    write_snapshot(root, days)
    night()
    days["2026-01-02"] = [
        work(11, [author("US"), author("DE")], updated="2026-01-02"),  # corrected
        work(12, cited_by_count=7, referenced_works=cited, title="Learning in PyTorch", updated="2026-01-02"),
        work(14, is_retracted=True, updated="2026-01-02"),
        work(15, referenced_works=cited, title="Learning in PyTorch", updated="2026-01-02"),  # unchanged
        work(16, [author("US"), author("CN"), author("FR")], doi=doi, updated="2026-01-02"),  # displaces 13
        work(17, updated="2025-12-31"),
        work(17, updated="2025-12-30"),  # superseded
        work(19, primary_topic=OFF_TOPIC, updated="2026-01-02"),  # leaves the scope
        work(20, updated="2026-01-02"),  # overtakes the record in quarantine
        work(22, publication_year=2999, updated="2026-01-02"),
    ]
    write_snapshot(root, days, deleted={12: "2026-01-02", 99: "2026-01-02"})
    night()
    collab("report")
    write_snapshot(root, days, deleted={12: "2026-01-02", 16: "2026-01-03", 99: "2026-01-02"})  # 13 counts again
    night()
    collab("quarantine", "list")
    collab("quarantine", "show", "W22")
    relaxed = [check for check in expectations.record_checks() if check.rule.id != "year_range"]
    with monkeypatch.context() as patched:
        patched.setattr("tasks.validation.validate.record_checks", lambda: relaxed)
        collab("quarantine", "retry", "--no-prefect")
    days["2026-01-04"] = [work(n, publication_year=2999, updated="2026-01-04") for n in range(31, 34)]
    write_snapshot(root, days)
    with monkeypatch.context() as patched:
        patched.setattr(tasks.validation.gates, "FEWEST_WORKS", 3)
        patched.setenv("COLLAB_MAX_QUARANTINED_SHARE", "0.01")
        night(code=1)  # stopped by a gate
        collab("status", code=1)
    night()
    undo_and_release(collab)
    correct_countries(root, collab)
    for command in ("rebuild", "publish", "verify", "upgrade", "check", "status", "report"):
        collab(command)
    live_on_the_api()


def undo_and_release(collab) -> None:
    """The last two batches with works are taken back and let in again, the older one with all its kinds of change."""
    of = t.batch.c
    with Warehouse.open(load_settings()) as warehouse:
        loaded = sa.select(of.batch_id).where(
            of.kind == "works", of.source == "openalex-snapshot", of.new + of.updated > 0
        )
        *_, last = [row["batch_id"] for row in rows(warehouse, loaded.order_by(of.finished_at))]
    collab("undo", last, "--with-later")
    collab("status")
    collab("undo", last, "--release")
    collab("prune")


def correct_countries(root, collab) -> None:
    """ROR, a correction of a string and of two institutions, everything decided again, a work explained."""
    dump, mine = root / "ror.jsonl", root / "mine.csv"
    dump.write_text('{"id": "00000aa01", "names": [{"value": "X College", "types": ["ror_display"]}]}')
    header = "kind,key,country,reason,source,date\n"
    rows = (
        "string,Dept US,FR,r,s,2026-01-01\ninstitution,I1,FR,r,s,2026-01-01\ninstitution,00000aa01,FR,r,s,2026-01-01\n"
    )
    mine.write_text(header + rows)
    collab("ror", "update", str(dump))
    collab("override", "apply", str(mine))
    collab("override", "list")
    collab("relocate")
    collab("explain", "W11")
    mine.write_text(header)
    collab("override", "apply", str(mine))


def live_on_the_api() -> None:
    """Four nights in which a work vanishes, is removed, and comes back."""
    works = [work(n, publication_date="2026-11-05", publication_year=2026) for n in (41, 42)]
    with ReplayServer(works) as server:
        settings = load_settings(
            openalex_url=server.url, openalex_api_key=KEY, openalex_rate=50, openalex_window_days=0
        )
        for day in range(22, 26):
            if day == 23:
                server.remove(41)
            if day == 25:
                server.put(works[0])
            with Night(settings, partial(ApiIntake, today=partial(date, 2026, 11, day))) as night:
                run_night(night, directly, Lines(), Summary())


@pytest.mark.engines("postgresql")
def test_citus_would_refuse_nothing_that_we_do(tmp_path, statements, monkeypatch):
    monkeypatch.setenv("COLLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLLAB_WORKERS", "1")
    live_through_everything(tmp_path / "s", monkeypatch)
    reasons = {statement: refused(statement) for statement in sorted(statements)}
    assert {statement: why for statement, why in reasons.items() if why} == {}
    with Warehouse.open(load_settings()) as warehouse:  # and now: did all of it happen?
        sums = rows(warehouse, sa.select(*(sa.func.sum(t.batch.c[name]).label(name) for name in t.COUNTS)))[0]
        booked = rows(warehouse, sa.select(t.ledger_of(t.pair_year).c.reason).distinct())
    assert [name for name, count in sums.items() if not count] == []
    assert {row["reason"] for row in booked} >= {"new", "corrected", "eligibility", "citations", "deleted"}
    changed = defaultdict(set)
    for statement in statements:
        for what, table in CHANGES.findall(statement):
            changed[what].add(table.strip('"'))
    every, marts = {str(table) for table in t.metadata.sorted_tables}, {str(mart) for mart in t.MART}
    assert every - changed["CREATE TABLE"] == set()
    assert every - changed["INSERT INTO"] == set()
    replaced = {str(table) for table in (*t.CORE, t.institution, t.organization, t.override)}
    replaced |= {str(table) for table in (t.seen, t.part, t.validation_result)}
    assert (replaced | marts) - changed["DELETE FROM"] == set()
    assert {str(t.work), str(t.quarantine), str(t.institution)} - changed["UPDATE"] == set()
    assert {mart for mart in marts if any(f"INTO {mart} " in s and "DO UPDATE" in s for s in statements)} == marts
    assert TEMPORARY - changed["CREATE TEMPORARY TABLE"] == set()
    queries = "\n".join(statement for statement in statements if statement.lstrip("(").startswith("SELECT"))
    unread = {table for table in every if f"FROM {table}" not in queries and f"JOIN {table}" not in queries}
    assert unread == {str(t.repair)}  # kept for whoever asks
    assert len(statements) > 150


@pytest.mark.engines("citus")
def test_tables_lie_where_they_are_declared_to(tmp_path, settings_for):
    settings = settings_for(write_snapshot(tmp_path / "s", {"2026-01-01": [work(n) for n in range(11, 41)]}))
    run(settings)
    listed = sa.text(
        "SELECT CAST(table_name AS text), citus_table_type, distribution_column, colocation_id, shard_count"
        " FROM citus_tables"
    )
    with Warehouse.open(settings) as warehouse, warehouse.reading() as conn:
        placed = {name: tuple(rest) for name, *rest in conn.execute(listed)}
        workers = conn.scalar(sa.text("SELECT count(*) FROM citus_get_active_worker_nodes()"))
        holding = conn.scalar(
            sa.text(
                "SELECT count(DISTINCT (nodename, nodeport)) FROM citus_shards"
                " WHERE table_name = CAST('core.work' AS regclass)"
            )
        )
        shards = conn.execute(
            sa.text("SELECT result FROM run_command_on_shards('core.work', 'SELECT count(*) FROM %s')")
        ).scalars()
        counted = [int(count) for count in shards]
    spread = {str(table): table.info["spread"] for table in t.metadata.sorted_tables}
    by_column = {name: column for name, column in spread.items() if column not in (None, t.EVERYWHERE)}
    assert set(by_column) == {str(table) for table in (*t.CORE, t.seen)}
    assert {name: found[1] for name, found in placed.items() if found[0] == "distributed"} == by_column
    assert len({found[2] for found in placed.values() if found[0] == "distributed"}) == 1
    everywhere = {name for name, column in spread.items() if column == t.EVERYWHERE}
    assert everywhere == {str(table) for table in (t.institution, t.organization, t.override, t.bloc_member)}
    assert {name for name, found in placed.items() if found[0] == "reference"} == everywhere
    assert set(placed) == {*by_column, *everywhere}  # the rest is on the coordinator, as plain tables
    assert holding == workers > 1
    assert sum(counted) == 30
    assert sum(count > 0 for count in counted) > 1


@pytest.mark.engines("citus")
def test_citus_refuses_what_the_guard_says_it_refuses(settings_for):
    with Warehouse.open(settings_for()) as warehouse, warehouse.engine.connect() as conn:
        conn.exec_driver_sql("CREATE TEMPORARY TABLE touched (work_id bigint, doi varchar, v int)")
        conn.exec_driver_sql("INSERT INTO touched VALUES (1, 'x', 1)")
        conn.exec_driver_sql("INSERT INTO ops.meta VALUES ('row', 'row')")
        conn.commit()
        refuses = {shape.statement: _says(conn, shape.statement) for shape in SHAPES}
        passes = {statement: _says(conn, statement) for statement in ALLOWED}
    assert {statement: said for statement, said in passes.items() if said} == {}
    assert [shape.statement for shape in SHAPES if not refuses[shape.statement] and not shape.stricter] == []
    assert [shape.statement for shape in SHAPES if refuses[shape.statement] and shape.stricter] == []


def _says(conn: sa.Connection, statement: str) -> str:
    """The first line of a refusal; empty if the statement ran."""
    try:
        conn.exec_driver_sql(statement)
    except sa.exc.DBAPIError as exc:
        return str(exc.orig).splitlines()[0]
    finally:
        conn.rollback()
    return ""
