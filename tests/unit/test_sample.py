"""The sample that imitates a snapshot."""

from __future__ import annotations

import gzip
import hashlib

import pytest

from schemas.errors import UsageError
from tasks.sample.snapshot import write_sample
from tasks.sources.files import Root
from tasks.sources.openalex_snapshot import Snapshot


def test_a_sample_is_the_same_every_time_and_looks_like_a_snapshot(tmp_path):
    for name in ("a", "b"):
        made = write_sample(tmp_path / name, works=200, days=4, seed=7)
    digests = [
        hashlib.sha256(b"".join(p.read_bytes() for p in sorted((tmp_path / name).rglob("*.*")))).hexdigest()
        for name in ("a", "b")
    ]
    assert digests[0] == digests[1]
    parts = Snapshot(Root(str(tmp_path / "a"))).read_manifest()
    assert sum(p.records for p in parts) == made.records > 200
    assert [p.day for p in parts] == made.days
    raw = gzip.decompress((tmp_path / "a/data/jsonl/works" / parts[0].path).read_bytes()).splitlines()
    assert 8_000 < sum(map(len, raw)) / len(raw) < 13_000
    with pytest.raises(UsageError, match="exists already"):
        write_sample(tmp_path / "a", works=1, days=1, seed=1)
