"""Nights on snapshots as they come: damaged, replaced meanwhile, grown, with records that moved."""

from __future__ import annotations

import gzip
import json
from datetime import date, timedelta

import pytest
import sqlalchemy as sa

import tasks.landing.intake as intake
from flows.progress import Lines
from flows.steps import Summary, directly, run_retry
from schemas import tables as t
from schemas.errors import GateStopped, LandingError, SourceError, UsageError
from tasks.landing.land import read_landing
from tasks.night import Night
from tasks.storage.warehouse import Warehouse, utc_now
from tasks.upkeep.status import read_status
from tests.factory import URL, counts, proven, rows, run, stored, work, write_snapshot

pytestmark = pytest.mark.usefixtures("unpublished")


def part_of(works):
    return works / "updated_date=2026-01-01" / "part_0000.gz"


def edit(works, change):
    manifest = json.loads((works / "manifest.json").read_text())
    change(manifest)
    (works / "manifest.json").write_text(json.dumps(manifest))


def replace(works, change):
    """Change a part and keep the manifest's size true, so that the content itself is what is wrong."""
    part_of(works).write_bytes(change(part_of(works).read_bytes()))
    edit(works, lambda m: m["files"][0]["meta"].update(content_length=part_of(works).stat().st_size))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda works: (works / "manifest.json").unlink(), "no manifest"),
        (lambda works: (works / "manifest.json").write_text('{"entity": "works", "record'), "manifest is cut"),
        (
            lambda works: edit(
                works, lambda m: m["files"][0]["meta"].update(record_count=3) or m.update(record_count=3)
            ),
            "holds 2 records, the manifest says 3",
        ),
        (lambda works: edit(works, lambda m: m.update(record_count=9)), "record_count is 9"),
        (lambda works: edit(works, lambda m: m["files"][0]["meta"].update(content_length=9)), "the manifest says 9"),
        (
            lambda works: edit(
                works, lambda m: m["files"][0].update(url="s3://openalex/data/jsonl/works/../../etc/passwd")
            ),
            "refused url",
        ),
        (lambda works: edit(works, lambda m: m["files"][0].update(url="file:///etc/passwd")), "refused url"),
        (lambda works: edit(works, lambda m: m.update(files=[], record_count=0)), "lists no parts"),
        (lambda works: part_of(works).unlink(), "No such file"),
        (lambda works: replace(works, lambda raw: raw[:-20]), "is cut or not a gzip file"),
        (lambda works: replace(works, lambda raw: b"<html>" + raw[6:]), "is cut or not a gzip file"),
        (lambda works: replace(works, lambda raw: gzip.compress(b"0" * 300_000_000)), "unpacks to more than"),
        (lambda works: replace(works, lambda raw: raw[:3] + b"\x08" + raw[4:10] + b"n" * 2**20), "not a gzip file"),
        (lambda works: (works / "manifest.json").write_bytes(b'{"entity": "\xff"}'), "manifest is cut"),
        (lambda works: (works / "manifest.json").write_bytes(b'{"x":' + b"[" * 10**6), "manifest is cut"),
        (lambda works: (works / "deleted_ids.csv").write_text("<html>"), "not work_id,deleted_date"),
    ],
)
@pytest.mark.publishes
def test_a_damaged_snapshot_is_one_clear_error_and_nothing_is_loaded(tmp_path, settings_for, spoil, message):
    root = write_snapshot(tmp_path / "s", {"2026-01-01": [work(11), work(12)]})
    settings = settings_for(root)
    spoil(root / "data" / "jsonl" / "works")
    with pytest.raises(SourceError, match=message):
        run(settings)
    with Warehouse.open(settings) as warehouse:
        assert rows(warehouse, sa.select(t.batch)) == []
    assert not (settings.published / "current").exists()
    assert not list(settings.landing.glob("*/*"))


def test_partitions_without_records_are_taken_in(tmp_path, settings_for):
    root = write_snapshot(tmp_path / "s", {"2026-01-01": [], "2026-01-02": [work(11)]})
    for settings in (
        settings_for(root, batch_works=1),
        settings_for(write_snapshot(tmp_path / "e", {"2026-01-01": []})),
    ):
        run(settings, date(2026, 1, 1))
        with Warehouse.open(settings) as warehouse:
            assert len(rows(warehouse, sa.select(t.part))) == 1
    assert counts(run(settings_for(root, batch_works=1)))["new"] == 1


