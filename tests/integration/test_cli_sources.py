"""The commands on sources of every kind: a visit to the live API, what it needs, and what `collab check` tries."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from schemas.settings import load_settings
from tasks.storage.layout import VERSION
from tasks.storage.warehouse import Warehouse
from tests.commands import error, run
from tests.factory import work
from tests.replay import KEY, ReplayServer


@pytest.fixture
def openalex(monkeypatch):
    """A replay of seven works of November, in the environment."""
    works = [work(n, publication_date="2026-11-05", publication_year=2026) for n in range(1, 8)]
    with ReplayServer(works) as server:
        monkeypatch.setenv("COLLAB_OPENALEX_URL", server.url)
        monkeypatch.setenv("COLLAB_OPENALEX_API_KEY", KEY)
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
    assert KEY not in output
    monkeypatch.setenv("COLLAB_OPENALEX_DAILY_CREDITS", "1")
    code, output = collab("backfill", "--from", "2020-01-01", "--to", "2020-02-28", "--no-prefect")
    assert "run again after midnight UTC" in error(code, output, 3)


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
    with Warehouse.open(load_settings()) as warehouse, warehouse.transaction() as conn:
        conn.execute(sa.update(VERSION).values(version_num="0099"))
    code, output = collab("check")
    assert code == 1, output
    assert "upgrade collab-atlas" in output.splitlines()[-1]
