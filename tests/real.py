"""The real records beside the project: 1,833 versions of 968 works."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from tasks.reading.parsed import tie_hash

RECORDS, WORKS = 1833, 968


def snapshot_in(shared: Path) -> Path:
    """Root of the snapshot that holds them, in 217 partitions."""
    return shared / "openalex" / "snapshot"


def newest_records(shared: Path) -> list[dict[str, Any]]:
    """The newest version of each work, by id; of two with one date the one that wins a load."""
    newest: dict[str, tuple[tuple[str, int], dict[str, Any]]] = {}
    for part in sorted(snapshot_in(shared).rglob("part_*.gz")):
        for raw in gzip.decompress(part.read_bytes()).splitlines():
            record = json.loads(raw)
            order = (record["updated_date"], tie_hash(raw))
            if record["id"] not in newest or order > newest[record["id"]][0]:
                newest[record["id"]] = (order, record)
    return [record for _, (_, record) in sorted(newest.items())]