def test_every_line_of_the_deletions_is_applied_or_held(tmp_path, settings_for):
    root = write_snapshot(tmp_path / "s", {"2026-01-01": [work(n) for n in range(11, 16)]})
    lines = [
        "work_id,deleted_date",
        f"{URL}W11,2026-01-03",
        f"{URL}W12,2026-01-03,x",  # each from here on is held
        f"{URL}W13,tomorrow",
        f"{URL}W14,2999-01-01",
        f"{URL}W15",
        '"' + "x" * 200_000,
        '"' + "y" * 200_000,
        "A15,2026-01-03",
        f"{URL}W15,2026\r-01-03",
    ]
    (root / "data" / "jsonl" / "works" / "deleted_ids.csv").write_text("\ufeff" + "\r\n".join(lines), newline="")
    settings = settings_for(root, max_quarantined_share=1, max_record_bytes=100_000)
    found = counts(run(settings))
    assert (found["listed"], found["applied"], found["quarantined"]) == (1, 1, 8)
    with Warehouse.open(settings) as warehouse:
        held = rows(warehouse, sa.select(t.quarantine.c.rule, t.quarantine.c.stage))
        assert len(held) == 8
        rules = {"deletion_shape", "deletion_future", "work_id_shape", "record_too_large"}
        assert {row["rule"] for row in held} == rules


@pytest.mark.parametrize("is_given_back", [True, False])
def test_a_deletion_of_a_day_to_come_waits_for_it(tmp_path, settings_for, monkeypatch, is_given_back):
    """Whether it is given back by hand on that day, or the list has grown meanwhile."""

    def held(settings) -> list[tuple[str, str | None]]:
        of = t.quarantine.c
        with Warehouse.open(settings) as warehouse:
            found = rows(warehouse, sa.select(of.source_key, of.resolution).order_by(of.source_key))
        return [(row["source_key"], row["resolution"]) for row in found]

    in_four_days, in_a_week = (utc_now() + timedelta(days=days) for days in (4, 7))
    works = {"2026-01-01": [work(n) for n in range(11, 16)]}
    settings = settings_for(write_snapshot(tmp_path / "s", works, deleted={11: f"{in_four_days:%Y-%m-%d}"}))
    (listed,) = tmp_path.rglob("deleted_ids.csv")
    with listed.open("a") as lines:
        lines.write("W12;2026-01-01\n")
    found = counts(run(settings))
    assert (found["new"], found["quarantined"]) == (5, 2)
    (named, waiting), (nameless, broken) = held(settings)
    assert (named, nameless[:7], waiting, broken) == ("W11", "record-", None, None)
    assert counts(retry(settings)) == {"fetched": 2, "quarantined": 2}  # not yet

    monkeypatch.setattr("tasks.batches.batch.utc_now", lambda: in_a_week)
    if is_given_back:
        assert counts(retry(settings)) == {"fetched": 1, "quarantined": 1, "listed": 1, "applied": 1}
    else:
        with listed.open("a") as lines:
            lines.write(f"{URL}W99,2026-01-01\n")
        assert counts(run(settings))["applied"] == 1
    assert [resolution for _, resolution in held(settings)] == ["deleted", None]
    assert sorted(stored(settings)) == [12, 13, 14, 15]
    assert counts(retry(settings)) == {"fetched": 1, "quarantined": 1}


def retry(settings) -> Summary:
    summary = Summary()
    with Night(settings) as night:
        run_retry(night, directly, Lines(), summary)
    return summary


def test_a_list_that_deletes_what_is_stored_stops_and_is_let_pass_once(tmp_path, settings_for):
    """It stands in no series of batches: the very first list may be the wrong one."""
    works = {"2026-01-01": [work(n) for n in range(11, 41)]}
    settings = settings_for(write_snapshot(tmp_path / "s", works))
    run(settings)
    before = proven(settings)
    write_snapshot(tmp_path / "s", works, deleted=dict.fromkeys(range(11, 41), "2026-01-02"))
    with pytest.raises(
        GateStopped, match=r"removed_share is 1, limit at most 0\.05 -> .*`COLLAB_MAX_REMOVED_SHARE=1 collab run "
    ):
        run(settings)
    assert proven(settings) == before
    with Warehouse.open(settings) as warehouse, warehouse.reading() as conn:
        status = read_status(conn, settings, utc_now())
        assert not status.is_good
        assert "removed_share is 1, limit at most 0.05" in status.stopped[0]
    assert counts(run(settings.model_copy(update={"max_removed_share": 1.0})))["applied"] == 30
    assert proven(settings)["work"] == []


