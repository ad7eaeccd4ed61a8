"""Landings on disk: what their manifests say, and what is read of their parts."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import msgspec
import pytest
from isal import igzip

from schemas.errors import LandingError, SourceError
from tasks.landing import land as landings
from tasks.landing.land import (
    MANIFEST,
    WORKS,
    Incoming,
    Landing,
    OpenLanding,
    count_records,
    land,
    read_landing,
    read_lines,
)

LIMIT = 100


def landed(home: Path, *parts: bytes) -> tuple[Path, Landing]:
    """A landing of some parts, each the lines that it holds, and its folder."""
    incoming = [Incoming(f"p{number}", [gzip.compress(content)], None, None) for number, content in enumerate(parts)]
    identity = Landing("w.r0", "test", "w", WORKS, ())
    landing = land(home / "landing", home / "work", identity, incoming, 1000)
    return home / "landing" / landing.source / landing.landing_id, landing


def claiming(landing: Landing, *records: int) -> Landing:
    """The landing with other numbers of records in its manifest."""
    told = zip(landing.parts, records, strict=True)
    return msgspec.structs.replace(
        landing, parts=tuple(msgspec.structs.replace(part, records=claimed) for part, claimed in told)
    )


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """What was unpacked, and what was hashed, in order."""
    made: list[str] = []

    def noting(what: str, real: Any) -> Any:
        def call(file: Any, *args: Any) -> Any:
            made.append(f"{what} {Path(getattr(file, 'name', file)).name[:9]}")
            return real(file, *args)

        return call

    monkeypatch.setattr(igzip, "open", noting("unpack", igzip.open))
    monkeypatch.setattr(landings.hashlib, "file_digest", noting("hash", landings.hashlib.file_digest))
    return made


def test_parts_are_fetched_side_by_side(tmp_path):
    both = Barrier(2, timeout=30)

    def blocks():
        both.wait()
        yield gzip.compress(b"{}\n")

    parts = [Incoming("a", blocks(), None, 1), Incoming("b", blocks(), None, 1)]
    landing = land(tmp_path / "landing", tmp_path / "work", Landing("w.r0", "test", "w", WORKS, ()), parts, 1000)
    assert [part.path for part in landing.parts] == ["a", "b"]


def test_a_part_that_fails_ends_the_others_and_leaves_nothing(tmp_path):
    begun = Event()

    def endless():
        begun.set()
        while True:
            yield b"x"

    def cut():
        begun.wait(30)
        yield gzip.compress(b"{}\n")[:-3]

    parts = [Incoming("cut", cut(), None, 1), Incoming("endless", endless(), None, 1)]
    with pytest.raises(SourceError, match="cut is cut or not a gzip file"):
        land(tmp_path / "landing", tmp_path / "work", Landing("w.r0", "test", "w", WORKS, ()), parts, 1000)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


PACKED = gzip.compress(b"{}\n")


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ((len(PACKED) + 1, None), f"has {len(PACKED)} bytes, the manifest says {len(PACKED) + 1}"),
        ((len(PACKED) - 1, None), "has more than"),
        ((None, 2), "holds 1 records, the manifest says 2"),
    ],
)
def test_a_part_that_is_not_what_its_source_says_leaves_nothing(tmp_path, says, message):
    def goes_on():
        yield PACKED
        assert says[0] is None or len(PACKED) <= says[0], "nothing is asked for beyond what was said"

    identity = Landing("w.r0", "test", "w", WORKS, ())
    with pytest.raises(SourceError, match=message):
        land(tmp_path / "landing", tmp_path / "work", identity, [Incoming("p", goes_on(), *says)], 1000)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_part_may_not_unpack_to_any_size(tmp_path):
    bomb = [gzip.compress(b"0" * (2 * landings.BLOCK))]
    identity = Landing("w.r0", "test", "w", WORKS, ())
    with pytest.raises(SourceError, match="unpacks to more than 3 times its size"):
        land(tmp_path / "landing", tmp_path / "work", identity, [Incoming("p", bomb, None, None)], 3)
    assert landed(tmp_path, b"0" * landings.BLOCK)[1].records == 1  # little is harmless


def test_a_landing_that_is_there_is_kept_and_one_that_another_run_made_meanwhile(tmp_path):
    folder, landing = landed(tmp_path, b"1\n")
    assert landed(tmp_path, b"2\n") == (folder, landing)
    held = folder.rename(tmp_path / "held")

    def meanwhile():
        held.rename(folder)
        yield PACKED

    identity = Landing("w.r0", "test", "w", WORKS, ())
    land(tmp_path / "landing", tmp_path / "work", identity, [Incoming("p", meanwhile(), None, None)], 1000)
    assert read_landing(folder) == landing
    assert not list((tmp_path / "work").rglob("*.gz"))


def test_landings_of_releases_that_told_of_cut_lists_are_read(tmp_path):
    folder, landing = landed(tmp_path, b"{}\n")
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"lists_cut": False}))
    assert read_landing(folder) == landing


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 10])
def test_batches_of_a_landing_hash_and_unpack_each_part_once(tmp_path, calls, size):
    folder, landing = landed(tmp_path, b"0\n1\n2\n", b"3\n", b"", b"4\n5\n6")
    del calls[:]
    opened = OpenLanding(folder, landing, LIMIT)
    found = [[line.raw for line in opened.lines(at, min(at + size, 7))] for at in range(0, 7, size)]
    assert [raw for batch in found for raw in batch] == [b"0\n", b"1\n", b"2\n", b"3\n", b"4\n", b"5\n", b"6"]
    assert [len(batch) for batch in found[:-1]] == [size] * (len(found) - 1)
    assert calls == [f"{what} part-000{part}" for what in ("hash", "unpack") for part in range(4)]


def test_a_landing_is_read_from_anywhere_and_again_after_a_failure(tmp_path, calls):
    folder, landing = landed(tmp_path, b"0\n1\n2\n", b"3\n4\n5\n")
    opened = OpenLanding(folder, landing, LIMIT)
    assert [line.stage_id for line in opened.lines(4, 5)] == [4]
    next(opened.lines(5, 6))  # and whoever asked for it failed
    assert [line.stage_id for line in opened.lines(5, 6)] == [5]
    del calls[:]
    assert [line.landed_at for line in opened.lines(1, 3)] == [f"test/w.r0/part-0000.jsonl.gz:{n}" for n in (2, 3)]
    assert [line.landed_at for line in opened.lines(3, 4)] == ["test/w.r0/part-0001.jsonl.gz:1"]
    assert calls == ["unpack part-0000", "unpack part-0001"]
    opened.close()
    assert [line.raw for line in opened.lines(4, 6)] == [b"4\n", b"5\n"]


def test_a_record_may_be_as_long_as_the_limit(tmp_path):
    lines = [b"x" * (LIMIT - 1) + b"\n", b"x" * LIMIT + b"\n"]
    folder, landing = landed(tmp_path, b"".join(lines))
    assert [line.raw for line in read_lines(folder, landing, 0, 2, LIMIT)] == [lines[0], None]


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_record_above_the_limit_is_one_record_wherever_it_stands(tmp_path, end):
    long = b"x" * (3 * LIMIT)
    folder, landing = landed(tmp_path, long + b"\n1\n" + long + end, long + end)
    found = [(line.stage_id, line.raw, line.beginning) for line in OpenLanding(folder, landing, LIMIT).lines(0, 4)]
    cut = long[: LIMIT + 1]
    assert found == [(0, None, cut), (1, b"1\n", b""), (2, None, cut), (3, None, cut)]


def test_parts_without_the_records_asked_for_are_not_unpacked(tmp_path, calls):
    folder, landing = landed(tmp_path, b"0\n", b"1\n2\n", b"3\n")
    del calls[:]
    assert [line.raw for line in read_lines(folder, landing, 1, 3, LIMIT)] == [b"1\n", b"2\n"]
    assert calls == ["unpack part-0001"]


@pytest.mark.parametrize(
    ("claimed", "read", "message"),
    [
        ((2, 2, 0), (0, 2), r"part-0000\S+ holds more records than the 2 of its manifest"),
        ((4, 2, 0), (0, 4), r"part-0000\S+ holds fewer records than the 4 of its manifest"),
        ((3, 1, 0), (3, 4), r"part-0001\S+ holds more records than the 1 of its manifest"),
        ((3, 3, 0), (3, 6), r"part-0001\S+ holds fewer records than the 3 of its manifest"),
        ((3, 0, 0), (0, 3), r"part-0001\S+ holds more records than the 0 of its manifest"),
        ((0, 0, 0), (0, 0), r"part-0000\S+ holds more records than the 0 of its manifest"),
    ],
)
def test_a_manifest_that_miscounts_skips_no_record_in_silence(tmp_path, claimed, read, message):
    folder, landing = landed(tmp_path, b"0\n1\n2\n", b"3\n4\n", b"")
    told = claiming(landing, *claimed)
    with pytest.raises(LandingError, match=message):
        list(OpenLanding(folder, told, LIMIT).lines(*read))
    with pytest.raises(LandingError, match=message):
        list(read_lines(folder, told, *read, LIMIT))


def test_a_part_that_is_damaged_after_it_was_checked_says_so(tmp_path):
    folder, landing = landed(tmp_path, b"".join(b"%d\n" % n for n in range(10)))
    opened = OpenLanding(folder, landing, LIMIT)
    part = folder / "part-0000.jsonl.gz"
    part.write_bytes(part.read_bytes()[:-12])
    for _ in range(2):
        with pytest.raises(LandingError, match=r"part-0000\S+ cannot be unpacked"):
            list(opened.lines(0, 10))
    part.unlink()
    with pytest.raises(LandingError, match=r"cannot be unpacked: .*No such file .* -> remove the folder and run again"):
        list(opened.lines(0, 10))


def test_records_are_lines(tmp_path):
    for content, expected in ((b"", 0), (b"a\nb\n", 2), (b"a\nb", 2), (b"a\n\nb\n", 3), (b"x" * 3_000_000, 1)):
        file = tmp_path / "part.gz"
        file.write_bytes(gzip.compress(content))
        assert count_records(file, 10_000, shown_as="part") == expected


def test_a_part_with_any_byte_changed_is_damaged_or_holds_its_lines(tmp_path):
    good = gzip.compress(b"".join(b'{"id": %d}\n' % n for n in range(200)), mtime=0)
    file = tmp_path / "part.gz"
    refused = 0
    for at in range(len(good)):
        for byte in (0, good[at] ^ 0x55, 255):
            file.write_bytes(good[:at] + bytes([byte]) + good[at + 1 :])
            try:
                assert count_records(file, 10_000, shown_as="part") == 200
            except SourceError as exc:
                assert "part is cut or not a gzip file" in str(exc)
                refused += 1
    assert refused > 2 * len(good)
