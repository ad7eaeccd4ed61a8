"""Shape of a batch between parse and load: Arrow tables derived from tables.py, one row set per *version* of a work.

`stage_id` is the ordinal of the record in its landed window; it ties the rows of one version together, also when a
batch holds several versions of one work. Load decides which version wins.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pyarrow as pa
from sqlalchemy import BigInteger, Boolean, Column, Date, DateTime, Double, Integer, Numeric, String, Table
from sqlalchemy.types import TypeEngine

from schemas import tables as t
from schemas.declare import ordered_by_bytes

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
    "work_evidence": t.work_evidence,
    "work_field": t.work_field,
    "work_mention": t.work_mention,
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


def arrow_type(type_: TypeEngine[Any]) -> pa.DataType:
    """Arrow type of a column of this SQL type."""
    match type_:
        case Numeric(precision=int() as precision, scale=int() as scale):
            return pa.decimal128(precision, scale)
        case BigInteger():
            return pa.int64()
        case Integer():
            return pa.int32()
        case Boolean():
            return pa.bool_()
        case Double():
            return pa.float64()
        case DateTime():
            return pa.timestamp("us")
        case Date():
            return pa.date32()
        case String():
            return pa.string()
        case other:
            raise TypeError(f"no Arrow type for {other!r}")


@cache
def arrow_schema(name: str) -> pa.Schema:
    """Arrow schema of a staged table: `stage_id` first, then the declared columns in order."""
    source = STAGED[name]
    columns = source.columns if isinstance(source, Table) else source
    fields = [pa.field(c.name, arrow_type(c.type)) for c in columns if c.name not in _DECIDED_BY_LOAD]
    return pa.schema([pa.field("stage_id", pa.int64()), *fields])


def sql_type(type_: pa.DataType) -> TypeEngine[Any]:
    """SQL type of an Arrow type that staging uses: the other way round."""
    if pa.types.is_decimal(type_):
        return Numeric(type_.precision, type_.scale)
    if pa.types.is_timestamp(type_):
        return DateTime()
    plain: dict[pa.DataType, TypeEngine[Any]] = {
        pa.int64(): BigInteger(),
        pa.int32(): Integer(),
        pa.bool_(): Boolean(),
        pa.date32(): Date(),
        pa.string(): ordered_by_bytes(String()),
    }
    return plain[type_]