def test_deletions_that_repeat_themselves_are_no_bomb(tmp_path, settings_for):
    root = write_snapshot(tmp_path / "s", {"2026-01-01": [work(11)]}, deleted={12: "2026-01-01"})
    (listed,) = root.rglob("deleted_ids.csv")
    listed.write_text("work_id,deleted_date\n" + f"{URL}W12,2026-01-01\n" * 100_000)
    assert counts(run(settings_for(root, max_expansion=50)))["listed"] == 1


def test_combined_manifest_and_records_that_move_between_partitions(tmp_path, settings_for):
    days = {"2026-01-01": [work(11), work(12)], "2026-01-02": [work(13, updated="2026-01-02")]}
    root = write_snapshot(tmp_path / "s", days)
    works = root / "data" / "jsonl" / "works"
    combined = {
        "meta": {},
        "entities": [
            {"entity": "authors", "record_count": 0, "files": []},
            json.loads((works / "manifest.json").read_text()),
        ],
    }
    (works / "manifest.json").unlink()
    (works.parent / "manifest.json").write_text(json.dumps(combined))
    settings = settings_for(root)
    assert counts(run(settings)) == {"fetched": 3, "new": 3}
    moved = {
        "2026-01-01": [work(12)],
        "2026-01-02": [work(13, updated="2026-01-02")],
        "2026-01-03": [work(11, cited_by_count=9, updated="2026-01-03")],
    }
    write_snapshot(root, moved)
    assert counts(run(settings)) == {
        "fetched": 3,
        "updated": 1,
        "unchanged": 2,
    }  # the shrunken partition is among the last two dates
    assert len(proven(settings)["work"]) == 3


def test_a_partition_that_grew_is_read_again_however_old(tmp_path, settings_for):
    days = {f"2026-01-0{n}": [work(10 + n, updated=f"2026-01-0{n}")] for n in range(1, 6)}
    root = write_snapshot(tmp_path / "s", days)
    settings = settings_for(root)
    run(settings)
    days["2026-01-01"].append(work(99))
    write_snapshot(root, days)
    assert counts(run(settings)) == {"fetched": 4, "new": 1, "unchanged": 3}


def test_a_snapshot_replaced_while_it_is_read_loads_nothing_of_that_window(tmp_path, settings_for, monkeypatch):
    root = write_snapshot(tmp_path / "s", {"2026-01-01": [work(11)]})
    settings = settings_for(root)
    real = intake.land

    def land_then_replace(*args):
        landed = real(*args)
        write_snapshot(root, {"2026-01-01": [work(11), work(12)]})
        return landed

    monkeypatch.setattr(intake, "land", land_then_replace)
    with pytest.raises(SourceError, match="replaced while it was being read"):
        run(settings)
    monkeypatch.setattr(intake, "land", real)
    assert counts(run(settings)) == {"fetched": 2, "new": 2}


def test_a_landed_part_that_was_changed_is_refused(tmp_path, settings_for, monkeypatch):
    settings = settings_for(write_snapshot(tmp_path / "s", {"2026-01-01": [work(11)]}))
    real = intake.land

    def land_then_spoil(*args):
        landed = real(*args)
        (settings.landing / landed.source / landed.landing_id / "part-0000.jsonl.gz").write_bytes(b"x")
        return landed

    monkeypatch.setattr(intake, "land", land_then_spoil)
    with pytest.raises(LandingError, match="was changed since it was landed"):
        run(settings)


@pytest.mark.parametrize("damage", [b'{"landing_id":"\xff"}', b"[" * 100_000, b"{", b""])
def test_a_landing_whose_manifest_is_damaged_says_so(tmp_path, damage):
    (tmp_path / "manifest.json").write_bytes(damage)
    with pytest.raises(LandingError, match="is damaged"):
        read_landing(tmp_path)


def test_a_run_without_a_snapshot_says_how_to_name_one(settings_for):
    with pytest.raises(UsageError, match="--snapshot"):
        run(settings_for(None))
