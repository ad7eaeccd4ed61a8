"""Reads the reviewed reference data that ships with the package (schemas/data: CSV and TOML, each with its source
and date)."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files

DATA = files("schemas") / "data"


def _lines(name: str) -> list[str]:
    return (DATA / name).read_text(encoding="utf-8").splitlines()


def read_table(name: str) -> list[dict[str, str]]:
    """Rows of a CSV, `#` lines skipped.

    Cells stay text, so the code NA (Namibia) is never read as missing (trap T12).
    """
    return list(csv.DictReader(line for line in _lines(name) if not line.startswith("#")))


def read_caption(name: str) -> str:
    """The `#` lines of a CSV as one text: what the file says and where it comes from."""
    return " ".join(line.lstrip("# ") for line in _lines(name) if line.startswith("#"))


# What countries are decided by, with the version of the code that reads it: another one is applied to stored works by
# `collab relocate`. Everything else says what is counted: a warehouse keeps to one state of it.
LOCATING = frozenset(
    "aliases cities headquarters historical_codes names organizations overrides risky_names shared_codes subdivisions"
    " supranational territories towns".split()
)
LOCATING_VERSION = 3
# What a record is classified by: another state needs the records again. The rest of what is counted (policies, blocs)
# follows from stored works.
CLASSIFYING = frozenset("fields mentions languages work_types".split())


@cache
def definitions_digest() -> str:
    """Twelve hex digits over every file of schemas/data: warehouses with the same digest decide and count alike."""
    return _digest(lambda name: True)


@cache
def counting_digest() -> str:
    """The same over the files that say what is counted: fields, policies, blocs, mentions, work types, languages."""
    return _digest(lambda name: name not in LOCATING)


@cache
def classifying_digest() -> str:
    """The same over the files that records are classified by."""
    return _digest(lambda name: name in CLASSIFYING)


@cache
def locating_digest() -> str:
    """The same over the files that countries are decided by."""
    return _digest(lambda name: name in LOCATING, f"{LOCATING_VERSION}")


def _digest(is_part: Callable[[str], bool], version: str = "") -> str:
    digest = hashlib.sha256(version.encode())
    for path in sorted([*DATA.iterdir(), *(DATA / "policies").iterdir()], key=str):
        if path.is_file() and is_part(path.name.rsplit(".", 1)[0]):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def code_version() -> str:
    """Version of collab-atlas that is running."""
    try:
        return version("collab-atlas")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "source"
