"""The real records: 1,833 versions of 968 works in 217 partitions, replayed as nights, and ten works counted by
hand."""

from __future__ import annotations

import gzip
import json
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa

import tasks.batches.batch as batches
from schemas import tables as t
from schemas.settings import Settings
from tasks.reading.parsed import tie_hash
from tasks.sources.openalex_snapshot import open_snapshot
from tasks.storage.warehouse import Warehouse
from tasks.validation.validate import Report
from tests.factory import counts, proven, rows, run

pytestmark = pytest.mark.usefixtures("unpublished")

RECORDS, WORKS = 1833, 968


@pytest.fixture(scope="module")
def snapshot(shared: Path) -> Path:
    return shared / "openalex" / "snapshot"


@pytest.fixture(scope="module")
def loaded(engine: str, snapshot: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """All partitions in one run."""
    from schemas.settings import load_settings

    settings = load_settings(
        home=tmp_path_factory.mktemp(f"real-{engine}"), scope="all", workers=1, snapshot=str(snapshot)
    )
    night = run(settings)
    assert counts(night) == {"fetched": RECORDS, "new": WORKS, "superseded": RECORDS - WORKS}
    return settings


def test_a_second_replay_changes_nothing(loaded):
    before = proven(loaded)
    night = run(loaded)
    assert counts(night) == {"fetched": 2, "unchanged": 2}  # the last two dates are read again
    assert proven(loaded) == before


def test_chunks_of_nights_end_in_the_same_tables(loaded, snapshot, tmp_path):
    settings = loaded.model_copy(update={"home": tmp_path / "home"})
    days = sorted({part.day for part in open_snapshot(settings).read_manifest()})
    fetched = 0
    for day in [*days[40::60], days[-1]]:
        fetched += sum(outcome.row["fetched"] for outcome in run(settings, day).outcomes)
    assert fetched >= RECORDS
    assert proven(settings) == proven(loaded)


@pytest.mark.slow
@pytest.mark.long
def test_217_nights_one_by_one_end_in_the_same_tables(loaded, snapshot, tmp_path, monkeypatch):
    """Without Great Expectations, which has nothing to object to in these records, and without publishing every
    night."""
    monkeypatch.setattr(batches, "validate_staged", lambda folder: Report([], []))
    monkeypatch.setattr("tasks.night.publish", lambda warehouse, settings: None)
    settings = loaded.model_copy(update={"home": tmp_path / "home"})
    days = sorted({part.day for part in open_snapshot(settings).read_manifest()})
    assert len(days) == 217
    for day in days:
        run(settings, day)
    assert proven(settings) == proven(loaded)


def test_scope_ai_takes_the_works_whose_primary_topic_is_ai(loaded, snapshot, tmp_path):
    settings = loaded.model_copy(update={"home": tmp_path / "home", "scope": "ai"})
    night = counts(run(settings))
    assert night["fetched"] == RECORDS
    with Warehouse.open(settings) as warehouse:
        stored = warehouse_count(warehouse, t.work)
        assert 120 <= stored <= 140
    with Warehouse.open(loaded) as warehouse:
        in_ai = rows(
            warehouse,
            sa.select(sa.func.count().label("n")).select_from(t.work_field).where(t.work_field.c.field == "ai"),
        )
        assert in_ai == [{"n": stored}]


def warehouse_count(warehouse: Warehouse, table: sa.Table) -> int:
    return int(rows(warehouse, sa.select(sa.func.count().label("n")).select_from(table))[0]["n"])


def test_until_stops_at_a_partition(loaded, tmp_path):
    settings = loaded.model_copy(update={"home": tmp_path / "home"})
    run(settings, date(2024, 8, 31))
    with Warehouse.open(settings) as warehouse:
        assert warehouse_count(warehouse, t.part) == 3
        assert warehouse_count(warehouse, t.work) == 5


def test_nothing_of_the_real_records_is_lost(loaded, snapshot):
    """Works, authorships and references against a plain count over the newest records of the same files."""
    newest: dict[str, tuple[tuple[str, int], dict]] = {}
    for part in sorted(snapshot.rglob("*.gz")):
        for raw in gzip.decompress(part.read_bytes()).splitlines():
            record = json.loads(raw)
            order = (record["updated_date"], tie_hash(raw))
            if record["id"] not in newest or order > newest[record["id"]][0]:
                newest[record["id"]] = (order, record)
    records = [record for _, record in newest.values()]
    with Warehouse.open(loaded) as warehouse:
        assert warehouse_count(warehouse, t.work) == len(records)
        assert warehouse_count(warehouse, t.authorship) == sum(len(record["authorships"]) for record in records)
        assert warehouse_count(warehouse, t.reference) == sum(
            len(set(record["referenced_works"])) for record in records
        )
        citations = rows(warehouse, sa.select(sa.func.sum(t.work.c.cited_by_count).label("n")))
        assert citations == [{"n": sum(record["cited_by_count"] for record in records)}]
