"""What is old goes, what is needed stays."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
import sqlalchemy as sa

from schemas import tables as t
from schemas.errors import UndoRefused
from tasks.batches.undo import undo
from tasks.reading.quarantine import open_records
from tasks.storage.warehouse import Warehouse, utc_now
from tasks.upkeep import retention
from tests.factory import author, rows, run, work, write_snapshot

DAYS = {
    "2026-01-01": [work(11), work(12, publication_year=2999)],
    "2026-01-02": [work(11, [author("DE")], updated="2026-01-02"), work(12, updated="2026-01-02")],
    "2026-01-03": [work(11, [author("JP")], updated="2026-01-03")],
}


def prune(settings, **changed) -> retention.Pruned:
    with Warehouse.open(settings) as warehouse:
        return retention.prune(warehouse, settings.model_copy(update=changed))


def open_keys(warehouse) -> list[str]:
    with warehouse.reading() as conn:
        return [row.source_key for row in open_records(conn)]


def test_what_is_old_goes_and_what_is_needed_stays(tmp_path, settings_for, monkeypatch):
    settings = settings_for(write_snapshot(tmp_path / "s", DAYS), keep_landing=1, keep_releases=1)
    for day in DAYS:
        run(settings, date.fromisoformat(day))
    landed = sorted(settings.landing.glob("*/*"))
    assert len(landed) == 3  # all of them hold what can be undone
    assert prune(settings).line() == "nothing was old enough"
    later = utc_now() + timedelta(days=20)
    monkeypatch.setattr(retention, "utc_now", lambda: later)
    done = prune(settings)
    assert (done.landings, done.undoable, done.releases, done.quarantined) == (2, 3, 0, 0)
    assert done.bytes > 0
    assert "2 landed windows" in done.line()
    assert len(list(settings.landing.glob("*/*"))) == 1
    assert len(list(settings.published.glob("2*"))) == 1
    with Warehouse.open(settings) as warehouse:
        (last,) = rows(warehouse, sa.select(t.batch.c.batch_id).order_by(t.batch.c.finished_at.desc()).limit(1))
        with pytest.raises(UndoRefused, match="COLLAB_UNDO_DAYS"):
            undo(warehouse, settings, last["batch_id"])
    later += timedelta(days=400)
    assert prune(settings).quarantined == 1  # resolved by a newer version
    assert prune(settings).line() == "nothing was old enough"


def test_versions_that_wait_for_their_release_keep_their_landing(tmp_path, settings_for, monkeypatch):
    settings = settings_for(write_snapshot(tmp_path / "s", DAYS), keep_landing=0)
    run(settings, date(2026, 1, 1))
    run(settings, date(2026, 1, 2))
    with Warehouse.open(settings) as warehouse:
        (last,) = rows(warehouse, sa.select(t.batch).order_by(t.batch.c.finished_at.desc()).limit(1))
        assert open_keys(warehouse) == []
        undo(warehouse, settings, last["batch_id"])
        assert open_keys(warehouse) == ["W12"]  # nothing overtakes it any more
        uri = last["landing_uri"]
    later = utc_now() + timedelta(days=20)
    monkeypatch.setattr(retention, "utc_now", lambda: later)
    assert prune(settings).landings == 1
    run(settings)  # brings a newer version of work 11, not of work 12
    monkeypatch.setattr(retention, "utc_now", lambda: later + timedelta(days=20))
    done = prune(settings)
    assert (done.blocked, done.landings) == (1, 0)
    assert [str(folder.relative_to(settings.landing)) for folder in settings.landing.glob("*/*")] == [uri]


def test_what_is_kept_elsewhere_or_cannot_be_removed_ends_no_night(tmp_path, settings_for, monkeypatch, caplog):
    settings = settings_for(write_snapshot(tmp_path / "s", DAYS), keep_landing=0, undo_days=0)
    run(settings.model_copy(update={"keep_landing": 9}), date(2026, 1, 2))
    first, *others = sorted(settings.landing.glob("*/*"))
    elsewhere = first.rename(tmp_path / "elsewhere")
    first.symlink_to(elsewhere)
    assert others == []
    assert prune(settings).landings == 1
    assert not first.is_symlink()
    assert list(elsewhere.iterdir()) != []

    def remove(folder, *args, real=retention.shutil.rmtree, **more):
        if folder.parent.parent == settings.landing:
            raise PermissionError(13, "Permission denied", str(folder))
        real(folder, *args, **more)

    monkeypatch.setattr(retention.shutil, "rmtree", remove)
    run(settings)
    assert "could not be removed: Permission denied" in caplog.text
    assert len(list(settings.landing.glob("*/*"))) == 1


def test_folders_beside_releases_that_say_nothing_readable_are_nobodys(tmp_path, settings_for):
    settings = settings_for(write_snapshot(tmp_path / "s", DAYS))
    run(settings, date(2026, 1, 1))
    unreadable = {f"other-{at}": content for at, content in enumerate([b"[" * 100_000, b"\xff", b"{}", b""])}
    for name, content in unreadable.items():
        (settings.published / name).mkdir()
        (settings.published / name / "manifest.json").write_bytes(content)
    run(settings, date(2026, 1, 2))
    assert {name: (settings.published / name / "manifest.json").read_bytes() for name in unreadable} == unreadable
