"""What a snapshot's manifest makes a night do."""

from __future__ import annotations

import gzip
import json
from datetime import date

import fsspec
import pytest

from schemas.errors import SourceError, UsageError
from tasks.sources.files import Root
from tasks.sources.openalex_snapshot import Part, Snapshot, Window, left_after, plan_rescan, plan_windows, volumes

DAY = [date(2026, 1, n) for n in range(1, 8)]


def part(day: date, records: int = 10, number: int = 0) -> Part:
    return Part(f"updated_date={day}/part_{number:04d}.gz", day, records, records * 100)


def names(parts, known=(), until=None, size=1000):
    found = plan_windows(sorted(parts), {p.path: p.records for p in known}, until, size)
    return [[p.path[13:23] for p in window.parts] for window in found]


def test_unseen_parts_and_the_last_two_dates_again():
    parts = [part(day) for day in DAY]
    assert names(parts, until=DAY[1]) == [["2026-01-01", "2026-01-02"]]
    assert names(parts, known=parts[:5]) == [["2026-01-04", "2026-01-05", "2026-01-06", "2026-01-07"]]
    assert names(parts, known=parts) == [["2026-01-06", "2026-01-07"]]


def test_parts_that_grew_are_read_again_and_those_that_shrank_are_not():
    parts = [part(day) for day in DAY]
    before = [part(DAY[0], 9), part(DAY[1], 11), *parts[2:]]
    assert names(parts, known=before) == [["2026-01-01", "2026-01-06", "2026-01-07"]]


def test_small_parts_share_a_window_and_large_ones_stand_alone():
    parts = [part(DAY[0], 400), part(DAY[1], 400), part(DAY[2], 400), part(DAY[3], 5000), part(DAY[4], 10)]
    assert names(parts) == [["2026-01-01", "2026-01-02"], ["2026-01-03"], ["2026-01-04"], ["2026-01-05"]]


def test_windows_hold_as_many_records_as_a_batch_and_no_more():
    parts = [part(DAY[0], 500), part(DAY[1], 500), part(DAY[2], 500), part(DAY[3], 501)]
    assert names(parts) == [["2026-01-01", "2026-01-02"], ["2026-01-03"], ["2026-01-04"]]


def test_a_rescan_reads_what_is_described_otherwise_even_with_as_many_records():
    parts = [part(day) for day in DAY[:4]]
    known = {p.path: (p.records, p.bytes) for p in parts[:3]}
    known[parts[1].path] = (parts[1].records, parts[1].bytes + 1)
    known[parts[2].path] = (parts[2].records + 1, parts[2].bytes)
    (window,) = plan_rescan(parts, known, 1000)
    assert window.parts == tuple(parts[1:])


def test_what_is_unread_is_counted_down_window_by_window():
    """Parts that are read again change nothing of it."""
    parts = [part(DAY[0], 10), part(DAY[1], 20), part(DAY[2], 30), part(DAY[3], 40)]
    windows = [Window("again", (parts[1],)), Window("grown", (parts[2],)), Window("last", (parts[3],))]
    known = {parts[0].path: 10, parts[1].path: 20, parts[2].path: 29}
    assert left_after(parts, known, windows) == {"again": 70, "grown": 40, "last": 0}


def test_gates_are_told_of_all_parts_of_the_dates_of_a_window():
    parts = [part(DAY[0], 1), part(DAY[0], 2, 1), part(DAY[1], 4), part(DAY[2], 8)]
    told = volumes(parts, Window("w", (parts[1], parts[2])))
    assert told == (15, "2026-01-03", {"2026-01-01": 3, "2026-01-02": 4})


def listing(folder, *files, **more):
    """A root whose manifest lists files as (path, records); keyword arguments replace keys."""
    listed = [{"url": f"s3://b/works/{name}", "meta": {"content_length": 9, "record_count": n}} for name, n in files]
    works = folder / "works"
    works.mkdir()
    total = sum(records for _, records in files)
    content = {"entity": "works", "record_count": total, "files": listed} | more
    (works / "manifest.json").write_text(json.dumps(content))
    return Snapshot(Root(str(folder)))


