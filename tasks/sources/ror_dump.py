"""Reads a dump of the Research Organization Registry: a zip as published on Zenodo, a JSON array, or JSON lines.

Of a zip that holds schema version 1 and 2 the second is read. A record that is not one is counted, not loaded; a file
with more than a hundredth of those is no dump.
"""

from __future__ import annotations

import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec

from schemas.errors import SourceError, UsageError
from schemas.settings import shows_secret
from tasks.countries.ror import Organization, read_organization
from tasks.sources.files import failure, file_system, open_file

MOST_BYTES = 2_000_000_000
BLOCK, LONGEST_LINE = 1 << 20, 1 << 23
MOST_UNREADABLE = 0.01
SAMPLES = 3


# Of a cut or changed file, an encrypted or unknown compression, and JSON that is none.
_DAMAGES = (
    *(OSError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(RuntimeError, ValueError, msgspec.MsgspecError),
)


@dataclass
class Dump:
    """Organisations by ROR id, the name of the file they come from, and what could not be read."""

    name: str
    organizations: dict[str, Organization] = field(default_factory=dict)
    records: int = 0
    unreadable: list[str] = field(default_factory=list)
    """Beginnings of records that are none, the first few."""
    unreadable_count: int = 0
    repeated: int = 0
    """Records of an id that came before; the last one holds."""


def read_dump(address: str, workspace: Path) -> Dump:
    """Read a dump from a file, s3://bucket/file or https:// address.

    Raises:
        UsageError: the address holds a secret; it is shown wherever the dump is named.
        SourceError: there is none, it is damaged or too large, or what it holds is not ROR.
        SourceUnavailable: the connection broke.
    """
    if shows_secret(address):
        raise UsageError("no secrets in an address, it is shown", "fetch the file and give its path")
    copy = _copy(address, workspace / "ror-dump")
    dump = Dump(Path(address.partition("?")[0].rstrip("/")).name)
    try:
        for raw in _records(copy):
            dump.records += 1
            organization = _organization(raw)
            if organization is None:
                dump.unreadable_count += 1
                if len(dump.unreadable) < SAMPLES:
                    dump.unreadable.append(raw[:80].decode("utf-8", "replace"))
            else:
                dump.repeated += organization.ror in dump.organizations
                dump.organizations[organization.ror] = organization
    except _DAMAGES as exc:
        raise SourceError(
            f"{address} is no dump of ROR: {str(exc) or type(exc).__name__}", "fetch it again from ror.org"
        ) from None
    finally:
        copy.unlink(missing_ok=True)
    if not dump.organizations or dump.unreadable_count > MOST_UNREADABLE * dump.records:
        raise SourceError(
            f"{address} is no dump of ROR: {dump.unreadable_count:,} of {dump.records:,} records are not organisations",
            "give a release of ROR: zip, JSON array or JSON lines",
        )
    return dump


def _copy(address: str, target: Path) -> Path:
    fs, path = file_system(address)
    try:
        with open_file(fs, path) as source, target.open("wb") as copy:
            size = 0
            while block := source.read(BLOCK):
                size += len(block)
                if size > MOST_BYTES:
                    raise SourceError(f"{address} is larger than {MOST_BYTES:,} bytes", "it is no dump of ROR")
                copy.write(block)
    except SourceError:
        raise
    except Exception as exc:  # each kind of address has errors of its own
        raise failure(address, exc) from None
    return target


def _records(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        start = file.read(4)
    if start[:2] == b"PK":
        with zipfile.ZipFile(path) as archive, archive.open(_member(archive)) as file:
            yield from _lines_or_array(file)
    elif start[:2] == b"\x1f\x8b":
        with gzip.open(path) as file:
            yield from _lines_or_array(file)  # type: ignore[arg-type]
    else:
        with path.open("rb") as file:
            yield from _lines_or_array(file)


def _member(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The JSON file of the newest schema."""
    found = [item for item in archive.infolist() if item.filename.endswith((".json", ".jsonl"))]
    if not found:
        raise zipfile.BadZipFile("the zip holds no JSON file")
    member = max(found, key=lambda item: ("schema_v2" in item.filename, item.file_size))
    if member.file_size > MOST_BYTES:
        raise zipfile.BadZipFile(f"{member.filename} is larger than {MOST_BYTES:,} bytes")
    return member


def _lines_or_array(file: IO[bytes]) -> Iterator[bytes]:
    first = file.read(BLOCK)
    if first.lstrip()[:1] == b"[":
        content = bytearray(first)
        while block := file.read(BLOCK):
            content += block
            if len(content) > MOST_BYTES:
                raise EOFError(f"it unpacks to more than {MOST_BYTES:,} bytes")
        for raw in msgspec.json.decode(content, type=list[msgspec.Raw]):
            yield bytes(raw)
        return
    size = 0
    line = first[: first.find(b"\n") + 1] or first + file.readline(LONGEST_LINE)
    rest = first[len(line) :]
    while line:
        size += len(line)
        if size > MOST_BYTES:
            raise EOFError(f"it unpacks to more than {MOST_BYTES:,} bytes")
        if len(line) >= LONGEST_LINE:
            raise EOFError(f"a line is longer than {LONGEST_LINE:,} bytes")
        if line.strip():
            yield line
        at = rest.find(b"\n") + 1
        line, rest = (rest[:at], rest[at:]) if at else (rest + file.readline(LONGEST_LINE), b"")


def _organization(raw: bytes) -> Organization | None:
    try:
        return read_organization(msgspec.json.decode(raw))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
