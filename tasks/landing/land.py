"""Puts raw parts on local disk, byte for byte, before anything looks into them: everything after this can be replayed
without the source.

A landing is collected in the workspace of its run and moved when it is whole, so every landing is complete. Its
manifest holds sha256, bytes and records of each part; the records were counted by unpacking every part once, which also
finds cut or damaged files before anything is loaded.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import islice
from pathlib import Path
from threading import Event
from typing import NamedTuple

import msgspec
from isal import igzip

from schemas.errors import UNREADABLE_JSON, LandingError, SourceError
from tasks.reading.records import Line
from tasks.sources.files import UNPACKING_ERRORS

MANIFEST = "manifest.json"
ANEW = "remove the folder and run again"
WORKS, DELETIONS = "works", "deletions"
BLOCK = 1 << 20
PARTS_AT_ONCE = 4  # a connection to an object store is slower than most lines, and checking a part takes a core
BEGINNING = 4_096  # bytes by which a record above the size limit is told from others


class LandedPart(msgspec.Struct, frozen=True):
    """One landed file. `path` is its path at the source."""

    name: str
    path: str
    sha256: str
    bytes: int
    records: int


class Landing(msgspec.Struct, frozen=True, omit_defaults=True):
    """A landed window.

    Of a source that was asked: how many works it says the window holds, how many it listed, what that cost in credits,
    how many were left out because their authors could not all be had, and a digest of what was asked and of whom. Of a
    venue list: its corpus, and when it was brought (UTC), which orders the versions of its papers. Of a snapshot, as of
    this run and not kept on disk: records of all its parts, its newest date, the records of each date that the landing
    has a part of, and the records of the parts that are still unread after it.
    """

    landing_id: str
    source: str
    window: str
    kind: str
    parts: tuple[LandedPart, ...]
    source_records: int | None = None
    source_listed: int | None = None
    credits: int | None = None
    left_out: int = 0
    question: str = ""
    corpus: str = ""
    brought_at: datetime | None = None
    snapshot_records: int | None = None
    snapshot_ends: str = ""
    snapshot_left: int | None = None
    dates: dict[str, int] = {}

    @property
    def records(self) -> int:
        """Records of all parts."""
        return sum(part.records for part in self.parts)

    @property
    def sha256(self) -> str:
        """Digest over the digests of the parts."""
        return hashlib.sha256("".join(part.sha256 for part in self.parts).encode()).hexdigest()


class Incoming(NamedTuple):
    """A part on its way: its path at the source, blocks of bytes, and what the source says about it (None: nothing)."""

    path: str
    blocks: Iterable[bytes]
    bytes: int | None
    records: int | None


def land(folder: Path, workspace: Path, landing: Landing, incoming: Iterable[Incoming], max_expansion: int) -> Landing:
    """Copy parts into `folder`/<source>/<landing_id>; an existing whole landing is kept as it is.

    Args:
        workspace: where parts are collected until the landing is whole; on the same file system.
        landing: identity of the landing; its parts are filled in.

    Raises:
        SourceError: a part is cut, damaged, expands beyond bounds, or is not what the source says.
        LandingError: the disk is full or the folder cannot be written.
    """
    target = folder / landing.source / landing.landing_id
    temporary = workspace / "landing" / landing.source / landing.landing_id
    try:
        if (target / MANIFEST).exists():
            return read_landing(target)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        kind = "csv" if landing.kind == DELETIONS else "jsonl"
        named = [(part, temporary / f"part-{number:04d}.{kind}.gz") for number, part in enumerate(incoming)]
        whole = msgspec.structs.replace(landing, parts=_land_parts(named, max_expansion))
        (temporary / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=1))
        target.parent.mkdir(parents=True, exist_ok=True)
        _move(temporary, target)
    except OSError as exc:
        shutil.rmtree(temporary, ignore_errors=True)
        raise LandingError(
            f"cannot land {landing.landing_id} in {target.parent}: {exc.strerror or exc}",
            "free space or mend permissions, then run again",
        ) from None
    except SourceError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return whole


def _move(temporary: Path, target: Path) -> None:
    try:
        temporary.rename(target)
    except OSError:
        if not (target / MANIFEST).exists():
            raise
        shutil.rmtree(temporary)  # another run has landed the same parts meanwhile


def _land_parts(named: Sequence[tuple[Incoming, Path]], max_expansion: int) -> tuple[LandedPart, ...]:
    """Copy and check some parts at a time; the first that fails, in their order, ends the others."""
    given_up = Event()
    with ThreadPoolExecutor(PARTS_AT_ONCE, "land") as pool:
        landing = [pool.submit(_land_part, part, file, max_expansion, given_up) for part, file in named]
        try:
            return tuple(part.result() for part in landing)
        except BaseException:
            given_up.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _land_part(part: Incoming, file: Path, max_expansion: int, given_up: Event) -> LandedPart:
    digest, size = _copy(part, file, given_up)
    records = count_records(file, max_expansion, shown_as=part.path)
    if part.records is not None and records != part.records:
        raise SourceError(
            f"{part.path} holds {records} records, the manifest says {part.records}", "fetch the snapshot again"
        )
    return LandedPart(file.name, part.path, digest, size, records)


def _copy(part: Incoming, file: Path, given_up: Event) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with file.open("wb") as out:
        for block in part.blocks:
            if given_up.is_set():
                break
            digest.update(block)
            size += out.write(block)
            if part.bytes is not None and size > part.bytes:
                break  # a server that sends on and on does not fill the disk
        out.flush()
        os.fsync(out.fileno())
    if part.bytes is not None and size != part.bytes:
        has = f"more than {part.bytes}" if size > part.bytes else f"{size}"
        raise SourceError(
            f"{part.path} has {has} bytes, the manifest says {part.bytes}",
            "the copy is cut or was replaced meanwhile; fetch it again",
        )
    return digest.hexdigest(), size


def count_records(file: Path, max_expansion: int, *, shown_as: str) -> int:
    """Lines of a compressed part; every line is a record, also a blank one.

    Raises:
        SourceError: damaged or cut, or it unpacks to more than `max_expansion` times its size.
    """
    limit = max(file.stat().st_size * max_expansion, BLOCK)
    total, records, last = 0, 0, b"\n"
    try:
        with igzip.open(file, "rb") as unpacked:
            while block := unpacked.read(BLOCK):
                total += len(block)
                if total > limit:
                    raise SourceError(
                        f"{shown_as} unpacks to more than {max_expansion} times its size",
                        "if that is right, raise COLLAB_MAX_EXPANSION",
                    )
                records += block.count(b"\n")
                last = block[-1:]
    except UNPACKING_ERRORS as exc:
        raise SourceError(f"{shown_as} is cut or not a gzip file: {exc}", "fetch it again") from None
    return records + (last != b"\n")


def read_landing(folder: Path) -> Landing:
    """Manifest of a landing.

    Raises:
        LandingError: missing or damaged.
    """
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Landing)
    except UNREADABLE_JSON as exc:
        raise LandingError(f"landing {folder} is damaged: {exc}", ANEW) from None


def file_sha256(file: Path) -> str:
    """sha256 of a file's bytes, in hex digits; OSError if it cannot be read."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def check_landing(folder: Path, landing: Landing) -> None:
    """Compare every part with its sha256.

    Raises:
        LandingError: a part is missing or was changed since it was landed.
    """
    for part in landing.parts:
        file = folder / part.name
        try:
            found = file_sha256(file)
        except OSError as exc:
            raise LandingError(f"landed part {file}: {exc.strerror}", ANEW) from None
        if found != part.sha256:
            raise LandingError(f"landed part {file} was changed since it was landed", ANEW)


