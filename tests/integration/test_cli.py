"""The commands as a user types them: good input, twice in a row, and what they find and mend."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

import schemas.expectations as expectations
from schemas import tables as t
from schemas.settings import load_settings
from tasks.storage.warehouse import Warehouse, utc_now
from tests.commands import error, run
from tests.factory import rows, stored, work, write_snapshot

ROOT = Path(__file__).resolve().parents[2]


def test_a_whole_visit(collab, snapshot):
    code, output = run(collab, snapshot, "--each-night")
    assert code == 0, output
    assert re.search(r"2026-01-02: 2 batches, release \d{4}-\d\d-\d\d\.2", output)
    code, output = collab("verify")
    assert code == 0, output
    assert "pair_year = sum of the ledger" in output
    code, output = collab("report", "--field", "all")
    assert code == 0, output
    assert "China - United States" in output
    assert re.search(r"CN-US 2020 +-1 +deleted", output)  # work 14, which the second night brought and took
    assert re.search(r"CN-US 2020 +\+1 +new", output)
    opened = re.search(r"python -c \"(.*)\"", output)
    shown = subprocess.run(
        [sys.executable, "-c", opened[1]], capture_output=True, text=True, check=True
    )  # the line it tells one to use
    assert "territory_a" in shown.stdout
    code, output = collab("status")
    assert code == 0, output
    assert "1 open record in quarantine" in output
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


def test_quarantined_records_come_back_after_a_fix(collab, snapshot, monkeypatch):
    run(collab, snapshot)
    code, output = collab("quarantine", "retry", "--no-prefect")
    assert "1 batch," in output  # still broken: held again, listed once
    assert "1 open record" in collab("status")[1]
    relaxed = [check for check in expectations.record_checks() if check.rule.id != "year_range"]
    monkeypatch.setattr("tasks.validation.validate.record_checks", lambda: relaxed)
    code, output = collab("quarantine", "retry", "--no-prefect")
    assert code == 0, output
    assert "0 open records" in collab("status")[1]
    with Warehouse.open(load_settings()) as warehouse:
        assert [row["resolution"] for row in rows(warehouse, sa.select(t.quarantine))] == ["retried"]
    assert 13 in stored(load_settings())
    assert "no cell changed" in collab("quarantine", "retry", "--no-prefect")[1]
    assert collab("verify")[0] == 0


def test_records_that_did_not_say_which_work_they_are_come_back_too(collab, tmp_path, monkeypatch):
    unnamed = work(13) | {"updated_date": "someday"}, b"{}"
    monkeypatch.setenv("COLLAB_MAX_QUARANTINED_SHARE", "1")
    run(collab, write_snapshot(tmp_path / "s", {"2026-01-01": [work(11), *unnamed]}))
    assert "2 open records" in collab("status")[1]

    def mended(text: str) -> datetime:
        return datetime(2026, 1, 1)

    monkeypatch.setattr("tasks.reading.parse.parse_updated_date", mended)
    assert collab("quarantine", "retry", "--no-prefect")[0] == 0
    with Warehouse.open(load_settings()) as warehouse:
        held = rows(warehouse, sa.select(t.quarantine.c.raw, t.quarantine.c.resolution))
        assert {bytes(row["raw"]).strip() == b"{}": row["resolution"] for row in held} == {False: "retried", True: None}
    assert 13 in stored(load_settings())
    assert "1 open record" in collab("status")[1]


def test_verify_finds_what_is_wrong(collab, snapshot, engine):
    run(collab, snapshot)
    with Warehouse.open(load_settings()) as warehouse, warehouse.transaction() as conn:
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
    with Warehouse.open(load_settings()) as warehouse, warehouse.transaction() as conn:
        conn.execute(sa.delete(t.pair_year))
        conn.execute(sa.delete(t.ledger_of(t.pair_year)))
    assert collab("verify")[0] == 1
    assert collab("rebuild")[0] == 0
    assert collab("verify")[0] == 0
    with Warehouse.open(load_settings()) as warehouse:
        reasons = rows(warehouse, sa.select(t.ledger_of(t.pair_year).c.reason).distinct())
        of = t.batch.c
        of_sources = sa.select(of.source_records, of.source_listed, of.credits, of.run_id).where(of.kind == "rebuild")
        (said,) = rows(warehouse, of_sources)
    assert reasons == [{"reason": "definition"}]
    assert set(said.values()) == {None}  # no source was asked
    assert collab("publish")[0] == 0


def test_status_is_red_when_stale(collab, snapshot):
    run(collab, snapshot)
    assert collab("status")[0] == 0
    with Warehouse.open(load_settings()) as warehouse, warehouse.transaction() as conn:
        conn.execute(sa.update(t.run).values(ended_at=utc_now() - timedelta(days=3)))
    code, output = collab("status")
    assert code == 1
    assert "STALE" in output


def test_status_is_red_when_the_newest_tables_are_not_published(collab, snapshot, tmp_path):
    run(collab, snapshot, "--until", "2026-01-01")
    (tmp_path / "home" / "published" / "current").unlink()
    (tmp_path / "home" / "published" / "current").mkdir()
    assert "cannot publish" in error(*run(collab, snapshot))
    code, output = collab("status")
    assert code == 1
    assert "UNPUBLISHED" in output


def test_the_help_of_status_names_all_that_is_red(collab):
    code, output = collab("status", "--help")
    assert code == 0
    for word in ("failed", "killed", "interrupted", "stale", "stopped", "unfinished", "unpublished"):
        assert word in output


@pytest.mark.engines("duckdb")
def test_a_home_with_signs_that_mean_something_elsewhere(collab, snapshot, tmp_path, monkeypatch):
    home = tmp_path / "a&b=c [red]%41#é"
    monkeypatch.setenv("COLLAB_HOME", str(home))
    assert run(collab, snapshot)[0] == 0
    assert (home / "warehouse.duckdb").is_file()
    assert collab("check")[0] == 0
    assert collab("report", "--field", "all")[0] == 0


def test_streams_that_whoever_started_us_closed_are_no_error(collab, snapshot):
    run(collab, snapshot)
    closed = subprocess.run(["sh", "-c", '"$0" -m flows.cli check >&- 2>&-', sys.executable], cwd=ROOT, check=False)
    assert closed.returncode == 0


def test_sample_and_dictionary(collab, tmp_path):
    code, output = collab("sample", tmp_path / "made", "--works", 30, "--days", 2)
    assert code == 0, output
    assert "exists already" in error(*collab("sample", tmp_path / "made"), expected=2)
    assert collab("sample", tmp_path / "ages", "--days", 5_000_000)[0] == 2
    assert "| papers_dual_only |" in collab("dictionary")[1]
    assert collab("dictionary", "--write", tmp_path / "d.md")[0] == 0
    assert (tmp_path / "d.md").read_text() == collab("dictionary")[1]
