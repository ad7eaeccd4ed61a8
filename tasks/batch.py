"""One batch: a slice of a landing on its way into the warehouse, and the transaction that makes it count.

`stage`, `validate` and `load` are the steps; a batch whose transaction did not commit has left nothing but files that
the next run removes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy import Connection

from schemas import tables as t
from schemas.errors import GateStopped, LandingError, WarehouseError
from schemas.reviewed import code_version, definitions_digest
from schemas.settings import Settings
from schemas.staging import STAGED, arrow_schema
from schemas.work_ids import shown_id
from tasks import quarantine
from tasks.derive import Deriver, Reading
from tasks.former import Former, folder_of
from tasks.gates import measure_gates, staged_metrics, stop_of, window_gates
from tasks.land import DELETIONS, WORKS, Landing, OpenLanding, read_lines
from tasks.ledger import next_moment
from tasks.load import Change, load_deletions, load_works
from tasks.parse import CORPUS, BadRecord, parse_work_id, tie_hash
from tasks.readers import reader_of
from tasks.registry import in_force
from tasks.validate import Report, Result, check_gates, read_staged, validate_staged
from tasks.versions import LAST_TIE, Keep, keep_nothing
from tasks.volume import landing_metrics
from tasks.warehouse import Warehouse, attach_arrow, detach_arrow, utc_now

DELETIONS_PER_BATCH = 1_000_000
CLOCKS_DIFFER_BY = timedelta(days=1)  # a date later than this from now is an error of the source
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
    """A committed batch: its row in ops.batch, what the rules saw, and the largest changes of cells."""

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
    lines = landed.lines(batch.first, batch.end)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if batch.landing.kind == DELETIONS:
            _stage_deletions([line.raw or b"" for line in lines], batch, folder)
        else:
            newest = batch.started_at + CLOCKS_DIFFER_BY
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
                raise stop_of(batch.batch_id, outcome.results, findings.stopped_by, again)
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
            raise stop_of(batch.batch_id, outcome.results, findings.stopped_by, command)
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
    of = t.validation_result
    columns = [of.c[name] for name in Result._fields]
    found = conn.execute(sa.select(*columns).where(of.c.batch_id == batch.batch_id))
    return Outcome(dict(row._mapping), [Result(*values) for values in found])


def _load_in(
    conn: Connection,
    batch: Batch,
    folder: Path,
    report: Report,
    settings: Settings,
    prepare: Callable[[Connection, Keep], None] = lambda _, __: None,
) -> tuple[Outcome, Report]:
    if batch.first == batch.end:
        return _note_empty(conn, batch, report, settings)
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
    staged = read_batch(folder, report)
    if batch.landing.kind == DELETIONS:
        staged["deletion"] = read_staged(folder, "deletion")
    stage_of = {name: attach_arrow(conn, f"stage_{name}", data) for name, data in staged.items()}
    counts = dict.fromkeys(t.COUNTS, 0)
    if batch.landing.kind == DELETIONS:
        change = load_deletions(conn, stage_of["deletion"], stage_of, batch.batch_id, keep)
    else:
        change = load_works(conn, stage_of, batch.batch_id, keep=keep)
    counts |= change.counts
    counts["quarantined"] = hold_refused(conn, batch, staged, report, settings)
    if batch.landing.source == quarantine.SOURCE:
        lines = read_lines(batch.folder, batch.landing, batch.first, batch.end, settings.max_record_bytes)
        refused = staged["problem"]["source_key"].to_pylist()
        quarantine.close_read(conn, lines, reader_of(batch.landing), refused, utc_now())
    quarantine.close_overtaken(conn, utc_now())
    counts["fetched"] = batch.end - batch.first if batch.landing.kind == WORKS else counts["quarantined"]
    _store_repairs(conn, stage_of["repair"], change)
    metrics = staged_metrics(folder)
    source, corpus = batch.landing.source, batch.landing.corpus or CORPUS
    gates = measure_gates(conn, counts, change, metrics, source, settings, corpus)
    gates += window_gates(conn, batch.landing, settings)
    findings = check_gates(gates)
    results = [*report.results, *findings.results]
    store_results(conn, batch.batch_id, results)
    row = _batch_row(batch, counts, next_moment(conn))
    conn.execute(t.batch.insert(), row)
    works = len(staged["work"])
    _store_metrics(conn, batch, metrics, works)
    if batch.end == batch.landing.records and batch.landing.parts:
        _store_parts(conn, batch)
    detach_arrow(conn, [f"stage_{name}" for name in staged])
    return Outcome(row, results), findings


def _note_empty(conn: Connection, batch: Batch, report: Report, settings: Settings) -> tuple[Outcome, Report]:
    """A window that was looked at and holds nothing new: its batch row is all that is written."""
    findings = check_gates(window_gates(conn, batch.landing, settings))
    results = [*report.results, *findings.results]
    store_results(conn, batch.batch_id, results)
    row = _batch_row(batch, dict.fromkeys(t.COUNTS, 0), next_moment(conn))
    conn.execute(t.batch.insert(), row)
    _store_metrics(conn, batch, {}, 0)
    if batch.landing.parts:
        _store_parts(conn, batch)
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
    its raw bytes; returns how many."""
    rejected = {rejection.stage_id: rejection for rejection in report.rejections}
    return quarantine.hold(conn, _refused(batch, staged, rejected, settings), batch.batch_id, utc_now())


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


