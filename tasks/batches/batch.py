"""One batch: a slice of a landing on its way into the warehouse, and the transaction that makes it count.

`stage`, `validate` and `load` are the steps; a batch whose transaction did not commit has left nothing but files that
the next run removes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy import Connection

from schemas import tables as t
from schemas.errors import GateStopped, LandingError, WarehouseError
from schemas.expectations import Gate
from schemas.reviewed import code_version, definitions_digest
from schemas.settings import Settings
from schemas.staging import STAGED
from schemas.work_ids import shown_id
from tasks.batches.former import Former, folder_of
from tasks.countries.registry import in_force
from tasks.landing.land import DELETIONS, WORKS, Landing, OpenLanding, read_lines
from tasks.loading.ledger import next_moment
from tasks.loading.load import load_deletions, load_works
from tasks.loading.versions import Keep, keep_nothing
from tasks.reading import quarantine
from tasks.reading.parsed import CORPUS
from tasks.staging.deletions import stage_deletions
from tasks.staging.derive import Deriver, Reading
from tasks.staging.readers import reader_of
from tasks.storage.warehouse import Warehouse, attach_arrow, detach_arrow, utc_now
from tasks.validation.findings import read_results, store_metrics, store_parts, store_repairs, store_results
from tasks.validation.gates import measure_gates, staged_metrics, window_gates
from tasks.validation.stopped import stop_of
from tasks.validation.validate import Report, Result, check_gates, read_staged, validate_staged
from tasks.validation.volume import landing_metrics

DELETIONS_PER_BATCH = 1_000_000
MOST_AHEAD = timedelta(days=1)  # a date later than this from now is an error of the source
REJECTED = pa.schema([("stage_id", pa.int64())])


@dataclass(frozen=True)
class Batch:
    """Records first..end-1 of a landing."""

    batch_id: str
    landing: Landing
    folder: Path
    first: int
    end: int
    started_at: datetime
    reference: str | None = None
    """Folder of the reference data that its countries are decided by."""
    run_id: str | None = None


@dataclass(frozen=True)
class Outcome:
    """A committed batch: its row in ops.batch, and what the rules saw."""

    row: dict[str, Any]
    results: list[Result]


def batches_of(
    landing: Landing,
    folder: Path,
    loaded: int,
    batch_works: int,
    reference: str | None = None,
    run_id: str | None = None,
) -> Iterator[Batch]:
    """Batches of a landing that are still to be loaded; `loaded` records are committed already.

    They are named by their first record, whatever the size of those before. A landing without records is one empty
    batch, so that its parts are known.
    """
    size = batch_works if landing.kind == WORKS else DELETIONS_PER_BATCH
    for first in range(loaded, max(landing.records, 1), size):
        end = min(first + size, landing.records)
        batch_id = f"{landing.source}/{landing.landing_id}/{first:08d}"
        yield Batch(batch_id, landing, folder, first, end, utc_now(), reference, run_id)


def stage(batch: Batch, landed: OpenLanding, deriver: Deriver, workspace: Path, settings: Settings) -> Path:
    """Parse and locate the records of a batch into a folder of the workspace.

    Raises:
        LandingError: a landed part is damaged, or the disk is full.
    """
    folder = workspace / batch.batch_id
    lines, newest = landed.lines(batch.first, batch.end), batch.started_at + MOST_AHEAD
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if batch.landing.kind == DELETIONS:
            stage_deletions(lines, newest, folder)
        else:
            reader = reader_of(batch.landing)
            reading = Reading(reader, settings.scope, settings.max_record_bytes, newest, batch.reference)
            deriver.derive(lines, reading, folder)
    except OSError as exc:
        shutil.rmtree(folder, ignore_errors=True)
        message = f"cannot stage {batch.batch_id} in {workspace}: {exc.strerror or exc}"
        raise LandingError(message, "free space or mend permissions, then run again") from None
    return folder


def validate(folder: Path) -> Report:
    """Run the record rules on a staged batch."""
    return validate_staged(folder)


def load(
    warehouse: Warehouse, batch: Batch, folder: Path, report: Report, settings: Settings, command: str | None = None
) -> Outcome | None:
    """Commit a batch, or nothing.

    Args:
        command: that starts the run again, to be named to who mended what stopped it.

    Returns:
        The batch as committed, now or already by another run (or by this one, if the connection was lost while it
        committed); None if another run took these records in with other ones, or countries are decided by other
        reference data meanwhile: see again what is left of the landing.

    Raises:
        GateStopped: a stop rule failed; the tables are as before, the findings are in ops.validation_result.
        ConnectionLost: the server went away; what was not committed is rolled back.
    """
    try:
        with warehouse.transaction() as conn:
            if _is_taken_in(conn, batch):
                return _committed(conn, batch)
            if _is_decided_otherwise(conn, batch):
                return None
            outcome, findings = _load_in(conn, batch, folder, report, settings)
            if findings.stopped_by:
                again = command or f"collab run --source {batch.landing.source}"
                raise stop_of(batch.batch_id, outcome.results, findings, again)
    except GateStopped as stop:
        with warehouse.transaction() as conn:
            store_results(conn, batch.batch_id, list(stop.findings))
        raise
    return outcome


def load_again(
    warehouse: Warehouse,
    batch: Batch,
    folder: Path,
    report: Report,
    settings: Settings,
    prepare: Callable[[Connection, Keep], None],
    command: str,
) -> Outcome:
    """Commit landed records that were taken in before, after `prepare` in the same transaction, or nothing.

    Args:
        prepare: called before anything is loaded, with what is to be told what it replaces.
        command: that does the same again.

    Raises:
        GateStopped: a stop rule failed; the tables are as before.
        WarehouseError: its countries were decided by other reference data than what is in force now.
    """
    with warehouse.transaction() as conn:
        if _is_decided_otherwise(conn, batch):
            raise WarehouseError("corrections or ROR were changed while this was prepared", f"`{command}` again")
        outcome, findings = _load_in(conn, batch, folder, report, settings, prepare)
        if findings.stopped_by:
            raise stop_of(batch.batch_id, outcome.results, findings, command)
    return outcome


def loaded_records(conn: Connection, landing: Landing) -> int:
    """Records of a landing that are committed: always the first ones."""
    of = t.batch.c
    return (
        conn.scalar(
            sa.select(sa.func.max(of.end_record)).where(
                of.landing_id == landing.landing_id, of.source == landing.source
            )
        )
        or 0
    )


def _is_taken_in(conn: Connection, batch: Batch) -> bool:
    is_listed = sa.exists(sa.select(1).where(t.batch.c.batch_id == batch.batch_id))
    return loaded_records(conn, batch.landing) > batch.first or bool(conn.scalar(sa.select(is_listed)))


def _is_decided_otherwise(conn: Connection, batch: Batch) -> bool:
    """Whether its countries were decided by corrections or a ROR that is not in force any more."""
    return in_force(conn) != (Path(batch.reference).name if batch.reference else "")


def _committed(conn: Connection, batch: Batch) -> Outcome | None:
    row = conn.execute(
        sa.select(t.batch).where(t.batch.c.batch_id == batch.batch_id, t.batch.c.end_record == batch.end)
    ).one_or_none()
    if row is None:
        return None
    return Outcome(dict(row._mapping), read_results(conn, batch.batch_id))


class _Measured(NamedTuple):
    """What became of the records of a batch, its gates, and the figures of so many staged works."""

    counts: dict[str, int]
    gates: list[Gate]
    metrics: dict[str, float]
    works: int


def _load_in(
    conn: Connection,
    batch: Batch,
    folder: Path,
    report: Report,
    settings: Settings,
    prepare: Callable[[Connection, Keep], None] = lambda _, __: None,
) -> tuple[Outcome, Report]:
    if batch.first == batch.end:  # a window that was looked at and holds nothing new
        return _note(conn, batch, _Measured(dict.fromkeys(t.COUNTS, 0), [], {}, 0), report, settings)
    if not settings.undo_days:
        prepare(conn, keep_nothing)
        return _put_in(conn, batch, folder, report, settings, keep_nothing)
    with Former(conn, folder_of(settings, _landing_uri(batch.landing), batch.batch_id)) as former:
        prepare(conn, former.keep)
        outcome, findings = _put_in(conn, batch, folder, report, settings, former.keep)
        if not findings.stopped_by:
            former.close(outcome.row["finished_at"])
    return outcome, findings


def _put_in(
    conn: Connection, batch: Batch, folder: Path, report: Report, settings: Settings, keep: Keep
) -> tuple[Outcome, Report]:
    """Load what is staged, settle the quarantine, and measure what that makes of the tables."""
    landing, staged = batch.landing, read_batch(folder, report)
    if landing.kind == DELETIONS:
        staged["deletion"] = read_staged(folder, "deletion")
    stage_of = {name: attach_arrow(conn, f"stage_{name}", data) for name, data in staged.items()}
    if landing.kind == DELETIONS:
        change = load_deletions(conn, stage_of["deletion"], stage_of, batch.batch_id, keep)
    else:
        change = load_works(conn, stage_of, batch.batch_id, keep=keep)
    held = _settle_quarantine(conn, batch, staged, report, settings)
    fetched = batch.end - batch.first if landing.kind == WORKS else held
    counts = dict.fromkeys(t.COUNTS, 0) | change.counts | {"quarantined": held, "fetched": fetched}
    store_repairs(conn, stage_of["repair"], change)
    metrics = staged_metrics(folder)
    gates = measure_gates(conn, counts, change, metrics, landing.source, settings, landing.corpus or CORPUS)
    noted = _note(conn, batch, _Measured(counts, gates, metrics, len(staged["work"])), report, settings)
    detach_arrow(conn, [f"stage_{name}" for name in staged])
    return noted


def _settle_quarantine(
    conn: Connection, batch: Batch, staged: dict[str, pa.Table], report: Report, settings: Settings
) -> int:
    """Hold what was refused, and close what a retry could read or a newer version has overtaken; returns how many were
    refused."""
    held = hold_refused(conn, batch, staged, report, settings)
    if batch.landing.source == quarantine.SOURCE:
        lines = read_lines(batch.folder, batch.landing, batch.first, batch.end, settings.max_record_bytes)
        refused = staged["problem"]["source_key"].to_pylist()
        quarantine.close_read(conn, lines, reader_of(batch.landing), refused, utc_now())
    return held


def _note(
    conn: Connection, batch: Batch, measured: _Measured, report: Report, settings: Settings
) -> tuple[Outcome, Report]:
    """Check the gates of a batch and of its window, and write down its row and what was seen of it; returns what the
    gates found beside the outcome."""
    findings = check_gates([*measured.gates, *window_gates(conn, batch.landing, settings)])
    results = [*report.results, *findings.results]
    store_results(conn, batch.batch_id, results)
    row = _batch_row(batch, measured.counts, next_moment(conn))
    conn.execute(t.batch.insert(), row)
    store_metrics(conn, batch.batch_id, measured.metrics | landing_metrics(batch.landing), measured.works)
    if batch.end == batch.landing.records:
        store_parts(conn, batch.batch_id, batch.landing)
    return Outcome(row, results), findings


def _batch_row(batch: Batch, counts: dict[str, int], finished_at: datetime) -> dict[str, Any]:
    landing = batch.landing
    return {
        "batch_id": batch.batch_id,
        "landing_id": landing.landing_id,
        "source": landing.source,
        "window_name": landing.window,
        "kind": landing.kind,
        "first_record": batch.first,
        "end_record": batch.end,
        "window_records": landing.records,
        **counts,
        "landing_uri": _landing_uri(landing),
        "sha256": landing.sha256,
        "code_version": code_version(),
        "definitions": definitions_digest(),
        "started_at": batch.started_at,
        "finished_at": finished_at,
        "source_records": landing.source_records,
        "source_listed": landing.source_listed,
        "credits": landing.credits,
        "run_id": batch.run_id,
        "undone_at": None,
    }


def _landing_uri(landing: Landing) -> str:
    return f"{landing.source}/{landing.landing_id}"


def read_batch(folder: Path, report: Report) -> dict[str, pa.Table]:
    """Staged tables of a batch by name, and `rejected`: the records that validation refused."""
    staged = {name: read_staged(folder, name) for name in STAGED}
    refused = sorted(rejection.stage_id for rejection in report.rejections)
    return {**staged, "rejected": pa.table([pa.array(refused, pa.int64())], schema=REJECTED)}


def hold_refused(
    conn: Connection, batch: Batch, staged: dict[str, pa.Table], report: Report, settings: Settings
) -> int:
    """Put records that parse or locate could not use, and those that broke a reject rule, into quarantine, each with
    its raw bytes, and resolve what a newer version has overtaken; returns how many were refused."""
    now = utc_now()
    rejected = {rejection.stage_id: rejection for rejection in report.rejections}
    held = quarantine.hold(conn, _refused(batch, staged, rejected, settings), batch.batch_id, now)
    quarantine.close_overtaken(conn, now)
    return held


def _refused(
    batch: Batch, staged: dict[str, pa.Table], rejected: dict[int, Any], settings: Settings
) -> list[dict[str, Any]]:
    rows = {row.pop("stage_id"): row for row in staged["problem"].to_pylist()}
    if rejected:
        versions = staged["version"].filter(
            pc.is_in(staged["version"]["stage_id"], pa.array(sorted(rejected), pa.int64()))
        )
        for version in versions.to_pylist():
            why = rejected[version["stage_id"]]
            rows[version["stage_id"]] = {
                "source_key": shown_id(version["work_id"]),
                "version": version["tie_hash"],
                "work_id": version["work_id"],
                "source_updated_at": version["source_updated_at"],
                "stage": "validate",
                "rule": why.rule,
                "reason": why.reason,
                "path": why.path,
                "landed_at": "",
            }
    if rows:
        reader = reader_of(batch.landing)
        for line in read_lines(batch.folder, batch.landing, min(rows), max(rows) + 1, settings.max_record_bytes):
            if line.stage_id in rows:
                raw = line.raw and reader.keep(line.stage_id, line.raw)
                rows[line.stage_id] |= {"raw": raw, "landed_at": line.landed_at}
    return list(rows.values())
