"""Runs on real records are killed with SIGKILL at random moments and run again: the tables end as if nothing had
happened.

The children run the steps of the night without Prefect.
"""

from __future__ import annotations

import json
import random
import time
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa

from schemas import tables as t
from schemas.settings import Settings, load_settings
from tasks.ledger import has_changed
from tasks.verify import verify
from tasks.warehouse import Warehouse
from tests.factory import contents, rows, run
from tests.faults.kills import was_killed

UNTIL = date(2025, 2, 28)
BATCH = 150  # several transactions a run


def settings_in(home: Path, snapshot: Path) -> Settings:
    return load_settings(home=home, scope="all", workers=1, snapshot=str(snapshot), batch_works=BATCH)


def one_night(home: Path, snapshot: Path) -> None:
    run(settings_in(home, snapshot), UNTIL)


def check_nothing_is_half_done(settings: Settings) -> dict[str, list[tuple]]:
    """Every promise about what a run leaves behind, and the content."""
    assert not list(settings.staging.glob("**/*.arrow"))
    released = settings.published / "current"
    manifest = json.loads((released / "manifest.json").read_text())
    assert manifest["release"] == released.resolve().name
    folders = {entry.name for entry in settings.published.iterdir() if entry.is_dir() and not entry.is_symlink()}
    assert not list(settings.landing.glob("*/.*"))
    with Warehouse.open(settings, create=False) as warehouse:
        with warehouse.transaction() as conn:
            assert [finding for finding in verify(conn) if finding.differences] == []
        assert folders <= {row["release_id"] for row in rows(warehouse, sa.select(t.release.c.release_id))}
        batches = rows(warehouse, sa.select(t.batch))
        for batch in batches:
            assert (settings.landing / batch["landing_uri"] / "manifest.json").exists()
        assert {row["batch_id"] for row in rows(warehouse, sa.select(t.work.c.batch_id))} <= {
            b["batch_id"] for b in batches
        }
        newest = rows(warehouse, sa.select(t.release).order_by(t.release.c.published_at.desc()).limit(1))[0]
        with warehouse.reading() as conn:
            assert not has_changed(conn, newest["published_at"])
        assert newest["release_id"] == released.resolve().name
        return contents(warehouse)


def survive(kills: int, shared: Path, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    snapshot = shared / "openalex" / "snapshot"
    began = time.monotonic()
    assert not was_killed(one_night, tmp_path / "whole", snapshot, after=600)
    length = time.monotonic() - began
    expected = check_nothing_is_half_done(settings_in(tmp_path / "whole", snapshot))
    done, home = 0, 0
    while done < kills:
        done += was_killed(one_night, tmp_path / f"home-{home}", snapshot, after=chance.uniform(0.05, 0.6 * length))
        if chance.random() < 0.25 or done == kills:  # let it come to its end, look, and start over
            assert not was_killed(one_night, tmp_path / f"home-{home}", snapshot, after=600)
            assert check_nothing_is_half_done(settings_in(tmp_path / f"home-{home}", snapshot)) == expected
            home += 1


@pytest.mark.long
def test_30_kills_end_in_the_same_tables(shared, tmp_path):
    survive(30, shared, tmp_path, seed=1)


@pytest.mark.slow
def test_200_kills_end_in_the_same_tables(shared, tmp_path):
    survive(200, shared, tmp_path, seed=2)
