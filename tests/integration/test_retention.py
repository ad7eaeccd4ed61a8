"""What is old goes, what is needed stays."""

from __future__ import annotations

import os
from contextlib import nullcontext
from datetime import UTC, date, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from schemas import tables as t
from schemas.errors import UndoRefused
from tasks.batches.former import FOLDER, folder_of
from tasks.batches.undo import undo
from tasks.reading.quarantine import open_records
from tasks.storage.warehouse import Warehouse, utc_now
from tasks.upkeep import retention
from tests.factory import STARTED, add_batch, author, rows, run, work, write_snapshot

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


def prune_rows(conn, settings) -> retention.Pruned:
    """Prune in a transaction that is rolled back at the end."""
    return retention.prune(SimpleNamespace(transaction=lambda _: nullcontext(conn)), settings)


def put(conn, settings, source: str, days: float, name: str, *, keeps: bool = False, **more) -> None:
    """A landing written so many days ago, and its batch if there is more to say of it."""
    now, uri = utc_now(), f"{source}/{name}"
    folder = settings.landing / uri
    folder.mkdir(parents=True)
    if more:
        times = {"finished_at": now - timedelta(days=days), "landing_uri": uri, "landing_id": name}
        batch_id = add_batch(conn, int(days * 10), source, name, **times, **more)
        if keeps:
            folder_of(settings, uri, batch_id).mkdir(parents=True)
    written = (now - timedelta(days=days)).replace(tzinfo=UTC).timestamp()
    os.utime(folder, (written, written))


def test_landings_are_held_against_what_the_warehouse_says_of_them(conn, settings_for, monkeypatch):
    settings = settings_for(keep_landing=1, undo_days=14)
    whole, half, none = ({"end_record": end, "window_records": of} for end, of in ((5, 5), (2, 5), (0, 0)))
    put(conn, settings, "openalex-snapshot", 0.1, "newest-of-all", **whole)
    put(conn, settings, "openalex-snapshot", 0.5, "on-its-way")  # another run has it in hand
    put(conn, settings, "openalex-snapshot", 3, "can-be-undone", keeps=True, **whole)
    put(conn, settings, "openalex-snapshot", 4, "undone", keeps=True, undone_at=utc_now(), **whole)
    put(conn, settings, "openalex-snapshot", 5, "of-nobody")
    put(conn, settings, "openalex-snapshot", 40, "old", keeps=True, **whole)
    put(conn, settings, "venue-list", 0.2, "empty", **none)
    put(conn, settings, "venue-list", 41, "newest-with-records", **whole)
    put(conn, settings, "venue-list", 43, "second-newest", **whole)
    put(conn, settings, "openalex-api", 16, "newest", **whole)
    put(conn, settings, "openalex-api", 42, "half-way", **half)
    (settings.staging / "left-by-a-kill").mkdir(parents=True)
    stay = ["can-be-undone", "half-way", "newest", "newest-of-all", "newest-with-records", "on-its-way"]
    done = prune_rows(conn, settings)
    assert (done.landings, done.undoable) == (5, 2)
    assert sorted(folder.name for folder in settings.landing.glob("*/*")) == stay
    assert not list(settings.staging.glob("left*"))

    def closed(path: Path, real=Path.exists) -> bool:
        if path.parent.name == FOLDER:
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(Path, "exists", closed)  # what may not be looked at may be needed
    again = retention.Pruned()
    retention.prune_landing(conn, settings, again)
    assert again == retention.Pruned()


def test_the_newest_releases_stay_and_the_last_run_of_each_kind(conn, settings_for):
    settings = settings_for(keep_releases=1, keep_runs_days=100)
    releases, runs = (
        {c.name: "" for c in table.columns if isinstance(c.type, sa.String)} for table in (t.release, t.run)
    )
    for day in (1, 2, 3):
        (settings.published / f"r{day}").mkdir(parents=True)
        of_day = {"release_id": f"r{day}", "published_at": STARTED + timedelta(days=day)}
        conn.execute(t.release.insert(), releases | of_day)
    for flow, source, days in (("nightly", "a", 500), ("nightly", "a", 400), ("nightly", "b", 450), ("verify", "", 90)):
        started = utc_now() - timedelta(days=days)
        named = {"run_id": f"{flow} {source} {days}", "flow": flow, "source": source, "started_at": started}
        conn.execute(t.run.insert(), runs | named | {"batches": 0})
    done = prune_rows(conn, settings)
    assert (done.releases, done.runs) == (2, 1)
    assert [folder.name for folder in settings.published.iterdir()] == ["r3"]
    assert set(conn.scalars(sa.select(t.run.c.run_id))) == {"nightly a 400", "nightly b 450", "verify  90"}
