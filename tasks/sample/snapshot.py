"""Writes a synthetic OpenAlex snapshot in the layout of June 2026: several nights of new, changed, late, deleted and
broken records.

Everything is invented (ids from 9990000000 up) but has the shapes, sizes (about 10 kB a work) and defects of the real
thing. The same arguments give the same bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from random import Random

import msgspec
from isal import igzip

from schemas.errors import UsageError
from schemas.identifiers import OPENALEX
from tasks.sample.records import (
    FIRST_ID,
    Work,
    World,
    broken_records,
    changed,
    encode,
    found_institutions,
    new_work,
)

FIRST_DAY = date(2026, 6, 1)
PART_RECORDS = 50_000
FIRST_DAY_SHARE = 0.6  # of all works; the last day brings what is left


@dataclass(frozen=True)
class Sample:
    """What was written."""

    folder: Path
    days: list[date]
    records: int
    deletions: int


def write_sample(folder: Path, *, works: int, days: int, seed: int, first_day: date = FIRST_DAY) -> Sample:
    """Write a snapshot of `works` works that arrive and change over `days` days.

    Raises:
        UsageError: the folder is not empty, or a number makes no sense.
    """
    if works < 1 or days < 1:
        raise UsageError("a sample needs at least one work and one day", "collab sample DIR --works 3000 --days 8")
    target = folder / "data" / "jsonl" / "works"
    if target.exists():
        raise UsageError(f"{target} exists already", "give an empty folder, or remove it")
    world = World(Random(seed))
    found_institutions(world, 60 + works // 20)
    files, total = [], 0
    dates = [first_day + timedelta(days=at) for at in range(days)]
    for at, day in enumerate(dates):
        share = FIRST_DAY_SHARE if at == 0 else (1 - FIRST_DAY_SHARE) / (days - 1)
        arrivals = math.ceil(works * share) if at < days - 1 else works - (world.next_id - FIRST_ID)
        lines = _one_day(world, day, max(arrivals, 0), is_first=at == 0)
        for number, begin in enumerate(range(0, len(lines), PART_RECORDS)):
            part = target / f"updated_date={day}" / f"part_{number:04d}.gz"
            chunk = lines[begin : begin + PART_RECORDS]
            files.append(_write_part(part, chunk))
            total += len(chunk)
    manifest = {
        "date": dates[-1].isoformat(),
        "format": "jsonl",
        "entity": "works",
        "record_count": total,
        "content_length": sum(file["meta"]["content_length"] for file in files),
        "files": files,
    }
    rows = "".join(f"{OPENALEX}W{number},{day}\n" for number, day in world.deleted)
    (target / "deleted_ids.csv").write_text("work_id,deleted_date\n" + rows, encoding="utf-8")
    # Last: where there is a manifest, the snapshot is complete.
    (target / "manifest.json").write_bytes(msgspec.json.format(encode(manifest), indent=1))
    return Sample(folder, dates, total, len(world.deleted))


def _write_part(part: Path, lines: list[bytes]) -> Work:
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("wb") as raw, igzip.IGzipFile(filename="", fileobj=raw, mode="wb", compresslevel=2, mtime=0) as out:
        for line in lines:
            out.write(line)
            out.write(b"\n")
    meta = {"content_length": part.stat().st_size, "record_count": len(lines)}
    return {"url": f"s3://openalex/data/jsonl/works/{part.parent.name}/{part.name}", "meta": meta}


def _one_day(world: World, day: date, arrivals: int, *, is_first: bool) -> list[bytes]:
    """Records of one partition: new works, changed works, late versions and broken records, and the day's deletions."""
    rng = world.rng
    lines = [encode(new_work(world, day)) for _ in range(arrivals)]
    if is_first or len(world.works) < 20:
        return lines
    for number in rng.sample(sorted(world.works), k=max(len(world.works) // 40, 4)):
        work = world.works[number]
        world.former.append(work)
        world.works[number] = changed(world, work, day)
        lines.append(encode(world.works[number]))
    late = rng.sample(world.former, k=min(2, len(world.former)))
    lines += [encode(work) for work in late]
    lines += broken_records(world, day)
    for number in rng.sample(sorted(world.works), k=max(len(world.works) // 1000, 1)):
        del world.works[number]
        world.deleted.append((number, day))
    rng.shuffle(lines)
    return lines
