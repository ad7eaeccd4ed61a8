"""Runs the expectations on a staged batch: what is refused goes to quarantine, everything seen is reported.

Frames hold only the columns that have rules. A first pass asks only which rules hold (BOOLEAN_ONLY, half the time of
SUMMARY); those that fail are run again for figures and samples (SUMMARY), or, if their failures are quarantined, for
the rows (COMPLETE).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from schemas.expectations import GATE_CHECK, GATES, SHARES, Check, Gate, build_suite, record_checks

SAMPLE_SIZE = 5
SAMPLE_CHARACTERS = 60
_NAMES = {"institution": ("I", "institution_id"), SHARES: ("record ", "stage_id"), GATES: ("gate ", "stage_id")}
_WORK = ("W", "work_id")  # what a row is called in a sample


class Result(NamedTuple):
    """What one rule saw, in the columns of ops.validation_result. `success` is None where it was not evaluated."""

    suite: str
    rule: str
    severity: str
    success: bool | None
    observed: str
    expected: str
    unexpected_count: int
    element_count: int
    sample: str | None


class Rejection(NamedTuple):
    """A record that broke a reject rule."""

    stage_id: int
    rule: str
    reason: str
    path: str


@dataclass(frozen=True)
class Report:
    """All results of a batch, and the records to quarantine: one rejection a record, the first rule it broke."""

    results: list[Result]
    rejections: list[Rejection]

    @property
    def stopped_by(self) -> list[Result]:
        """Failed rules that must stop the batch."""
        return [r for r in self.results if r.severity == "stop" and r.success is False]


def read_staged(folder: Path, name: str) -> pa.Table:
    """A staged table, mapped from disk."""
    with pa.memory_map(str(folder / f"{name}.arrow")) as source:
        return pa.ipc.open_file(source).read_all()


def validate_staged(folder: Path) -> Report:
    """Check a staged batch against every record rule."""
    results: list[Result] = []
    rejections: dict[int, Rejection] = {}
    checks = record_checks()
    for suite in dict.fromkeys(check.suite for check in checks):
        mine = [check for check in checks if check.suite == suite]
        found, refused = _run(suite, _frame(folder, suite, mine), mine)
        results += found
        for rejection in refused:
            rejections.setdefault(rejection.stage_id, rejection)
    return Report(results, list(rejections.values()))


def check_gates(gates: Sequence[Gate]) -> Report:
    """Check the figures of a batch as a whole: one row a gate, one expectation for all."""
    frame = pd.DataFrame([{"stage_id": at, "excess": gate.excess} for at, gate in enumerate(gates)])
    (outcome,) = _validate(GATES, frame, [GATE_CHECK], "COMPLETE")
    exceeded = {row["stage_id"] for row in outcome["result"].get("unexpected_index_list") or ()}
    results = [
        Result(
            suite=GATES,
            rule=gate.name,
            severity=gate.severity,
            success=at not in exceeded if gate.is_evaluated else None,
            observed=f"{gate.observed:.6g}",
            expected=gate.expected,
            unexpected_count=int(at in exceeded),
            element_count=1,
            sample=gate.why if gate.is_evaluated else "not evaluated: too few works or earlier batches",
        )
        for at, gate in enumerate(gates)
    ]
    return Report(results, [])


def _frame(folder: Path, suite: str, checks: Sequence[Check]) -> pd.DataFrame:
    if suite == SHARES:
        staged = read_staged(folder, "work_territory").select(["stage_id", "policy", "share"])
        units = pa.table({"stage_id": staged["stage_id"], "policy": staged["policy"], "total": _units(staged["share"])})
        totals: pd.DataFrame = (
            units.group_by(["stage_id", "policy"])
            .aggregate([("total", "sum")])
            .rename_columns(["stage_id", "policy", "total"])
            .to_pandas()
        )
        return totals
    columns = list(dict.fromkeys(["stage_id", _NAMES.get(suite, _WORK)[1], *(check.column for check in checks)]))
    staged = read_staged(folder, suite).select(columns)
    for at, field in enumerate(staged.schema):
        if pa.types.is_decimal(field.type):
            staged = staged.set_column(
                at, field.name, pc.divide(pc.cast(_units(staged[field.name]), pa.float64()), 1e9)
            )
    frame: pd.DataFrame = staged.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype()}.get)
    return frame


def _units(shares: pa.ChunkedArray) -> pa.ChunkedArray:
    """Decimal shares as integers of 1e-9: scaling first keeps the cast exact."""
    return pc.cast(
        pc.multiply(pc.cast(shares, pa.decimal128(20, 9)), pa.scalar(10**9, pa.decimal128(10, 0))), pa.int64()
    )


def _run(suite: str, frame: pd.DataFrame, checks: Sequence[Check]) -> tuple[list[Result], list[Rejection]]:
    if frame.empty:
        return [], []
    holds = [one["success"] for one in _validate(suite, frame, checks, "BOOLEAN_ONLY")]
    results: dict[Check, Result] = {}
    rejections: list[Rejection] = []
    refusing = [
        check for check, success in zip(checks, holds, strict=True) if not success and check.rule.severity == "reject"
    ]
    broken = [
        check for check, success in zip(checks, holds, strict=True) if not success and check.rule.severity != "reject"
    ]
    for check, success in zip(checks, holds, strict=True):
        if success:
            results[check] = _result(check, {}, frame)
    for group, result_format in ((broken, "SUMMARY"), (refusing, "COMPLETE")):
        for check, one in zip(group, _validate(suite, frame, group, result_format) if group else (), strict=True):
            results[check] = _result(check, one["result"], frame)
            for row in one["result"].get("unexpected_index_list") or ():
                if check.rule.severity == "reject":
                    value = _shown(row.get(check.column))
                    reason = f"{check.rule.why}: {check.column} is {value}, expected {check.expected}"
                    rejections.append(Rejection(int(row["stage_id"]), check.rule.id, reason, f"{suite}.{check.column}"))
    return [results[check] for check in checks], rejections


def _validate(suite: str, frame: pd.DataFrame, checks: Sequence[Check], detail: str) -> list[dict[str, Any]]:
    result_format: dict[str, Any] = {"result_format": detail}
    if detail != "BOOLEAN_ONLY":
        result_format["unexpected_index_column_names"] = sorted({"stage_id", _NAMES.get(suite, _WORK)[1]})
    batch = _batch_definition().get_batch({"dataframe": frame})
    outcome = batch.validate(build_suite(suite, checks), result_format=result_format)
    found = {(r.expectation_config.meta["rule"], r.expectation_config.kwargs["column"]): r for r in outcome.results}
    ordered = [found[check.rule.id, check.column] for check in checks]
    for check, one in zip(checks, ordered, strict=True):
        if one.exception_info and one.exception_info.get("raised_exception"):
            raise RuntimeError(
                f"expectation {check.rule.id} on {suite}.{check.column}: {one.exception_info['exception_message']}"
            )
    return [{"success": bool(one.success), "result": one.result} for one in ordered]


@cache
def _batch_definition() -> Any:
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)  # names a folder it makes
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return (
        context.data_sources.add_pandas("staged")
        .add_dataframe_asset("frame")
        .add_batch_definition_whole_dataframe("all")
    )


def _result(check: Check, found: dict[str, Any], frame: pd.DataFrame) -> Result:
    unexpected = int(found.get("unexpected_count") or 0)
    rows = found.get("partial_unexpected_index_list") or ()
    sample = ", ".join(_named(check, row) for row in rows[:SAMPLE_SIZE]) or None
    observed = f"{unexpected} of {len(frame)}"
    return Result(
        check.suite,
        check.rule.id,
        check.rule.severity,
        not unexpected,
        observed,
        check.expected,
        unexpected,
        len(frame),
        sample,
    )


def _named(check: Check, row: dict[str, Any]) -> str:
    prefix, key = _NAMES.get(check.suite, _WORK)
    return f"{prefix}{row[key]}: {_shown(row.get(check.column))}"


def _shown(value: Any) -> str:
    text = ascii(value) if isinstance(value, str) else "null" if pd.isna(value) else str(value)
    return text if len(text) <= SAMPLE_CHARACTERS else text[: SAMPLE_CHARACTERS - 3] + "..."
