"""The commands as a user types them: good input, bad input, twice in a row.

One line, the cause, the next command, the exit code.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

import flows.cli
from schemas import tables as t
from tasks.layout import VERSION
from tasks.warehouse import Warehouse, utc_now
from tests.factory import author, rows, work, write_snapshot
from tests.replay import ReplayServer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def collab(tmp_path, monkeypatch):
    """Runs a command in this process; returns (exit code, what it printed)."""
    monkeypatch.setenv("COLLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLLAB_SCOPE", "all")
    monkeypatch.setenv("COLLAB_WORKERS", "1")
    runner = CliRunner()

    def call(*args: object) -> tuple[int, str]:
        result = runner.invoke(flows.cli.app, [str(arg) for arg in args])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    return call


@pytest.fixture
def snapshot(tmp_path) -> Path:
    days = {
        "2026-01-01": [work(11), work(12, [author("US"), author()]), work(13, publication_year=2999)],
        "2026-01-02": [work(14, updated="2026-01-02")],
    }
    return write_snapshot(tmp_path / "s", days, deleted={14: "2026-01-02"})


def run(collab, snapshot, *more):
    return collab("run", "--snapshot", snapshot, "--no-prefect", *more)


def error(code: int, output: str, expected: int = 1) -> str:
    """The one line of an expected failure."""
    assert code == expected, output
    lines = [line for line in output.splitlines() if line.startswith("collab ")]
    assert len(lines) == 1, output
    assert "Traceback" not in output
    return lines[0]


def test_a_whole_visit(collab, snapshot, tmp_path):
    code, output = run(collab, snapshot, "--each-night")
    assert code == 0, output
    assert re.search(r"2026-01-02: 2 batches, release \d{4}-\d\d-\d\d\.2", output)
    code, output = collab("verify")
    assert code == 0, output
    assert "pair_year = sum of the ledger" in output
    code, output = collab("report", "--field", "all")
    assert code == 0, output
    assert "China - United States" in output
    assert "deleted" not in output or "-1" in output
    opened = re.search(r"python -c \"(.*)\"", output)
    shown = subprocess.run(
        [sys.executable, "-c", opened[1]], capture_output=True, text=True, check=True
    )  # the line it tells one to use
    assert "territory_a" in shown.stdout
    code, output = collab("status")
    assert code == 0, output
    assert "1 open records in quarantine" in output
    code, output = collab("quarantine", "list")
    assert code == 0
    assert "W13" in output
    assert "year_range" in output
    code, output = collab("quarantine", "show", "W13")
    assert '"publication_year": 2999' in output
    assert collab("publish")[0] == 0
    code, output = collab("rebuild")
    assert "world_year 0" in output
    assert collab("verify")[0] == 0
    assert collab("check")[0] == 0
    assert run(collab, snapshot)[0] == 0


def test_nights_before_the_first_date_are_refused(collab, snapshot, tmp_path):
    line = error(*run(collab, snapshot, "--each-night", "--until", "2025-12-31"), expected=2)
    assert "no partition date up to 2025-12-31 -> the first one is 2026-01-01" in line
    assert not (tmp_path / "home").exists()


def test_quarantined_records_come_back_after_a_fix(collab, snapshot, monkeypatch):
    run(collab, snapshot)
    code, output = collab("quarantine", "retry", "--no-prefect")
    assert "1 batch," in output  # still broken: held again, listed once
    assert "1 open records" in collab("status")[1]
    import schemas.expectations as expectations

    relaxed = [check for check in expectations.record_checks() if check.rule.id != "year_range"]
    monkeypatch.setattr("tasks.validate.record_checks", lambda: relaxed)
    code, output = collab("quarantine", "retry", "--no-prefect")
    assert code == 0, output
    assert "0 open records" in collab("status")[1]
    with Warehouse.open(flows.cli.load_settings()) as warehouse:
        assert [row["resolution"] for row in rows(warehouse, sa.select(t.quarantine))] == ["retried"]
        assert 13 in {row["work_id"] for row in rows(warehouse, sa.select(t.work.c.work_id))}
    assert "no cell changed" in collab("quarantine", "retry", "--no-prefect")[1]
    assert collab("verify")[0] == 0


def test_records_that_did_not_say_which_work_they_are_come_back_too(collab, tmp_path, monkeypatch):
    unnamed = work(13) | {"updated_date": "someday"}, b"{}"
    monkeypatch.setenv("COLLAB_MAX_QUARANTINED_SHARE", "1")
    run(collab, write_snapshot(tmp_path / "s", {"2026-01-01": [work(11), *unnamed]}))
    assert "2 open records" in collab("status")[1]

    def mended(text: str) -> datetime:
        return datetime(2026, 1, 1)

    monkeypatch.setattr("tasks.parse.parse_updated_date", mended)
    assert collab("quarantine", "retry", "--no-prefect")[0] == 0
    with Warehouse.open(flows.cli.load_settings()) as warehouse:
        held = rows(warehouse, sa.select(t.quarantine.c.raw, t.quarantine.c.resolution))
        assert {bytes(row["raw"]).strip() == b"{}": row["resolution"] for row in held} == {False: "retried", True: None}
        assert 13 in {row["work_id"] for row in rows(warehouse, sa.select(t.work.c.work_id))}
    assert "1 open records" in collab("status")[1]


def test_verify_finds_what_is_wrong(collab, snapshot, engine):
    run(collab, snapshot)
    with Warehouse.open(flows.cli.load_settings()) as warehouse, warehouse.transaction() as conn:
        conn.execute(sa.update(t.pair_year).values(papers=7).where(t.pair_year.c.policy == "iso"))
        conn.execute(sa.insert(t.work_field).values(work_id=999, field="ai", rule="x"))
        expected = ["pair_year = rebuild", "work_field: every row has its work"]
        if engine == "duckdb":  # elsewhere a key forbids it
            copied = sa.select(t.work).where(t.work.c.work_id == 11)
            conn.execute(sa.insert(t.work).from_select(t.work.columns.keys(), copied))
            expected.append("work: key is unique")
    line = error(*collab("verify"))
    for check in expected:
        assert check in line
    assert "collab rebuild" in line


def test_rebuild_mends_the_mart_and_books_it(collab, snapshot):
    run(collab, snapshot)
    with Warehouse.open(flows.cli.load_settings()) as warehouse, warehouse.transaction() as conn:
        conn.execute(sa.delete(t.pair_year))
        conn.execute(sa.delete(t.ledger_of(t.pair_year)))
    assert collab("verify")[0] == 1
    assert collab("rebuild")[0] == 0
    assert collab("verify")[0] == 0
    with Warehouse.open(flows.cli.load_settings()) as warehouse:
        reasons = rows(warehouse, sa.select(t.ledger_of(t.pair_year).c.reason).distinct())
    assert reasons == [{"reason": "definition"}]
    assert collab("publish")[0] == 0


def test_status_is_red_when_stale_or_stopped(collab, snapshot, monkeypatch):
    run(collab, snapshot)
    assert collab("status")[0] == 0
    with Warehouse.open(flows.cli.load_settings()) as warehouse, warehouse.transaction() as conn:
        conn.execute(sa.update(t.run).values(ended_at=utc_now() - timedelta(days=3)))
    code, output = collab("status")
    assert code == 1
    assert "STALE" in output


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["run"], 2, "give --snapshot DIR or set COLLAB_SNAPSHOT"),
        (["run", "--snapshot", "nowhere"], 1, "no folder"),
        (["run", "--snapshot", "gopher://x"], 2, "use a file or folder, s3://bucket"),
        (["run", "--source", "crystal-ball"], 2, "known: openalex-snapshot"),
        (["run", "--source", "a:b:c"], 2, "unknown source 'a:b:c'"),
        (["run", "--snapshot", ".", "--until", "soon"], 2, "write it as 2026-11-22"),
        (["verify"], 1, "`collab run` makes one"),
        (["status"], 1, "`collab run` makes one"),
        (["report"], 1, "`collab run` makes one"),
        (["report", "--field", "alchemy"], 2, "known: all, ai"),
        (["quarantine", "show", "W1"], 1, "`collab run` makes one"),
    ],
)
def test_wrong_options_are_one_line(collab, args, code, says):
    assert says in error(*collab(*args, *(["--no-prefect"] if args[0] == "run" else [])), expected=code)


def test_wrong_settings_are_one_line(collab, snapshot, monkeypatch):
    monkeypatch.setenv("COLLAB_BATCH_WORK", "5")
    assert "did you mean COLLAB_BATCH_WORKS?" in error(*run(collab, snapshot), expected=2)
    monkeypatch.delenv("COLLAB_BATCH_WORK")
    monkeypatch.setenv("COLLAB_SCOPE", "everything")
    assert "COLLAB_SCOPE" in error(*run(collab, snapshot), expected=2)
    monkeypatch.setenv("COLLAB_SCOPE", "all")
    monkeypatch.setenv("COLLAB_WAREHOUSE_URL", "mysql://u:planted-secret@h/d")
    line = error(*run(collab, snapshot), expected=2)
    assert "engine mysql is not supported" in line
    assert "planted-secret" not in collab("check")[1] + line
    monkeypatch.setenv("COLLAB_WAREHOUSE_URL", "postgresql://u@h/d?host=a&host=b&port=1")
    assert "COLLAB_WAREHOUSE_URL: Can't mix" in error(*run(collab, snapshot), expected=2)
    monkeypatch.setenv("COLLAB_WAREHOUSE_URL", "duckdb+foo:///a.duckdb")
    assert "write duckdb:/// without a driver" in error(*run(collab, snapshot), expected=2)


def hold_open(path: str, held, done) -> None:
    with duckdb.connect(path):
        held.set()
        done.wait()


@pytest.mark.engines("duckdb")
def test_a_locked_warehouse_is_one_line(collab, snapshot, tmp_path):
    run(collab, snapshot)
    context = multiprocessing.get_context("spawn")
    held, done = context.Event(), context.Event()
    other = context.Process(target=hold_open, args=(str(tmp_path / "home" / "warehouse.duckdb"), held, done))
    other.start()
    try:
        assert held.wait(60)
        assert "in use by another process" in error(*run(collab, snapshot))
        assert "published/current, which is never locked" in error(*collab("status"))
    finally:
        done.set()
        other.join()
    assert run(collab, snapshot)[0] == 0


@pytest.mark.engines("duckdb")
def test_a_file_that_is_no_warehouse_is_one_line(collab, snapshot, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "warehouse.duckdb").write_bytes(b"x" * 10_000)
    assert "is not a DuckDB file" in error(*run(collab, snapshot))


@pytest.mark.engines("duckdb")
def test_corrections_in_a_pipe_are_refused_and_not_waited_for(collab, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    said = error(*collab("override", "apply", tmp_path / "pipe"), expected=2)
    assert "it is no regular file -> give a CSV of corrections" in said


def test_a_warehouse_that_lost_what_it_says_of_itself_is_one_line(collab, snapshot):
    run(collab, snapshot)
    with Warehouse.open(flows.cli.load_settings()) as warehouse, warehouse.transaction() as conn:
        conn.execute(sa.delete(t.meta).where(t.meta.c.name.in_(["scope", "definitions"])))
    assert "ops.meta lacks definitions and scope" in error(*run(collab, snapshot))
    assert "ops.meta lacks definitions and scope" in error(*collab("status"))


def test_streams_that_whoever_started_us_closed_are_no_error(collab, snapshot):
    run(collab, snapshot)
    closed = subprocess.run(["sh", "-c", '"$0" -m flows.cli check >&- 2>&-', sys.executable], cwd=ROOT, check=False)
    assert closed.returncode == 0


@pytest.mark.engines("duckdb")
@pytest.mark.parametrize("args", [("dictionary",), ("--help",), ("locate", "Berlin", "--json")])
def test_output_that_finds_no_room_is_one_line(args):
    with Path("/dev/full").open("wb") as full:
        found = subprocess.run(
            [sys.executable, "-m", "flows.cli", *args], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, check=False
        )
    told = "collab: cannot write: No space left on device -> free space, or send it elsewhere\n"
    assert (found.returncode, found.stderr.decode()) == (1, told)


@pytest.mark.engines("duckdb")
@pytest.mark.parametrize("args", [("dictionary",), ("--help",), ("locate", "Berlin", "--json")])
def test_a_reader_that_left_gets_no_word(args):
    reader, writer = os.pipe()
    os.close(reader)
    found = subprocess.run(
        [sys.executable, "-m", "flows.cli", *args], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (found.returncode, found.stderr) == (1, b"")


def test_an_error_leaves_nothing_behind_and_names_the_command(collab, tmp_path):
    assert error(*collab("run"), expected=2).startswith("collab run: source openalex-snapshot needs")
    assert not (tmp_path / "home").exists()
    assert error(*collab("quarantine", "list")).startswith("collab quarantine list: no warehouse")
    assert "give a file" in error(*collab("dictionary", "--write", tmp_path / "no" / "x.md"), expected=2)
    (tmp_path / "file").write_text("")
    assert "give a folder" in error(*collab("sample", tmp_path / "file" / "[/x]"), expected=2)


def test_status_is_red_when_the_newest_tables_are_not_published(collab, snapshot, tmp_path):
    run(collab, snapshot, "--until", "2026-01-01")
    (tmp_path / "home" / "published" / "current").unlink()
    (tmp_path / "home" / "published" / "current").mkdir()
    assert "cannot publish" in error(*run(collab, snapshot))
    code, output = collab("status")
    assert code == 1
    assert "UNPUBLISHED" in output


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COLLAB_STALE_HOURS", "1000000000000"),
        ("COLLAB_MAX_RECORD_BYTES", "1" + "0" * 20),
        ("COLLAB_KEEP_RELEASES", "1" + "0" * 20),
        ("COLLAB_MEMORY_LIMIT", "0MB"),
        ("COLLAB_HOME", "~nobody-of-this-name/x"),
        ("COLLAB_HOME", "what?/x"),
        ("COLLAB_WAREHOUSE_URL", "not a url"),
        ("COLLAB_WAREHOUSE_URL", "postgresql://host/atlas?password=x"),
    ],
)
def test_settings_out_of_range_are_one_line(collab, snapshot, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert name in error(*run(collab, snapshot), expected=2)


@pytest.mark.engines("duckdb")
def test_a_home_with_signs_that_mean_something_elsewhere(collab, snapshot, tmp_path, monkeypatch):
    home = tmp_path / "a&b=c [red]%41#é"
    monkeypatch.setenv("COLLAB_HOME", str(home))
    assert run(collab, snapshot)[0] == 0
    assert (home / "warehouse.duckdb").is_file()
    assert collab("check")[0] == 0
    assert collab("report", "--field", "all")[0] == 0


def test_an_interrupted_run_is_one_line(collab, snapshot, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("tasks.batch.load_works", interrupt)
    assert "the next run goes on from there" in error(*run(collab, snapshot), expected=130)


@pytest.mark.engines("duckdb")
@pytest.mark.parametrize("size", [0, 4096, 8192])
def test_a_run_killed_while_making_the_warehouse_can_be_repeated(collab, snapshot, tmp_path, size):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "warehouse.duckdb.new").write_bytes(b"x" * size)  # DuckDB writes three headers in turn
    assert run(collab, snapshot)[0] == 0
    assert [file.name for file in (tmp_path / "home").glob("warehouse*")] == ["warehouse.duckdb"]


def test_a_newer_warehouse_is_one_line(collab, snapshot):
    run(collab, snapshot)
    with Warehouse.open(flows.cli.load_settings()) as warehouse, warehouse.transaction() as conn:
        conn.execute(sa.update(VERSION).values(version_num="0099"))
    assert "upgrade collab-atlas" in error(*run(collab, snapshot))


def test_a_home_that_cannot_be_written_is_one_line(collab, snapshot, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("COLLAB_HOME", str(tmp_path / "file" / "home"))
    assert "set COLLAB_HOME to a folder you may write" in error(*run(collab, snapshot), expected=2)


@pytest.mark.parametrize("step", ["tasks.land._copy", "tasks.derive.pa.OSFile"])
def test_a_full_disk_is_one_line_and_nothing_is_half_done(collab, snapshot, tmp_path, monkeypatch, step):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(step, full)
    assert "No space left on device" in error(*run(collab, snapshot))
    monkeypatch.undo()
    monkeypatch.setenv("COLLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLLAB_SCOPE", "all")
    with Warehouse.open(flows.cli.load_settings()) as warehouse:
        assert rows(warehouse, sa.select(t.batch)) == []
    assert run(collab, snapshot)[0] == 0
    assert collab("verify")[0] == 0


def test_sample_and_dictionary(collab, tmp_path):
    code, output = collab("sample", tmp_path / "made", "--works", 30, "--days", 2)
    assert code == 0, output
    assert "exists already" in error(*collab("sample", tmp_path / "made"), expected=2)
    assert collab("sample", tmp_path / "ages", "--days", 5_000_000)[0] == 2
    assert "| papers_dual_only |" in collab("dictionary")[1]
    assert collab("dictionary", "--write", tmp_path / "d.md")[0] == 0
    assert (tmp_path / "d.md").read_text() == collab("dictionary")[1]


def test_workers_give_the_same_tables(snapshot, tmp_path, settings_for, monkeypatch):
    """Two processes and small chunks against one process."""
    from tests import factory

    monkeypatch.setattr("tasks.derive.CHUNK_RECORDS", 2)
    found = []
    for workers in (1, 2):
        settings = settings_for(snapshot, home=tmp_path / str(workers), workers=workers)
        factory.run(settings)
        with Warehouse.open(settings) as warehouse:
            found.append(factory.contents(warehouse))
    assert found[0] == found[1]


@pytest.fixture
def openalex(monkeypatch):
    works = [work(n, publication_date="2026-11-05", publication_year=2026) for n in range(1, 8)]
    with ReplayServer(works) as server:
        monkeypatch.setenv("COLLAB_OPENALEX_URL", server.url)
        monkeypatch.setenv("COLLAB_OPENALEX_API_KEY", "secret-key-of-a-test")
        monkeypatch.setenv("COLLAB_OPENALEX_RATE", "50")
        monkeypatch.setenv("COLLAB_OPENALEX_WAIT", "0")
        yield server


def test_a_visit_to_the_live_api(collab, openalex, monkeypatch):
    """The months that a night looks at depend on the day, so the works are reached by a backfill."""
    span = ("--from", "2026-10-01", "--to", "2026-11-20")
    code, output = collab("backfill", *span, "--dry-run")
    assert code == 0, output
    assert re.search(r"2026-10 to 2026-11 +backfill +7 +2\b", output)
    assert "2 windows, 7 works, about 2 calls of 1 credit" in output
    code, output = collab("backfill", *span, "--no-prefect")
    assert code == 0, output
    assert re.search(r"2 batches, release .*, 3 OpenAlex credits spent, 9,996 left today, no months left", output)
    code, output = collab("run", "--source", "openalex-api", "--no-prefect")
    assert code == 0, output
    assert "OpenAlex credits spent" in output
    assert collab("verify")[0] == 0
    code, output = collab("status")
    assert code == 0, output
    assert "2026-11" in output
    assert collab("backfill", "--from", "2024-01-01", "--to", "2024-01-31", "--no-prefect")[0] == 0
    assert "NEVER FETCHED 2024-02 to" in collab("status")[1]
    code, output = collab("check")
    assert code == 0, output
    assert "of 10,000 credits left today" in output
    assert "secret-key" not in output
    monkeypatch.setenv("COLLAB_OPENALEX_DAILY_CREDITS", "1")
    code, output = collab("backfill", "--from", "2020-01-01", "--to", "2020-02-28", "--no-prefect")
    assert "run again after midnight UTC" in error(code, output, 3)


def test_check_tries_everything_and_reports_each_failure(collab, snapshot, openalex, tmp_path, monkeypatch):
    run(collab, snapshot)
    monkeypatch.setenv("COLLAB_SNAPSHOT", str(snapshot))
    (tmp_path / "list.csv").write_text("title,year\n")
    monkeypatch.setenv("COLLAB_VENUE_LIST", str(tmp_path / "list.csv"))
    code, output = collab("check")
    assert code == 0, output
    for found in (
        "snapshot: 2 parts",
        "of 10,000 credits left today",
        "venue list: 1 file can be read",
        "warehouse_id",
    ):
        assert found in output
    monkeypatch.setenv("COLLAB_SNAPSHOT", str(tmp_path / "nowhere"))
    monkeypatch.setenv("COLLAB_OPENALEX_API_KEY", "of-somebody-else")
    monkeypatch.setenv("COLLAB_VENUE_LIST", str(tmp_path / "gone.csv"))
    code, output = collab("check")
    assert code == 1, output
    failures = [line for line in output.splitlines() if line.startswith("collab check: ")]
    for line, says in zip(failures, ("no folder", "refused (401)", "gone.csv"), strict=True):
        assert says in line
    assert "warehouse_id" in output
    with Warehouse.open(flows.cli.load_settings()) as warehouse, warehouse.transaction() as conn:
        conn.execute(sa.update(VERSION).values(version_num="0099"))
    code, output = collab("check")
    assert code == 1, output
    assert "upgrade collab-atlas" in output.splitlines()[-1]


def test_the_help_of_status_names_all_that_is_red(collab):
    code, output = collab("status", "--help")
    assert code == 0
    for word in ("failed", "killed", "interrupted", "stale", "stopped", "unfinished", "unpublished"):
        assert word in output


def test_what_the_live_api_needs_is_said_before_anything_is_made(collab, openalex, monkeypatch, tmp_path):
    api = ("run", "--source", "openalex-api", "--no-prefect")
    assert "belongs to a snapshot" in error(*collab(*api, "--until", "2026-01-01"), 2)
    assert "belongs to source openalex-snapshot" in error(*collab(*api, "--each-night"), 2)
    assert "known: openalex-snapshot, openalex-api" in error(*collab("run", "--source", "openalex"), 2)
    assert "is not a date" in error(*collab("backfill", "--from", "2020", "--to", "2020-02-28"), 2)
    assert "is no range" in error(*collab("backfill", "--from", "2021-01-01", "--to", "2020-02-28"), 2)
    monkeypatch.setenv("COLLAB_OPENALEX_API_KEY", "")
    for command in (api, ("backfill", "--from", "2020-01-01", "--to", "2020-02-28")):
        line = error(*collab(*command), 2)
        assert "COLLAB_OPENALEX_API_KEY" in line
        assert "openalex-snapshot" in line
    assert not (tmp_path / "home").exists()
    assert openalex.calls == []
    monkeypatch.setenv("COLLAB_OPENALEX_API_KEY", "of-somebody-else")
    assert "refused (401)" in error(*collab(*api))
    assert "of-somebody-else" not in error(*collab("check"))


@pytest.mark.parametrize(
    "args", [["undo", "\udcff"], ["quarantine", "show", "W\udcff"], ["ror", "update", "r\udcff.json"]]
)
def test_what_is_not_utf8_is_one_line(collab, args):
    assert "is not UTF-8" in error(*collab(*args), expected=2)


def test_a_home_that_is_not_utf8_is_one_line(collab, monkeypatch):
    monkeypatch.setenv("COLLAB_HOME", "home\udcff")
    assert "COLLAB_HOME: it is not UTF-8; rename it" in error(*collab("status"), expected=2)
