"""Credits that end before a night or a backfill does: no limit is passed, and the next day goes on."""

from __future__ import annotations

import re
from datetime import date, timedelta

import pytest
import sqlalchemy as sa

import tasks.sources.openalex_client as clients
from flows.steps import RunRequest, directly, run_night, with_night
from schemas import tables as t
from schemas.errors import BudgetExhausted
from tasks.storage.warehouse import Warehouse
from tests.commands import set_environment, status_of
from tests.factory import proven, rows, stored
from tests.nights import AUTHORS, TODAY, calls_of, dated, night
from tests.replay import KEY

pytestmark = pytest.mark.usefixtures("unpublished")


def test_a_budget_spreads_a_window_over_days(api, settings_of, tmp_path):
    works = [dated(1000 + n, "2026-11-05") for n in range(1_450)]
    plenty = api(works)
    night(settings_of(plenty, home=tmp_path / "plenty"))
    server = api(works)
    settings = settings_of(server, openalex_daily_credits=7)
    for number in range(9):
        day = TODAY + timedelta(days=number)
        server.new_day()
        try:
            night(settings, day)
        except BudgetExhausted as stop:
            assert stop.exit_code == 3
            assert "COLLAB_OPENALEX_DAILY_CREDITS" in str(stop)
        assert server.credits_used <= 7
        with pytest.raises(BudgetExhausted):  # again on the same day: nothing is left, nothing is asked
            night(settings, day)
        assert server.credits_used <= 7
        if len(stored(settings)) == 1_450:
            break
    assert number < 5
    assert proven(settings) == proven(settings_of(plenty, home=tmp_path / "plenty"))


def test_what_the_server_says_is_left_is_believed(api, settings_of):
    server = api([dated(1000 + n, "2026-11-05") for n in range(900)], daily_credits=14)
    settings = settings_of(server)
    with pytest.raises(BudgetExhausted, match="0 credits left today"):
        night(settings)
    assert {call.status for call in server.calls} == {200}  # no call too many
    server.new_day()
    night(settings, TODAY + timedelta(days=1))
    assert len(stored(settings)) == 900


def test_singles_that_are_charged_stay_within_the_limit(api, settings_of, monkeypatch):
    server = api([dated(n, "2026-11-05", *AUTHORS) for n in range(1, 60)])
    settings, real = settings_of(server, openalex_daily_credits=20), clients.OpenAlex._get
    charged = []

    def charge(self, url, params):
        answer = real(self, url, params)
        if "/works/W" not in url:
            return answer
        charged.append(url)
        return answer._replace(headers={**answer.headers, "X-RateLimit-Credits-Used": "1"})

    monkeypatch.setattr(clients.OpenAlex, "_get", charge)
    with pytest.raises(BudgetExhausted):
        night(settings)
    assert len(charged) + server.credits_used <= 20 + 1  # what a single costs is known when it has been answered


def test_a_night_over_midnight_keeps_the_day_it_was_planned_on(api, settings_of):
    server = api()
    settings, clock = settings_of(server, openalex_daily_credits=16), [TODAY]

    def strike(call):
        if len(server.calls) == 6:
            clock[0] = TODAY + timedelta(days=1)
            server.new_day()

    server.before = strike
    night(settings, lambda: clock[0])
    with Warehouse.open(settings) as warehouse:
        days = {row["landing_id"].split(".")[1] for row in rows(warehouse, sa.select(t.batch.c.landing_id))}
        spent = {row["day"]: row["credits"] for row in rows(warehouse, sa.select(t.spending))}
    assert days == {str(TODAY)}
    assert spent.keys() == {TODAY, TODAY + timedelta(days=1)}
    assert sum(spent.values()) == sum(call.credits for call in server.calls)


def test_a_backfill_goes_on_where_it_was_stopped(api, settings_of, caplog):
    works = [dated(100 * month + n, f"2014-{month:02}-{1 + n:02}") for month in range(1, 13) for n in range(20)]
    server = api(works)
    settings = settings_of(server, openalex_daily_credits=10)
    span = date(2014, 1, 1), date(2014, 12, 31)
    with caplog.at_level("INFO", "collab"):
        for number in range(6):
            server.new_day()
            try:
                last = night(settings, TODAY + timedelta(days=number), backfill=span)
                break
            except BudgetExhausted:
                continue
    assert 2 <= number <= 4
    assert stored(settings) == {100 * month + n for month in range(1, 13) for n in range(20)}
    assert re.search(r"2014-12: 20 works fetched; 11 months left, about 2[0-9] credits or 2\.\d days", caplog.text)
    assert last.cost.endswith("no months left")
    _, asked = calls_of(server, lambda: night(settings, TODAY + timedelta(days=7), backfill=span))
    assert asked == []


def test_status_names_a_backfill_whose_credits_ended_until_it_is_done(api, settings_of, monkeypatch):
    """Between two months no pages are kept, and months before the first that was fetched are no gap."""
    server = api([dated(100 + month, f"2025-{month:02}-01") for month in range(9, 13)])
    settings = settings_of(server, openalex_daily_credits=4)
    set_environment(monkeypatch, settings, "home", "openalex_url", "openalex_daily_credits", "openalex_rate", "workers")
    monkeypatch.setenv("COLLAB_OPENALEX_API_KEY", KEY)
    asked = RunRequest("backfill", "openalex-api", backfill=(date(2025, 10, 1), date(2025, 12, 31)))
    with pytest.raises(BudgetExhausted):
        with_night(run_night, directly, asked)
    lines = status_of(settings)[1].splitlines()
    (over,) = [line for line in lines if line.startswith("OVER BUDGET")]
    again = "`collab backfill --from 2025-10-01 --to 2025-12-31`"
    assert over.startswith("OVER BUDGET backfill on openalex-api of ")
    assert over.endswith(f"; {again}")
    assert [line for line in lines if line.startswith("PARTLY")] == [
        f"PARTLY FETCHED 2025-11; the next night or {again} goes on from there"
    ]
    monkeypatch.setenv("COLLAB_OPENALEX_DAILY_CREDITS", "100")
    with_night(run_night, directly, asked)
    assert "BUDGET" not in status_of(settings)[1]
