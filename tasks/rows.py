"""Rows of the staged tables of some records, and how they become Arrow.

What the rows of one work or author have in common, their owner, is kept once and repeated by Arrow; what remains is
often a cached tuple that many works share.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.staging import STAGED, arrow_schema

_OF_RECORD = ("stage_id",)
_OF_WORK = ("stage_id", "work_id")
_OWNERS = {
    "version": _OF_RECORD,
    "work": _OF_RECORD,
    "authorship": _OF_WORK,
    "affiliation": (*_OF_WORK, "position"),
    "work_field": _OF_WORK,
    "reference": _OF_RECORD,
    "work_policy": _OF_WORK,
    "work_territory": _OF_WORK,
    "institution": ("stage_id", "source_updated_at"),
    "repair": _OF_WORK,
    "problem": _OF_RECORD,
}


class StagedRows:
    """Rows of one staged table, in the order in which they were added."""

    def __init__(self, name: str) -> None:
        self._schema = arrow_schema(name)
        self._of_owner = [field for field in self._schema if field.name in _OWNERS[name]]
        self._of_row = [field for field in self._schema if field.name not in _OWNERS[name]]
        self._owners: list[tuple[Any, ...]] = []
        self._counts: list[int] = []
        self._rows: list[Any] = []

    def add(self, owner: tuple[Any, ...], rows: Collection[Any]) -> None:
        """Add rows of one owner. A row is a tuple of the columns that are left, or the value of the only one."""
        self._owners.append(owner)
        self._counts.append(len(rows))
        self._rows += rows

    def to_arrow(self) -> pa.RecordBatch:
        """All rows, in the shape that schemas/staging.py declares."""
        repeated = pa.array(np.repeat(np.arange(len(self._owners)), self._counts))
        found = {f.name: array.take(repeated) for f, array in _arrays(self._of_owner, self._owners)}
        found |= {f.name: array for f, array in _arrays(self._of_row, self._rows)}
        return pa.record_batch([found[name] for name in self._schema.names], schema=self._schema)


def staged_rows() -> dict[str, StagedRows]:
    """Empty rows of every staged table."""
    return {name: StagedRows(name) for name in STAGED}


def _arrays(fields: Sequence[pa.Field], rows: Sequence[Any]) -> list[tuple[pa.Field, pa.Array]]:
    if len(fields) == 1 and not (rows and isinstance(rows[0], tuple)):
        columns: Sequence[Sequence[Any]] = [rows]
    else:
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(fields)
    return [(field, _array(values, field.type)) for field, values in zip(fields, columns, strict=True)]


def _array(values: Sequence[Any], type_: pa.DataType) -> pa.Array:
    if not pa.types.is_decimal(type_):
        return pa.array(values, type_)
    # shares are integers of 1e-9: a decimal128 is that integer in 16 bytes
    low = np.fromiter(values, np.int64, len(values))
    return pa.Array.from_buffers(type_, len(values), [None, pa.py_buffer(np.column_stack((low, low >> 63)).tobytes())])
