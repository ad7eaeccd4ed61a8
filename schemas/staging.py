"""Shape of a batch between parse and load: Arrow tables derived from tables.py, one row set per *version* of a work.

`stage_id` is the ordinal of the record in its landed window; it ties the rows of one version together, also when a
batch holds several versions of one work. Load decides which version wins.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pyarrow as pa
from sqlalchemy import BigInteger, Boolean, Column, Date, DateTime, Integer, Numeric, String, Table

from schemas import tables as t

# What load decides or adds itself, never the parser.
_DECIDED_BY_LOAD = {"batch_id", "is_counted", "excluded_reason"}
STAGED: dict[str, Table | tuple[Column[Any], ...]] = {
    "version": (
        t.seen.c.work_id,
        t.seen.c.source_updated_at,
        t.seen.c.tie_hash,
        Column("in_scope", Boolean, nullable=False),
    ),
    "work": t.work,
    "authorship": t.authorship,
    "affiliation": t.affiliation,
    "work_field": t.work_field,
    "reference": (t.reference.c.cited_work_id,),
    "work_policy": t.work_policy,
    "work_territory": t.work_territory,
    "institution": t.institution,
    "repair": t.repair,
    "problem": tuple(
        t.quarantine.c[n]
        for n in (
            "source_key",
            "version",
            "work_id",
            "source_updated_at",
            "stage",
            "rule",
            "reason",
            "path",
            "landed_at",
        )
    ),
}


def arrow_type(column: Column[Any]) -> pa.DataType:
    """Arrow type of a declared column."""
    match column.type:
        case Numeric(precision=int() as precision, scale=int() as scale):
            return pa.decimal128(precision, scale)
        case BigInteger():
            return pa.int64()
        case Integer():
            return pa.int32()
        case Boolean():
            return pa.bool_()
        case DateTime():
            return pa.timestamp("us")
        case Date():
            return pa.date32()
        case String():
            return pa.string()
        case other:
            raise TypeError(f"{column.name}: no Arrow type for {other!r}")


@cache
def arrow_schema(name: str) -> pa.Schema:
    """Arrow schema of a staged table: `stage_id` first, then the declared columns in order."""
    source = STAGED[name]
    columns = source.columns if isinstance(source, Table) else source
    fields = [pa.field(c.name, arrow_type(c)) for c in columns if c.name not in _DECIDED_BY_LOAD]
    return pa.schema([pa.field("stage_id", pa.int64()), *fields])
