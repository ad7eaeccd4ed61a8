"""Releases: whole or not at all, switched in one step, pruned, and never in a reader's way."""

from __future__ import annotations

import hashlib
import json

import duckdb
import pandas as pd
import pytest
import sqlalchemy as sa

import tasks.releases.publish as publishing
from schemas import tables as t
from schemas.errors import PublishError
from tasks.storage.warehouse import Warehouse, export_parquet, utc_now
from tests.factory import add_batch, author, rows, run, work, write_snapshot

DAYS = [f"2026-01-0{n}" for n in range(1, 7)]


def nights(tmp_path, settings_for, count, **more):
    """Run so many nights; each brings one more work."""
    root = tmp_path / "s"
    for last in range(1, count + 1):
        write_snapshot(root, {day: [work(10 + at, updated=day)] for at, day in enumerate(DAYS[:last])})
        run(settings_for(root, **more))
    return settings_for(root, **more)


def test_a_release_is_what_its_manifest_says(tmp_path, settings_for):
    settings = nights(tmp_path, settings_for, 1)
    current = settings.published / "current"
    manifest = json.loads((current / "manifest.json").read_text())
    for name, about in manifest["files"].items():
        content = (current / name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (about["bytes"], about["sha256"])
    assert manifest["definitions"]["policies"] == ["iso", "greater-china", "mainland-sar"]
    with duckdb.connect(str(current / "atlas.duckdb"), read_only=True) as atlas, Warehouse.open(settings) as warehouse:
        for mart in t.MART:
            published = atlas.sql(f"FROM {mart.name} ORDER BY ALL").fetchall()
            with warehouse.reading() as conn:
                live = [tuple(row) for row in conn.execute(sa.select(mart))]
            assert published == sorted(live)
            assert manifest["rows"][mart.name] == len(live) == len(pd.read_parquet(current / f"{mart.name}.parquet"))
        rate = "SELECT international_rate_low, international_rate_high, low_n FROM country_rates WHERE territory = 'US'"
        assert set(atlas.sql(rate).fetchall()) == {(1.0, 1.0, True)}
        assert atlas.sql("SELECT count(*) FROM definition WHERE kind = 'policy'").fetchone() == (3,)
        comment = atlas.sql(
            "SELECT comment FROM duckdb_columns() WHERE table_name = 'pair_year' AND column_name = 'papers'"
        )
        assert "lower bound" in comment.fetchone()[0]
        bare = "SELECT DISTINCT table_name FROM duckdb_columns() WHERE comment IS NULL AND NOT internal"
        assert {name for (name,) in atlas.sql(bare).fetchall()} == {"change", "definition", "territory"}
        bare = "SELECT table_name FROM duckdb_tables() WHERE comment IS NULL AND NOT internal"
        assert {name for (name,) in atlas.sql(bare).fetchall()} == {"change", "definition", "territory"}


def test_a_release_says_up_to_which_day_each_source_told(tmp_path, settings_for):
    settings = settings_for(write_snapshot(tmp_path / "s", {"2026-01-02": [work(11, updated="2026-01-02")]}))
    run(settings)
    with Warehouse.open(settings) as warehouse, warehouse.transaction() as conn:
        add_batch(conn, 1, source="openalex-api", window="undated")
        add_batch(conn, 2, source="openalex-api", window="2020-01")
        add_batch(conn, 3, source="openalex-snapshot", window="2026-01-05.0000", undone_at=utc_now())
        loaded = conn.scalar(sa.select(sa.func.max(t.batch.c.finished_at)).where(t.batch.c.source == "openalex-api"))
        days = publishing._warehouse(conn)["newest_days"]
    assert days == {"openalex-api": loaded.date().isoformat(), "openalex-snapshot": "2026-01-02"}


def test_a_release_says_what_changed_since_the_one_before(tmp_path, settings_for):
    named = {"title": "Learning in PyTorch"}
    first = [work(11, **named), work(12)]
    root = write_snapshot(tmp_path / "s", {DAYS[0]: first})
    settings = settings_for(root)
    run(settings)
    corrected = work(11, [author("US"), author("DE")], updated=DAYS[1], **named)
    write_snapshot(root, {DAYS[0]: first, DAYS[1]: [corrected]})
    run(settings)
    change = pd.read_parquet(settings.published / "current" / "change.parquet")
    pairs = change.query("aggregate == 'pair_year' and policy == 'iso' and field == 'ai'")
    assert sorted(zip(pairs.territory_a, pairs.territory_b, pairs.reason, pairs.papers, strict=True)) == [
        ("CN", "US", "corrected", -1),
        ("DE", "US", "corrected", 1),
    ]
    details = change.dropna(subset="detail").groupby("aggregate").detail.unique().map(list).to_dict()
    both = {"sector_year": ["education"], "sector_pair_year": ["education/education"]}
    assert details == both | {"mention_year": ["pytorch"], "mention_pair_year": ["pytorch"]}


def test_other_code_or_definitions_make_a_release_of_the_same_cells(tmp_path, settings_for, monkeypatch):
    settings = nights(tmp_path, settings_for, 1)
    with Warehouse.open(settings) as warehouse:
        assert publishing.publish(warehouse, settings) is None
        for what in ("code_version", "definitions_digest"):
            monkeypatch.setattr(publishing, what, lambda: "another")
            assert publishing.publish(warehouse, settings) is not None
        assert publishing.publish(warehouse, settings) is None


@pytest.mark.parametrize("file", ["manifest.json", "exports"])
def test_a_damaged_release_is_replaced_by_the_next_publish(tmp_path, settings_for, file, caplog):
    settings = nights(tmp_path, settings_for, 1)
    damaged = (settings.published / "current").resolve()
    spoiled = damaged / file if file != "exports" else next((damaged / file).rglob("*.csv"))
    spoiled.chmod(0o644)
    spoiled.write_bytes(spoiled.read_bytes()[:-1])
    with Warehouse.open(settings) as warehouse:
        made = publishing.publish(warehouse, settings)
        assert made is not None
        assert f"release {damaged.name} is damaged ({spoiled.relative_to(damaged)})" in caplog.text
        assert (settings.published / "current").resolve() == made.folder != damaged
        assert publishing.publish(warehouse, settings) is None


def test_old_releases_go_and_an_open_one_stays_readable(tmp_path, settings_for):
    settings = nights(tmp_path, settings_for, 1, keep_releases=2)
    reader = duckdb.connect(str((settings.published / "current").resolve() / "atlas.duckdb"), read_only=True)
    before = reader.sql("FROM pair_year ORDER BY ALL").fetchall()
    settings = nights(tmp_path, settings_for, 3, keep_releases=2)
    folders = sorted(entry.name for entry in settings.published.iterdir() if not entry.is_symlink())
    assert len(folders) == 2
    assert (settings.published / "current").resolve().name == folders[-1]
    assert reader.sql("FROM pair_year ORDER BY ALL").fetchall() == before
    reader.close()


def test_a_full_disk_leaves_the_former_release_current(tmp_path, settings_for, monkeypatch):
    settings = nights(tmp_path, settings_for, 1)
    former = (settings.published / "current").resolve()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publishing, "export_parquet", full)
    with pytest.raises(PublishError, match=r"No space left on device -> .*collab publish"):
        nights(tmp_path, settings_for, 2)
    assert (settings.published / "current").resolve() == former
    monkeypatch.undo()
    with Warehouse.open(settings) as warehouse:
        made = publishing.publish(warehouse, settings)
        assert (settings.published / "current").resolve() == made.folder
        assert len(rows(warehouse, sa.select(t.release))) == 2
    assert not [entry for entry in settings.published.iterdir() if entry.name.startswith(".")]


