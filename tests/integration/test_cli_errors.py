"""Bad input and broken surroundings, as a user meets them: one line, the cause, the next command, the exit code."""

from __future__ import annotations

import errno
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
import sqlalchemy as sa

from schemas import tables as t
from schemas.settings import load_settings
from tasks.storage.layout import VERSION
from tasks.storage.warehouse import Warehouse
from tests.commands import error, run
from tests.factory import rows

ROOT = Path(__file__).resolve().parents[2]


def test_nights_before_the_first_date_are_refused(collab, snapshot, tmp_path):
    line = error(*run(collab, snapshot, "--each-night", "--until", "2025-12-31"), expected=2)
    assert "no partition date up to 2025-12-31 -> the first one is 2026-01-01" in line
    assert not (tmp_path / "home").exists()


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
    assert "it is no regular file; save it as one -> give a CSV of corrections" in said


def test_a_warehouse_that_lost_what_it_says_of_itself_is_one_line(collab, snapshot):
    run(collab, snapshot)
    with Warehouse.open(load_settings()) as warehouse, warehouse.transaction() as conn:
        conn.execute(sa.delete(t.meta).where(t.meta.c.name.in_(["scope", "definitions"])))
    assert "ops.meta lacks definitions and scope" in error(*run(collab, snapshot))
    assert "ops.meta lacks definitions and scope" in error(*collab("status"))


def test_a_newer_warehouse_is_one_line(collab, snapshot):
    run(collab, snapshot)
    with Warehouse.open(load_settings()) as warehouse, warehouse.transaction() as conn:
        conn.execute(sa.update(VERSION).values(version_num="0099"))
    assert "upgrade collab-atlas" in error(*run(collab, snapshot))


@pytest.mark.engines("duckdb")
@pytest.mark.parametrize("size", [0, 4096, 8192])
def test_a_run_killed_while_making_the_warehouse_can_be_repeated(collab, snapshot, tmp_path, size):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "warehouse.duckdb.new").write_bytes(b"x" * size)  # DuckDB writes three headers in turn
    assert run(collab, snapshot)[0] == 0
    assert [file.name for file in (tmp_path / "home").glob("warehouse*")] == ["warehouse.duckdb"]


def test_an_interrupted_run_is_one_line(collab, snapshot, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("tasks.batches.batch.load_works", interrupt)
    assert "the next run goes on from there" in error(*run(collab, snapshot), expected=130)


def test_a_home_that_cannot_be_written_is_one_line(collab, snapshot, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("COLLAB_HOME", str(tmp_path / "file" / "home"))
    assert "set COLLAB_HOME to a folder you may write" in error(*run(collab, snapshot), expected=2)


@pytest.mark.parametrize("step", ["tasks.landing.land._copy", "tasks.staging.derive.pa.OSFile"])
def test_a_full_disk_is_one_line_and_nothing_is_half_done(collab, snapshot, tmp_path, monkeypatch, step):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(step, full)
    assert "No space left on device" in error(*run(collab, snapshot))
    monkeypatch.undo()
    monkeypatch.setenv("COLLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLLAB_SCOPE", "all")
    with Warehouse.open(load_settings()) as warehouse:
        assert rows(warehouse, sa.select(t.batch)) == []
    assert run(collab, snapshot)[0] == 0
    assert collab("verify")[0] == 0


@pytest.mark.parametrize(
    "args", [["undo", "\udcff"], ["quarantine", "show", "W\udcff"], ["ror", "update", "r\udcff.json"]]
)
def test_what_is_not_utf8_is_one_line(collab, args):
    assert "is not UTF-8" in error(*collab(*args), expected=2)


def test_a_home_that_is_not_utf8_is_one_line(collab, monkeypatch):
    monkeypatch.setenv("COLLAB_HOME", "home\udcff")
    assert "COLLAB_HOME: it is not UTF-8; rename it" in error(*collab("status"), expected=2)