class OpenLanding:
    """A landing on its way through, batch by batch: its parts are held against their digests once, and the records that
    follow those read last are read on from there, so that no part is unpacked from its start for every batch.
    """

    def __init__(self, folder: Path, landing: Landing, max_record_bytes: int) -> None:
        """Check the parts.

        Raises:
            LandingError: see check_landing.
        """
        check_landing(folder, landing)
        self.folder, self.landing = folder, landing
        self._max_record_bytes = max_record_bytes
        self._rest: Generator[Line] | None = None
        self._next = 0

    def close(self) -> None:
        """Let go of the part that was read last."""
        if self._rest is not None:
            self._rest.close()
            self._rest = None

    def lines(self, first: int, end: int) -> Iterator[Line]:
        """See read_lines."""
        rest = self._rest if self._next == first else None
        self._rest = None  # until these are read: who fails half-way begins anew
        if rest is None:
            rest = read_lines(self.folder, self.landing, first, self.landing.records, self._max_record_bytes)
        yield from rest if end == self.landing.records else islice(rest, end - first)
        self._rest, self._next = rest, end


def read_lines(folder: Path, landing: Landing, first: int, end: int, max_record_bytes: int) -> Generator[Line]:
    """Records first..end-1 of a landing, in order; a record above the size limit comes without its bytes. Parts that
    hold none of them are not unpacked.

    Raises:
        LandingError: a part is damaged, or holds more or fewer records than the manifest says.
    """
    ordinal = 0
    for part in landing.parts:
        if part.records and (ordinal >= end or ordinal + part.records <= first):
            ordinal += part.records
            continue
        for number, (raw, beginning) in enumerate(_lines_of(folder, part, max_record_bytes)):
            if ordinal >= end:
                return
            if ordinal >= first:
                at = f"{landing.source}/{landing.landing_id}/{part.name}:{number + 1}"
                yield Line(ordinal, at, raw, beginning)
            ordinal += 1


def _lines_of(folder: Path, part: LandedPart, limit: int) -> Iterator[tuple[bytes | None, bytes]]:
    """The lines of a part: as many as the manifest says, or an error in the place of the last one."""
    file, found = folder / part.name, 0
    try:
        with igzip.open(file, "rb") as unpacked:
            for found, line in enumerate(_bounded_lines(unpacked, limit), 1):
                if found >= part.records and (found > part.records or unpacked.peek(1)):
                    raise _miscounted(file, part, "more")
                yield line
    except UNPACKING_ERRORS as exc:
        raise LandingError(f"landed part {file} cannot be unpacked: {exc}", ANEW) from None
    if found < part.records:
        raise _miscounted(file, part, "fewer")


def _miscounted(file: Path, part: LandedPart, compared: str) -> LandingError:
    return LandingError(f"landed part {file} holds {compared} records than the {part.records} of its manifest", ANEW)


def _bounded_lines(unpacked: io.BufferedIOBase, limit: int) -> Iterator[tuple[bytes | None, bytes]]:
    while line := unpacked.readline(limit + 1):
        if len(line) <= limit:
            yield line, b""
            continue
        beginning = line[:BEGINNING]
        while line and not line.endswith(b"\n"):
            line = unpacked.readline(limit + 1)
        yield None, beginning