def test_a_file_that_cannot_be_written_is_no_fault_of_the_warehouse(tmp_path, settings_for):
    settings = nights(tmp_path, settings_for, 1)
    (tmp_path / "taken").touch()
    with Warehouse.open(settings) as warehouse, pytest.raises(OSError, match=r"taken"), warehouse.reading() as conn:
        export_parquet(conn, sa.select(t.release), tmp_path / "taken" / "release.parquet")


def test_a_night_that_changes_no_cell_makes_no_release(tmp_path, settings_for):
    settings = nights(tmp_path, settings_for, 1)
    former = (settings.published / "current").resolve()
    run(settings)
    assert (settings.published / "current").resolve() == former
    with Warehouse.open(settings) as warehouse:
        assert publishing.publish(warehouse, settings) is None
        assert publishing.publish(warehouse, settings, force=True) is not None


@pytest.mark.engines("duckdb")
def test_releases_of_a_lost_warehouse_and_folders_of_a_user_stay(tmp_path, settings_for):
    settings = nights(tmp_path, settings_for, 1)
    former = (settings.published / "current").resolve()
    (settings.published / "notes").mkdir()
    for file in settings.home.glob("warehouse.duckdb*"):
        file.unlink()
    run(settings)
    assert former.is_dir()
    assert (settings.published / "notes").is_dir()
    assert (settings.published / "current").resolve() not in (former, settings.published)


@pytest.mark.parametrize("moment", ["_write", "_switch"])
def test_a_run_that_dies_while_publishing_is_made_good(tmp_path, settings_for, monkeypatch, moment):
    settings = nights(tmp_path, settings_for, 1)
    real = getattr(publishing, moment)

    def die(*args):
        real(*args) if moment == "_write" else None
        raise KeyboardInterrupt

    monkeypatch.setattr(publishing, moment, die)
    with pytest.raises(KeyboardInterrupt):
        nights(tmp_path, settings_for, 2)
    monkeypatch.setattr(publishing, moment, real)
    with Warehouse.open(settings) as warehouse:
        publishing.publish(warehouse, settings)
        newest = rows(warehouse, sa.select(t.release).order_by(t.release.c.published_at.desc()))[0]
    current = settings.published / "current"
    assert current.resolve().name == newest["release_id"]
    manifest = (current / "manifest.json").read_bytes()
    assert hashlib.sha256(manifest).hexdigest() == newest["manifest_sha256"]
