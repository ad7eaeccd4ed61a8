"""What a snapshot's manifest makes a night do."""

from __future__ import annotations

import gzip
import json
from datetime import date

import fsspec
import pytest

from schemas.errors import SourceError, UsageError
from tasks.sources.files import Root
from tasks.sources.openalex_snapshot import Part, Snapshot, plan_windows

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
