"""What must hold after a fault, whatever it was: promises 1 to 5 of the design, and nothing left lying about."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise

import sqlalchemy as sa

from schemas import tables as t
from schemas.settings import Settings
from tasks.loading.ledger import RELEASED, WAREHOUSE, has_changed
from tasks.releases.release import opened
from tasks.storage.warehouse import Warehouse
from tests.factory import adds_up, contents, prove, rows, run

Content = dict[str, list[tuple]]


def promises_hold(settings: Settings) -> Content:
    """Check a home after a run that came to its end; returns the content of its tables, to be compared.

    Nothing lost, exact and honest are looked at here; that twice is once, by twice_is_once. Cost
    follows change: an interrupted run leaves nothing that the next would have to do again (batches without gap or
    overlap, no half landing, no staged file).
    """
    nothing_is_left_over(settings)
    with Warehouse.open(settings, create=False) as warehouse:
        with warehouse.transaction() as conn:
            prove(conn)
        batches = rows(warehouse, sa.select(t.batch).where(t.batch.c.source != WAREHOUSE))
        for batch in batches:
            assert adds_up(batch), batch
            is_kept = (settings.landing / batch["landing_uri"] / "manifest.json").exists()
            assert is_kept or not batch["window_records"], (
                batch
            )  # what holds no record is not kept (tasks/upkeep/retention.py)
        loads = [batch for batch in batches if RELEASED not in batch["batch_id"]]
        for landing in {batch["landing_id"] for batch in batches}:
            mine = sorted((b["first_record"], b["end_record"]) for b in loads if b["landing_id"] == landing)
            assert all(end == first for (_, end), (first, _) in pairwise(mine)), mine
        of_works = {row["batch_id"] for row in rows(warehouse, sa.select(t.work.c.batch_id).distinct())}
        assert of_works <= {row["batch_id"] for row in rows(warehouse, sa.select(t.batch.c.batch_id))}
        release_is_whole(settings, warehouse)
        return contents(warehouse)


def twice_is_once(settings: Settings, expected: Content, go: Callable[[Settings], object] = run) -> None:
    """Check a home, run again, and compare: with before, and with a home in which nothing was disturbed."""
    found = promises_hold(settings)
    go(settings)
    assert promises_hold(settings) == found == expected


def nothing_is_left_over(settings: Settings) -> None:
    """No staged file, no landing or release that is not whole."""
    assert not list(settings.staging.glob("**/*.arrow"))
    assert not list(settings.landing.glob("*/.*"))
    assert not list(settings.landing.glob("*/*/before/.*"))
    assert all((folder / "manifest.json").exists() for folder in settings.landing.glob("*/*/"))
    assert not list(settings.published.glob(".*"))


def release_is_whole(settings: Settings, warehouse: Warehouse) -> None:
    """The current release is the newest, opens, and holds what the warehouse holds, with its unknown part."""
    current = settings.published / "current"
    manifest = json.loads((current / "manifest.json").read_text())
    of = t.release.c
    stands = sa.select(t.release).where(of.withdrawn_at.is_(None))
    newest = rows(warehouse, stands.order_by(of.published_at.desc()).limit(1))[0]
    assert manifest["release"] == newest["release_id"] == current.resolve().name
    folders = {entry.name for entry in settings.published.iterdir() if entry.is_dir() and not entry.is_symlink()}
    assert folders <= {row["release_id"] for row in rows(warehouse, sa.select(t.release.c.release_id))}
    with warehouse.reading() as conn:
        assert not has_changed(conn, newest["published_at"])
        live = sorted(tuple(row) for row in conn.execute(sa.select(t.world_year)))
    with opened(current / "atlas.duckdb", newest["release_id"]) as release:
        assert sorted(tuple(row) for row in release.rows(sa.select(t.world_year))) == live
