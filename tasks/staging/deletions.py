"""Raw lines of a list of deletions in, staged Arrow tables out; what tasks/staging/derive.py is to works."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pyarrow as pa

from schemas.staging import STAGED, arrow_schema
from schemas.work_ids import shown_id
from tasks.loading.versions import LAST_TIE
from tasks.reading.parse import parse_work_id
from tasks.reading.parsed import BadRecord
from tasks.reading.records import Line, unread_digest, unread_key
from tasks.staging.readers import OpenAlexReader

DELETION = pa.schema([("work_id", pa.int64()), ("source_updated_at", pa.timestamp("us")), ("tie_hash", pa.int64())])


def stage_deletions(lines: Iterable[Line], newest: datetime, folder: Path) -> None:
    """Write a staged table `deletion`, one row per work: the last of its dates counts, to the end of that day. A line
    of another shape is a problem like any other record, as is one of a day to come, which names its work all the same:
    whatever overtakes it resolves it. All else that is staged is empty.

    Args:
        newest: UTC; a later day is an error of the source.
    """
    last: dict[int, datetime] = {}
    problems: list[tuple[Any, ...]] = []
    latest = datetime.combine(newest, time.max)
    for line in lines:
        try:
            work_id, ends_at = _read(line.raw)
        except BadRecord as bad:
            tie = unread_digest(line, OpenAlexReader())
            identity = (line.stage_id, unread_key(tie), tie, None, None)
            problems.append((*identity, "read", bad.rule, bad.reason, None, line.landed_at))
            continue
        if ends_at > latest:
            tie = unread_digest(line, OpenAlexReader())
            named = (line.stage_id, shown_id(work_id), tie, work_id, ends_at)
            reason = f"{ends_at:%Y-%m-%d} lies in the future"
            problems.append((*named, "read", "deletion_future", reason, None, line.landed_at))
        else:
            last[work_id] = max(ends_at, last.get(work_id, ends_at))
    for name in STAGED:
        _write(folder, name, problems if name == "problem" else [], arrow_schema(name))
    _write(folder, "deletion", [(work_id, ends_at, LAST_TIE) for work_id, ends_at in last.items()], DELETION)


def _read(raw: bytes | None) -> tuple[int, datetime]:
    """Work and end of the day of a deletion.

    Raises:
        BadRecord: it is none, or was too long to be read.
    """
    if raw is None:
        raise BadRecord("read", "record_too_large", "longer than a record may be")
    try:
        identifier, day = raw.decode("utf-8", "replace").strip().split(",")
        work_id, ends_at = parse_work_id(identifier), datetime.combine(date.fromisoformat(day), time.max)
    except ValueError:
        raise BadRecord("read", "deletion_shape", "expected a work id and a date") from None
    return work_id, ends_at


def _write(folder: Path, name: str, rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> None:
    columns: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    with pa.OSFile(str(folder / f"{name}.arrow"), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_table(pa.table(arrays, schema=schema))