def _stage_deletions(lines: list[bytes], batch: Batch, folder: Path) -> None:
    """Staged deletions, one per work (the last date counts); a line of another shape is a problem like any other
    record."""
    newest: dict[int, datetime] = {}
    problems = []
    for offset, raw in enumerate(lines):
        text = raw.decode("utf-8", "replace").strip()
        try:
            identifier, day = text.split(",")
            work_id = parse_work_id(identifier)
            ends_at = datetime.combine(date.fromisoformat(day), time.max)
            if ends_at > datetime.combine(batch.started_at + CLOCKS_DIFFER_BY, time.max):
                raise BadRecord("read", "deletion_future", f"{ends_at:%Y-%m-%d} lies in the future")
        except (BadRecord, ValueError) as exc:
            bad = exc if isinstance(exc, BadRecord) else None
            reason = bad.reason if bad else "expected a work id and a date"
            rule = bad.rule if bad else "deletion_shape"
            landed_at = f"{batch.landing.source}/{batch.landing.landing_id}:{batch.first + offset + 1}"
            tie = tie_hash(raw)
            key = f"record-{tie:016x}"
            problems.append((batch.first + offset, key, tie, None, None, "read", rule, reason, None, landed_at))
            continue
        newest[work_id] = max(ends_at, newest.get(work_id, ends_at))
    for name in STAGED:
        rows = problems if name == "problem" else []
        _write(folder, name, _columns(rows, arrow_schema(name)))
    schema = pa.schema([("work_id", pa.int64()), ("source_updated_at", pa.timestamp("us")), ("tie_hash", pa.int64())])
    _write(folder, "deletion", _columns([(work_id, ends_at, LAST_TIE) for work_id, ends_at in newest.items()], schema))


def _columns(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    return pa.table(
        [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema=schema
    )


def _write(folder: Path, name: str, data: pa.Table) -> None:
    with pa.OSFile(str(folder / f"{name}.arrow"), "wb") as sink, pa.ipc.new_file(sink, data.schema) as writer:
        writer.write_table(data)


def store_results(conn: Connection, batch_id: str, results: list[Result]) -> None:
    """Keep what the rules saw of a batch."""
    conn.execute(
        sa.delete(t.validation_result).where(t.validation_result.c.batch_id == batch_id)
    )  # of an attempt that was stopped
    if results:
        conn.execute(t.validation_result.insert(), [{"batch_id": batch_id, **r._asdict()} for r in results])


def _store_repairs(conn: Connection, repair: Any, change: Change) -> None:
    """Keep repairs of the versions that are stored now; those of unchanged versions are known already."""
    values = [sa.literal(change.batch_id) if c.name == "batch_id" else repair.c[c.name] for c in t.repair.columns]
    rows = sa.select(*values).distinct().where(repair.c.stage_id.in_(sa.select(change.arriving.c.stage_id)))
    conn.execute(sa.insert(t.repair).from_select(t.repair.columns.keys(), rows))


def _store_metrics(conn: Connection, batch: Batch, metrics: dict[str, float], works: int) -> None:
    """Keep the figures that later batches are held against."""
    kept = metrics | landing_metrics(batch.landing)
    rows = [{"batch_id": batch.batch_id, "name": n, "value": v, "works": works} for n, v in kept.items()]
    if rows:
        conn.execute(t.metric.insert(), rows)


def _store_parts(conn: Connection, batch: Batch) -> None:
    landing = batch.landing
    paths = [part.path for part in landing.parts]
    conn.execute(sa.delete(t.part).where(t.part.c.source == landing.source, t.part.c.path.in_(paths)))
    rows = [
        {
            "source": landing.source,
            "path": p.path,
            "records": p.records,
            "bytes": p.bytes,
            "sha256": p.sha256,
            "batch_id": batch.batch_id,
        }
        for p in landing.parts
    ]
    conn.execute(t.part.insert(), rows)
