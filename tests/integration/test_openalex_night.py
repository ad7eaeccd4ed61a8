"""Nights on the live API, against a replay of it: nothing is lost, and a quiet night fetches nothing."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
import sqlalchemy as sa

from schemas import tables as t
from tasks.storage.warehouse import Warehouse
from tests.factory import author, counts, proven, rows, run, stored, write_snapshot
from tests.nights import LISTED, NIGHT, TODAY, calls_of, dated, night
from tests.real import newest_records

pytestmark = pytest.mark.usefixtures("unpublished")


@pytest.mark.publishes
def test_a_first_night_a_quiet_one_and_one_with_changes(api, settings_of):
    server = api()
    settings = settings_of(server)
    first, asked = calls_of(server, lambda: night(settings))
    assert counts(first) == {"fetched": 262, "new": 262}
    assert stored(settings) == NIGHT
    before = proven(settings)
    quiet, listed = calls_of(server, lambda: night(settings, TODAY + timedelta(days=1)))
    assert counts(quiet) == {}
    assert quiet.release is None
    assert {call.params.get("select") for call in listed} == {LISTED}
    assert len(listed) <= len([call for call in asked if call.path == "/works"])
    assert proven(settings) == before
    server.put(dated(1003, "2026-09-04", author("FR"), updated="2026-11-22T10:00:00.5"))
    server.put(dated(2000, "2026-11-05"))
    changed, asked = calls_of(server, lambda: night(settings, TODAY + timedelta(days=2)))
    assert counts(changed) == {"fetched": 2, "new": 1, "updated": 1}
    assert len(asked) == len(listed) + 2  # one by id in each of the two windows
    with Warehouse.open(settings) as warehouse:
        windows = rows(warehouse, sa.select(t.batch).where(t.batch.c.window_name == "2026-11"))
        assert [row["source_records"] for row in windows] == [row["source_listed"] for row in windows]
        assert sum(row["credits"] for row in rows(warehouse, sa.select(t.batch))) == server.credits_used
        assert rows(warehouse, sa.select(t.spending)) == [
            {"source": "openalex-api", "day": day, "credits": spent} for day, spent in spent_by_day(settings).items()
        ]


def spent_by_day(settings) -> dict[date, int]:
    """Credits of all batches by the day that their landing is named by."""
    with Warehouse.open(settings) as warehouse:
        found = rows(warehouse, sa.select(t.batch.c.landing_id, t.batch.c.credits).order_by(t.batch.c.landing_id))
    days: dict[date, int] = {}
    for row in found:
        day = date.fromisoformat(row["landing_id"].split(".")[1])
        days[day] = days.get(day, 0) + row["credits"]
    return dict(sorted(days.items()))


def test_lists_that_cut_authors_leave_no_trace(api, settings_of):
    server = api()
    settings = settings_of(server)
    summary = night(settings)
    with Warehouse.open(settings) as warehouse:
        cut = sa.select(sa.func.count()).where(t.work.c.authors_truncated)
        assert rows(warehouse, cut.add_columns(sa.func.max(t.work.c.authors_count))) == [{"count_1": 0, "max_1": None}]
        long = rows(warehouse, sa.select(t.work).where(t.work.c.work_id == 11))[0]
    assert (long["authors_count"], long["authors_located"]) == (120, 120)
    assert [call.credits for call in server.calls if call.path == "/works/W11"] == [0]
    assert summary.results  # gates were looked at
    assert {r.rule for found in summary.results.values() for r in found} >= {"window_complete", "conservation"}


def test_api_and_snapshot_admit_the_same_real_works(api, settings_of, settings_for, shared, tmp_path):
    """All in one month, so that few windows hold them; without those whose authors the snapshot cuts."""
    whole = [record for record in newest_records(shared) if len(record.get("authorships") or ()) < 100]
    real = [{**record, "publication_date": f"2026-11-{1 + at % 20:02}"} for at, record in enumerate(whole)]
    server = api(real)
    through_api = settings_of(server)
    night(through_api)
    root = write_snapshot(tmp_path / "s", {"2026-11-20": real})
    copied = settings_for(root, scope="ai", home=tmp_path / "copied")
    run(copied)
    found = [proven(through_api), proven(copied)]
    for tables in found:  # the replay writes the records with other blanks, so their digests differ
        tables["seen"] = [(work_id, stamp, state) for work_id, stamp, _, state in tables["seen"]]
    assert found[0] == found[1]
    assert len(stored(copied)) > 50
    assert sum(call.path == "/works" for call in server.calls) < 40  # the filter kept the others away


def test_a_version_that_was_refused_hides_no_other(api, settings_of):
    server = api()
    settings = settings_of(server)
    server.put(dated(1003, "2026-09-04", updated="2099-01-01"))
    night(settings)
    server.put(dated(1003, "2026-09-04", author("FR"), updated="2026-11-22"))
    mended = night(settings, TODAY + timedelta(days=1))
    assert counts(mended) == {"fetched": 1, "new": 1}
    assert 1003 in stored(settings)
    assert counts(night(settings, TODAY + timedelta(days=2))) == {}