FIRST, SECOND = "updated_date=2026-01-01/part_0000.gz", "updated_date=2026-01-02/part_0000.gz"


@pytest.mark.parametrize(
    ("files", "more", "message"),
    [
        ([(FIRST, 1), (FIRST, 1)], {}, "lists a part twice"),
        ([(FIRST, 1)], {"record_count": 2}, "record_count is 2"),
        ([], {}, "lists no parts"),
        ([(FIRST, 1)], {"entity": "authors"}, "describes no works"),
        ([("updated_date=2026-02-30/part_0000.gz", 1)], {}, "is not a date"),
        ([(f"{FIRST}.bak", 1)], {}, "refused url"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(tmp_path, files, more, message):
    with pytest.raises(SourceError, match=message):
        listing(tmp_path, *files, **more).read_manifest()


def test_parts_are_taken_in_the_order_of_their_dates_whatever_the_manifest_has(tmp_path):
    snapshot = listing(tmp_path, (SECOND, 1), (FIRST, 2))
    assert [p.path for p in snapshot.read_manifest()] == [FIRST, SECOND]


def test_deletions_up_to_a_date_and_those_that_say_none(tmp_path):
    snapshot = listing(tmp_path, (FIRST, 1))
    snapshot.read_manifest()
    assert snapshot.read_deletions(None) is None
    file = tmp_path / "works" / "deleted_ids.csv"
    lines = ["W1,2026-01-01", "W2,2026-01-02", "W3,nonsense", "W4,2026-01-03"]
    file.write_text("\n".join(["work_id,deleted_date", *lines, "", ""]))
    assert snapshot.read_deletions(date(2026, 1, 2)) == ("\n".join(lines[:3]).encode(), 3)
    assert snapshot.read_deletions(None) == ("\n".join(lines).encode(), 4)
    file.write_text("id,date\n" + lines[0])
    with pytest.raises(SourceError, match="not work_id,deleted_date"):
        snapshot.read_deletions(None)


def test_the_real_manifest_of_514_million_records_is_understood(shared, tmp_path):
    folder = tmp_path / "jsonl" / "works"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes(
        gzip.decompress((shared / "openalex" / "manifest-2026-07-27.json.gz").read_bytes())
    )
    parts = Snapshot(Root(str(tmp_path))).read_manifest()
    assert (len(parts), sum(p.records for p in parts)) == (3289, 514_687_371)
    assert parts == sorted(parts, key=lambda p: (p.day, p.path))


@pytest.mark.parametrize(
    "url",
    [
        "s3://openalex/data/jsonl/works/updated_date=2026-01-01/../part_0000.gz",
        "s3://openalex/data/../works/updated_date=2026-01-01/part_0000.gz",
        "/etc/passwd",
        "file:///works/updated_date=2026-01-01/part_0000.gz",
        "s3://openalex/data/jsonl/authors/updated_date=2026-01-01/part_0000.gz",
        "https://host/works/updated_date=2026-01-01/part_0000.gz?x=1",
        "s3://openalex/works/updated_date=2026-13-41/part_0000.gz",
        f"s3://openalex/works/updated_date=2026-01-01/part_{'0' * 400}.gz",
    ],
)
def test_urls_that_leave_the_root_are_refused(tmp_path, url):
    manifest = {
        "entity": "works",
        "record_count": 1,
        "files": [{"url": url, "meta": {"content_length": 1, "record_count": 1}}],
    }
    (tmp_path / "works").mkdir()
    (tmp_path / "works" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(SourceError, match=r"refused url|is not a date"):
        Snapshot(Root(str(tmp_path))).read_manifest()


def test_roots_may_be_anywhere_fsspec_reaches(tmp_path):
    memory = fsspec.filesystem("memory")
    manifest = {"entity": "works", "record_count": 0, "files": []}
    memory.pipe("/bucket/data/jsonl/works/manifest.json", json.dumps(manifest).encode())
    with pytest.raises(SourceError, match="lists no parts"):
        Snapshot(Root("memory://bucket")).read_manifest()
    with pytest.raises(UsageError, match="cannot open"):
        Root("gopher://x")
    with pytest.raises(SourceError, match="no folder"):
        Root(str(tmp_path / "nowhere"))
