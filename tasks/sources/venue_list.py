"""Venue lists that somebody brings: a file, or a folder of files, on disk or at an address that fsspec knows.

Files are copied into the folder of the run first, so that everything after works on the same bytes.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import fsspec

from schemas.errors import SourceError, UsageError
from schemas.settings import Settings
from schemas.words import printable
from tasks.sources.files import BLOCK, failure, file_system, open_file, protocols

SOURCE = "venue-list"
log = logging.getLogger("collab")
ENDINGS = (".jsonl", ".ndjson", ".csv", ".tsv")
COMPRESSED = ".gz"


@dataclass(frozen=True)
class Brought:
    """A file of a list: its name, the copy of it, and the digest of its bytes as they were brought."""

    name: str
    copy: Path
    sha256: str


def bring(settings: Settings, folder: Path) -> list[Brought]:
    """Copy the files of the list that the settings name into a folder, in order of their names.

    Raises:
        UsageError: they name none, or a kind of address that nothing is installed for.
        SourceError: it is not there, may not be read, or is a folder without lists.
        SourceUnavailable: the connection broke.
    """
    fs, paths = _find(settings)
    folder.mkdir(parents=True, exist_ok=True)
    return [_copy(fs, path, folder / f"{number:04d}") for number, path in enumerate(paths)]


def try_files(settings: Settings) -> int:
    """How many files the list has, after opening each. Raises as `bring` does."""
    fs, paths = _find(settings)
    for path in paths:
        try:
            with open_file(fs, path) as source:
                source.read(1)
        except Exception as exc:
            raise failure(path, exc) from None
    return len(paths)


def _find(settings: Settings) -> tuple[fsspec.AbstractFileSystem, Sequence[str]]:
    if not settings.venue_list:
        raise UsageError("source venue-list needs a list of papers", "give --list FILE or set COLLAB_VENUE_LIST")
    address = settings.venue_list
    fs, base = file_system(address)
    try:
        paths = _paths(fs, base)
    except Exception as exc:  # each kind of address has errors of its own
        raise failure(address, exc) from None
    if not paths:
        raise SourceError(f"no lists in folder {address}", f"their names end in {', '.join(ENDINGS)}, also with .gz")
    return fs, paths


def _paths(fs: fsspec.AbstractFileSystem, base: str) -> Sequence[str]:
    if not {"http", "https"}.isdisjoint(protocols(fs)) or not fs.isdir(base):
        return [base]
    found = [entry["name"] for entry in fs.ls(base, detail=True) if entry["type"] != "directory"]
    lists = sorted(path for path in found if path.lower().removesuffix(COMPRESSED).endswith(ENDINGS))
    if len(lists) < len(found):
        others = sorted(path.rsplit("/", 1)[-1] for path in set(found) - set(lists))
        log.info("no lists by their names, left out: %s", ", ".join(printable(name) for name in others))
    return lists


def _copy(fs: fsspec.AbstractFileSystem, path: str, copy: Path) -> Brought:
    name = path.partition("?")[0].rstrip("/").rsplit("/", 1)[-1]
    name = name.encode(errors="backslashreplace").decode()  # it is shown and stored
    digest = hashlib.sha256()
    try:
        with open_file(fs, path) as source, copy.open("wb") as out:
            while block := source.read(BLOCK):
                digest.update(block)
                out.write(block)
    except Exception as exc:
        raise failure(path, exc) from None
    return Brought(name, copy, digest.hexdigest())
