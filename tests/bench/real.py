"""Snapshots as large as one likes of the real records: their newest versions, copied under other ids.

Generated works are half as long, sit in more fields and cite only each other, so a rate measured on them says little
about a real night. In each copy ids of works and authors, DOIs and printed addresses are its own, so that no cache
helps more than it does at night; institutions recur, as they do in earnest.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.common import BENCH, ROOT, WORKS, digest_of, fresh_folder, note, write_manifest, write_part

REAL = ROOT.parent / "shared" / "data" / "openalex" / "snapshot" / WORKS
COPY = "\x1a"  # stands for the number of a copy; no record holds it
DIGITS = 3
PARTS = 8
_own_id = re.compile(r"(https://openalex\.org/[WA][0-9]+)")


def real_snapshot(works: int) -> Path:
    """A snapshot of one day that holds so many works, or a few less: whole copies of all records. Made once."""
    folder = BENCH / f"real-{works}-{digest_of('tests/bench/real.py')}"
    if (folder / WORKS / "manifest.json").exists():
        return folder
    templates = [_template(record) for record in _newest().values()]
    copies = works // len(templates)
    if not 0 < copies < 10**DIGITS:
        raise SystemExit(f"{works:,} works are not 1 to {10**DIGITS - 1} copies of {len(templates):,}")
    note(f"writing {copies} copies of {len(templates):,} works to {folder.relative_to(ROOT)}")
    fresh_folder(folder)
    files = [
        write_part(folder / WORKS, "2026-06-01", number, _copies(templates, range(number, copies, PARTS)))
        for number in range(min(PARTS, copies))
    ]
    write_manifest(folder / WORKS, files)
    return folder


def _newest() -> dict[str, dict[str, Any]]:
    """Newest record of each work, by its id."""
    found: dict[str, dict[str, Any]] = {}
    for part in sorted(REAL.glob("*/*.gz")):  # by date
        with gzip.open(part) as lines:
            found |= {record["id"]: record for record in map(json.loads, lines)}
    if not found:
        raise SystemExit(f"no records in {REAL}")
    return found


def _template(record: dict[str, Any]) -> bytes:
    if record.get("doi"):
        record["doi"] += f".{COPY}"
    for authorship in record.get("authorships") or ():
        strings = authorship.get("raw_affiliation_strings") or ()
        authorship["raw_affiliation_strings"] = [_own(text) for text in strings]
        for affiliation in authorship.get("affiliations") or ():
            affiliation["raw_affiliation_string"] = _own(affiliation.get("raw_affiliation_string"))
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":")).replace(json.dumps(COPY)[1:-1], COPY)
    return _own_id.sub(rf"\g<1>{COPY}", text).encode() + b"\n"


def _own(text: str | None) -> str | None:
    return f"Unit {COPY}, {text}" if text else text


def _copies(templates: list[bytes], numbers: range) -> Iterator[bytes]:
    for number in numbers:
        digits = f"{number:0{DIGITS}d}".encode()
        for template in templates:
            yield template.replace(COPY.encode(), digits)
