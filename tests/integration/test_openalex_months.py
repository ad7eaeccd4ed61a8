"""Which months a night on the live API looks at, by dates of publication or of change, and a rescan of all."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
import sqlalchemy as sa

from schemas import tables as t
from schemas.errors import BudgetExhausted, PlanRefused
from tasks.storage.warehouse import Warehouse
from tests.factory import author, counts, rows, stored
from tests.nights import FEW, TODAY, calls_of, dated, night

pytestmark = pytest.mark.usefixtures("unpublished")


def test_older_months_take_turns(api, settings_of):
    server = api()
    settings = settings_of(server, openalex_rescan_nights=2)
    assert counts(night(settings, backfill=(date(2024, 1, 1), date(2024, 4, 30)))) == {"fetched": 1, "new": 1}
    server.put(dated(13, "2024-03-01", author("JP"), updated="2026-11-20"))
    found = [counts(night(settings, TODAY + timedelta(days=number))) for number in (1, 2)]
    assert sum(night.get("updated", 0) for night in found) == 1


def test_months_that_passed_while_there_were_no_nights_are_looked_at(api, settings_of):
    server = api(FEW)
    settings = settings_of(server)
    night(settings)
    server.put(dated(2000, "2026-12-20"))
    server.put(dated(2001, "2027-01-20"))
    night(settings, TODAY + timedelta(days=210))
    assert {2000, 2001} <= stored(settings)


def test_by_date_of_change_only_changes_are_fetched(api, settings_of):
    server = api(plan="premium")
    settings = settings_of(server, openalex_sync="updated", openalex_window_days=400)
    night(settings)
    assert stored(settings) == {*range(1000, 1260), 11, 12, 13}
    server.put(dated(1004, "2026-11-09", author("JP"), updated="2026-11-22"))
    summary, asked = calls_of(server, lambda: night(settings, TODAY + timedelta(days=1)))
    assert counts(summary) == {"fetched": 2, "updated": 1, "unchanged": 1}  # and a month whose turn it was
    assert any("from_updated_date:2026-11-20" in call.params.get("filter", "") for call in asked)
    _, asked = calls_of(server, lambda: night(settings, TODAY + timedelta(days=5)))  # three nights were missed
    assert any("from_updated_date:2026-11-21" in call.params.get("filter", "") for call in asked)


def test_a_plan_that_may_not_is_told_what_may(api, settings_of):
    server = api()
    with pytest.raises(PlanRefused, match="COLLAB_OPENALEX_SYNC=publication"):
        night(settings_of(server, openalex_sync="updated"))
    assert len(server.calls) == 1


@pytest.mark.parametrize(("wrong", "sync"), [(date(2031, 1, 1), "updated"), (date(2027, 1, 21), "publication")])
def test_a_night_on_a_clock_that_was_ahead_hides_nothing(api, settings_of, wrong, sync):
    server = api(FEW, plan="premium")
    settings = settings_of(server, openalex_sync=sync, openalex_window_days=400)
    night(settings, wrong)
    server.put(dated(2000, "2026-11-05", updated="2026-11-22"))
    night(settings, TODAY + timedelta(days=1))
    assert 2000 in stored(settings)


@pytest.mark.slow
def test_a_rescan_sees_every_stored_month_once_and_goes_on_where_its_credits_ended(api, settings_of):
    server = api([dated(12, "2027-02-01"), dated(13, "2024-03-01"), dated(14, "2026-09-05")])
    settings = settings_of(server, openalex_window_days=0)
    night(settings, date(2026, 9, 6))
    night(settings, date(2026, 9, 6), backfill=(date(2024, 3, 1), date(2024, 3, 31)))
    server.put(dated(13, "2024-03-01", author("FR"), updated="2026-09-10T00:00:00"))
    frugal = settings.model_copy(update={"openalex_daily_credits": 5})
    with pytest.raises(BudgetExhausted):
        night(frugal, TODAY, rescan_days=7)
    rest = night(settings, TODAY + timedelta(days=1), rescan_days=7)
    assert rest.outcomes
    assert "no months left" in rest.cost
    with Warehouse.open(settings) as warehouse:
        seen = [row["window_name"] for row in rows(warehouse, sa.select(t.batch.c.window_name))]
        versions = sa.select(t.seen.c.source_updated_at).where(t.seen.c.work_id == 13)
        assert str(rows(warehouse, versions)[0]["source_updated_at"]).startswith("2026-09-10")
    assert (seen.count("2024-03"), seen.count("2026-09"), seen.count("2027-02")) == (2, 2, 1)
    nothing, asked = calls_of(server, lambda: night(settings, TODAY + timedelta(days=2), rescan_days=7))
    assert nothing.outcomes == []
    assert [call.path for call in asked if call.path == "/works"] == []
