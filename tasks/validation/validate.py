"""Runs the expectations on a staged batch: what is refused goes to quarantine, everything seen is reported.

A first pass asks only which rules hold (BOOLEAN_ONLY, half the time of SUMMARY), of the distinct values of each column:
every rule looks at one value, so it holds for all rows if it holds for these. Rules that fail are run again on the
rows themselves, for figures and samples (SUMMARY) or, if their failures are quarantined, for all the rows (COMPLETE).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from schemas.expectations import GATE_CHECK, GATES, SHARES, Check, Gate, build_suite, record_checks
from schemas.work_ids import shown_id
from tasks.memory import give_back

SAMPLE_SIZE = 5
SAMPLE_CHARACTERS = 60
# What a row is called in a sample, and by which column.
_NAMES: dict[str, tuple[Callable[[int], str], str]] = {
    "institution": ("I{}".format, "institution_id"),
    SHARES: ("record {}".format, "stage_id"),
    GATES: ("gate {}".format, "stage_id"),
}
_WORK: tuple[Callable[[int], str], str] = (shown_id, "work_id")


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
    lifted_by: Mapping[str, str] = field(default_factory=dict)
    """By gate, the setting that lets its figure pass, see Gate."""

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
        found, refused = _run(suite, _staged(folder, suite, mine), mine)
        results += found
        for rejection in refused:
            rejections.setdefault(rejection.stage_id, rejection)
    give_back()
    return Report(results, list(rejections.values()))


def check_gates(gates: Sequence[Gate]) -> Report:
    """Check the figures of a batch as a whole: one row a gate, one expectation for all."""
    frame = pd.DataFrame({"excess": [gate.excess for gate in gates]})
    (outcome,) = _validate(GATES, frame, [GATE_CHECK], "COMPLETE")
    exceeded = set(outcome["result"].get("unexpected_index_list") or ())
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
            sample=gate.why if gate.is_evaluated else f"not evaluated: {gate.if_not}",
        )
        for at, gate in enumerate(gates)
    ]
    return Report(results, [], {gate.name: gate.lifted_by for gate in gates})


def _staged(folder: Path, suite: str, checks: Sequence[Check]) -> pa.Table:
    """Columns with rules and those that name a row; shares in units of 1."""
    if suite == SHARES:
        staged = read_staged(folder, "work_territory").select(["stage_id", "policy", "share"])
        units = pa.table({"stage_id": staged["stage_id"], "policy": staged["policy"], "total": _units(staged["share"])})
        return (
            units.group_by(["stage_id", "policy"])
            .aggregate([("total", "sum")])
            .rename_columns(["stage_id", "policy", "total"])
        )
    columns = list(dict.fromkeys(["stage_id", _NAMES.get(suite, _WORK)[1], *(check.column for check in checks)]))
    staged = read_staged(folder, suite).select(columns)
    for at, column in enumerate(staged.schema):
        if pa.types.is_decimal(column.type):
            staged = staged.set_column(
                at, column.name, pc.divide(pc.cast(_units(staged[column.name]), pa.float64()), 1e9)
            )
    return staged


def _frame(staged: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = staged.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype()}.get)
    return frame


def _distinct(staged: pa.Table, checks: Sequence[Check]) -> pd.DataFrame:
    """Distinct values of each checked column, null included, the first one repeated to make all columns as long."""
    values = {check.column: pc.unique(staged[check.column]) for check in checks}
    rows = np.arange(max(map(len, values.values())))
    columns = {}
    for name, found in values.items():
        if pa.types.is_integer(found.type) and not found.null_count:
            plain = found.to_numpy().astype(np.int64)  # compared as a whole, where nullable integers are one by one
            columns[name] = pd.Series(plain[np.where(rows < len(plain), rows, 0)])
        else:
            padded = found.take(pa.array(np.where(rows < len(found), rows, 0)))
            columns[name] = _frame(pa.table({name: padded}))[name]
    return pd.DataFrame(columns)


def _units(shares: pa.ChunkedArray) -> pa.ChunkedArray:
    """Decimal shares as integers of 1e-9: scaling first keeps the cast exact."""
    return pc.cast(
        pc.multiply(pc.cast(shares, pa.decimal128(20, 9)), pa.scalar(10**9, pa.decimal128(10, 0))), pa.int64()
    )


def _run(suite: str, staged: pa.Table, checks: Sequence[Check]) -> tuple[list[Result], list[Rejection]]:
    if not len(staged):
        return [], []
    holds = [one["success"] for one in _validate(suite, _distinct(staged, checks), checks, "BOOLEAN_ONLY")]
    frame = pd.DataFrame() if all(holds) else _frame(staged)
    results: dict[Check, Result] = {}
    rejections: list[Rejection] = []
    broken: dict[str, list[Check]] = {"SUMMARY": [], "COMPLETE": []}  # by what is to be known of their failures
    for check, success in zip(checks, holds, strict=True):
        if success:
            results[check] = _result(check, {}, len(staged), frame)
        else:
            broken["COMPLETE" if check.rule.severity == "reject" else "SUMMARY"].append(check)
    for detail, group in broken.items():
        for check, one in zip(group, _validate(suite, frame, group, detail) if group else (), strict=True):
            results[check] = _result(check, one["result"], len(staged), frame)
            if detail == "COMPLETE":
                rejections += _rejections(check, one["result"], frame)
    return [results[check] for check in checks], rejections


def _rejections(check: Check, found: dict[str, Any], frame: pd.DataFrame) -> Iterator[Rejection]:
    for at in found.get("unexpected_index_list") or ():
        value = _shown(_cell(frame, at, check.column))
        reason = f"{check.rule.why}: {check.column} is {value}, expected {check.expected}"
        yield Rejection(int(_cell(frame, at, "stage_id")), check.rule.id, reason, f"{check.suite}.{check.column}")


def _validate(suite: str, frame: pd.DataFrame, checks: Sequence[Check], detail: str) -> list[dict[str, Any]]:
    batch = _batch_definition().get_batch({"dataframe": frame})
    outcome = batch.validate(build_suite(suite, checks), result_format={"result_format": detail})
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


def _result(check: Check, found: dict[str, Any], rows: int, frame: pd.DataFrame) -> Result:
    unexpected = int(found.get("unexpected_count") or 0)
    sample = ", ".join(
        _named(check, frame, at) for at in (found.get("partial_unexpected_index_list") or ())[:SAMPLE_SIZE]
    )
    return Result(
        check.suite,
        check.rule.id,
        check.rule.severity,
        not unexpected,
        f"{unexpected} of {rows}",
        check.expected,
        unexpected,
        rows,
        sample or None,
    )


def _named(check: Check, frame: pd.DataFrame, at: int) -> str:
    name, key = _NAMES.get(check.suite, _WORK)
    return f"{name(int(_cell(frame, at, key)))}: {_shown(_cell(frame, at, check.column))}"


def _cell(frame: pd.DataFrame, at: int, column: str) -> Any:
    return frame.at[at, column]


def _shown(value: Any) -> str:
    text = ascii(value) if isinstance(value, str) else "null" if pd.isna(value) else str(value)
    return text if len(text) <= SAMPLE_CHARACTERS else text[: SAMPLE_CHARACTERS - 3] + "..."
