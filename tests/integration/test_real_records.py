"""The real records: 1,833 versions of 968 works in 217 partitions, replayed as nights, and ten works counted by
hand."""

from __future__ import annotations

from datetime import date

import pytest
import sqlalchemy as sa

import tasks.batches.batch as batches
from schemas import tables as t
from tasks.sources.openalex_snapshot import open_snapshot
from tasks.storage.warehouse import Warehouse
from tasks.validation.validate import Report
from tests.factory import counts, proven, rows, run
from tests.real import RECORDS, newest_records

pytestmark = pytest.mark.usefixtures("unpublished")


def warehouse_count(warehouse: Warehouse, table: sa.Table) -> int:
    """How many rows a table holds."""
    return int(rows(warehouse, sa.select(sa.func.count().label("n")).select_from(table))[0]["n"])


def test_a_second_replay_changes_nothing(real_works):
    before = proven(real_works)
    night = run(real_works)
    assert counts(night) == {"fetched": 2, "unchanged": 2}  # the last two dates are read again
    assert proven(real_works) == before


def test_chunks_of_nights_end_in_the_same_tables(real_works, tmp_path):
    settings = real_works.model_copy(update={"home": tmp_path / "home"})
    days = sorted({part.day for part in open_snapshot(settings).read_manifest()})
    fetched = 0
    for day in [*days[40::60], days[-1]]:
        fetched += sum(outcome.row["fetched"] for outcome in run(settings, day).outcomes)
    assert fetched >= RECORDS
    assert proven(settings) == proven(real_works)


@pytest.mark.slow
@pytest.mark.long
def test_217_nights_one_by_one_end_in_the_same_tables(real_works, tmp_path, monkeypatch):
    """Without Great Expectations, which has nothing to object to in these records, and without publishing every
    night."""
    monkeypatch.setattr(batches, "validate_staged", lambda folder: Report([], []))
    settings = real_works.model_copy(update={"home": tmp_path / "home"})
    days = sorted({part.day for part in open_snapshot(settings).read_manifest()})
    assert len(days) == 217
    for day in days:
        run(settings, day)
    assert proven(settings) == proven(real_works)


def test_scope_ai_takes_the_works_whose_primary_topic_is_ai(real_works, tmp_path):
    settings = real_works.model_copy(update={"home": tmp_path / "home", "scope": "ai"})
    night = counts(run(settings))
    assert night["fetched"] == RECORDS
    with Warehouse.open(settings) as warehouse:
        stored = warehouse_count(warehouse, t.work)
        assert 120 <= stored <= 140
    with Warehouse.open(real_works) as warehouse:
        in_ai = rows(
            warehouse,
            sa.select(sa.func.count().label("n")).select_from(t.work_field).where(t.work_field.c.field == "ai"),
        )
        assert in_ai == [{"n": stored}]


def test_until_stops_at_a_partition(real_works, tmp_path):
    settings = real_works.model_copy(update={"home": tmp_path / "home"})
    run(settings, date(2024, 8, 31))
    with Warehouse.open(settings) as warehouse:
        assert warehouse_count(warehouse, t.part) == 3
        assert warehouse_count(warehouse, t.work) == 5


def test_nothing_of_the_real_records_is_lost(real_works, shared):
    """Works, authorships and references against a plain count over the newest records of the same files."""
    records = newest_records(shared)
    with Warehouse.open(real_works) as warehouse:
        assert warehouse_count(warehouse, t.work) == len(records)
        assert warehouse_count(warehouse, t.authorship) == sum(len(record["authorships"]) for record in records)
        assert warehouse_count(warehouse, t.reference) == sum(
            len(set(record["referenced_works"])) for record in records
        )
        citations = rows(warehouse, sa.select(sa.func.sum(t.work.c.cited_by_count).label("n")))
        assert citations == [{"n": sum(record["cited_by_count"] for record in records)}]
