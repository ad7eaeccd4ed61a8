"""Definitions that change when the landed records of the live API are gone: months are fetched again, and the warehouse
ends as if it had been loaded by the new ones."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
import sqlalchemy as sa
from rich.console import Console

from flows.show import tables as show
from flows.steps import Summary
from schemas import tables as t
from schemas.errors import BudgetExhausted
from tasks.loading.ledger import REBUILD, changes_since
from tasks.night import Night
from tasks.storage.warehouse import Warehouse
from tests.definitions import OF_TOPIC, forget_records, narrower, rebuild, robotics_too, undecided, wider
from tests.factory import counts, proven, stored
from tests.nights import FEW, LISTED, TODAY, calls_of, dated, night

pytestmark = pytest.mark.usefixtures("unpublished")
FIRST = date(2026, 8, 1)
ADMITTED = [dated(3000 + n, f"2026-{9 + n % 3:02}-11", **OF_TOPIC) for n in range(6)]
LATER = dated(14, "2027-02-01")
LEFT = dated(1000, "2026-09-01", updated="2026-11-01", **OF_TOPIC)  # was stored, then left the scope
STORED = len(FEW) - 1 + 2  # without the one that left, with one before and one after them


def begun(api, settings_of):
    """A warehouse of the live API whose landed records are gone, and the settings of one that is yet to be loaded."""
    server = api([*FEW, *ADMITTED, LATER, dated(13, "2026-08-20")])
    home = settings_of(server).home
    old, new = (settings_of(server, home=home / name) for name in ("old", "new"))
    night(old, TODAY, backfill=(FIRST, TODAY))
    night(old, TODAY)
    server.put(LEFT)
    night(old, TODAY + timedelta(days=1))
    assert len(stored(old)) == STORED
    forget_records(old)
    return server, old, new


def loaded_anew(settings, day) -> dict:
    """What the tables hold after a first backfill and a night."""
    night(settings, day, backfill=(FIRST, TODAY))
    night(settings, day)
    return proven(settings)


def test_a_rescan_of_the_live_api_decides_what_no_record_was_kept_of(api, settings_of, redefine):
    server, old, new = begun(api, settings_of)
    redefine(wider)
    done = rebuild(old)
    assert (done.records, done.partial) == (0, STORED)
    console = Console(width=400, record=True)
    show.rederived(console, done)
    assert "`collab rescan --source openalex-api`" in console.export_text()
    assert "`collab rescan --source openalex-api` reads 5 months again" in undecided(old)
    day = TODAY + timedelta(days=1)
    summary, asked = calls_of(server, lambda: night(old, day, rescan_days=7))
    assert not any(call.params.get("select") == LISTED for call in asked)
    assert counts(summary)["new"] == len(ADMITTED) + 1  # with the one that had left
    assert counts(summary)["updated"] == STORED
    assert undecided(old) == ""
    assert proven(old) == loaded_anew(new, day)
    with Warehouse.open(old) as warehouse, warehouse.reading() as conn:
        (last,) = conn.execute(sa.select(sa.func.max(t.batch.c.finished_at)).where(t.batch.c.kind == REBUILD)).one()
        reasons = {row.reason for row in conn.execute(changes_since(last)) if row.papers}
    assert reasons == {"new", "definition"}
    _, asked = calls_of(server, lambda: night(old, day + timedelta(days=1)))
    assert {call.params.get("select") for call in asked if call.path == "/works"} == {LISTED}


@pytest.mark.slow
def test_nights_decide_it_as_its_turn_comes(api, settings_of, redefine):
    _, old, new = begun(api, settings_of)
    redefine(wider)
    rebuild(old)
    old = old.model_copy(update={"openalex_rescan_nights": 3})
    day = TODAY + timedelta(days=1)
    while undecided(old):
        day += timedelta(days=1)
        night(old, day)
    assert day <= TODAY + timedelta(days=4)
    assert proven(old) == loaded_anew(new, day)


@pytest.mark.slow
def test_a_rescan_that_ran_out_of_credits_goes_on_where_it_was(api, settings_of, redefine):
    server, old, new = begun(api, settings_of)
    redefine(wider)
    rebuild(old)
    day, days, fetched = TODAY + timedelta(days=1), 0, 0
    poor = old.model_copy(update={"openalex_daily_credits": 5})
    while undecided(old):
        server.new_day()
        summary = Summary()
        days += 1
        try:
            night(poor, day + timedelta(days=days), summary, rescan_days=7)
        except BudgetExhausted:
            assert undecided(old)
        fetched += counts(summary).get("fetched", 0)
    assert days > 2
    assert fetched == len(FEW) + len(ADMITTED) + 2  # each once
    assert proven(old) == loaded_anew(new, day + timedelta(days=days + 1))


@pytest.mark.slow
def test_pages_that_were_begun_before_are_not_gone_on_with(api, settings_of, redefine):
    """A list of ids and dates, or what was fetched by one, says nothing of works whose date did not change."""
    server, old, new = begun(api, settings_of)
    day = TODAY + timedelta(days=2)
    works = [dated(5000 + n, "2026-10-15") for n in range(150)]
    for work_of_many in works:
        server.put(work_of_many)
    with pytest.raises(BudgetExhausted):
        night(old.model_copy(update={"openalex_daily_credits": 7}), day, rescan_days=1)
    assert list(old.harvest.glob("*/*/*.page"))
    redefine(robotics_too)
    rebuild(old)
    server.new_day()
    night(old, day + timedelta(days=1), rescan_days=7)
    assert undecided(old) == ""
    found, expected = proven(old), loaded_anew(new, day + timedelta(days=1))
    assert expected.pop("seen") != found.pop("seen")  # it remembers the one that left
    assert found == expected


def test_what_was_landed_before_and_not_loaded_is_fetched_anew(api, settings_of, redefine, monkeypatch):
    """It holds what had changed by its date, and would stand for the whole month."""
    server, old, new = begun(api, settings_of)
    server.put(dated(1001, "2026-10-02", updated="2026-11-20"))
    load = Night.load

    def fail(self, batch, *more):
        return 1 / 0 if batch.landing.window == "2026-10" else load(self, batch, *more)

    with monkeypatch.context() as context:
        context.setattr(Night, "load", fail)
        with pytest.raises(ZeroDivisionError):
            night(old, TODAY + timedelta(days=2), rescan_days=1)
    assert list(old.landing.glob("*/2026-10.*"))
    redefine(robotics_too)
    rebuild(old)
    night(old, TODAY + timedelta(days=3), rescan_days=7)
    assert undecided(old) == ""
    found, expected = proven(old), loaded_anew(new, TODAY + timedelta(days=3))
    assert expected.pop("seen") != found.pop("seen")
    assert found == expected


def test_definitions_that_admit_less_empty_a_month_and_no_doubt_stops_them(api, settings_of, redefine):
    server, old, _ = begun(api, settings_of)
    for number in range(100):
        server.put(dated(5000 + number, "2026-10-15"))
    night(old, TODAY + timedelta(days=2))
    forget_records(old)
    assert len(stored(old)) > 100
    redefine(narrower)
    rebuild(old)
    night(old.model_copy(update={"min_volume_share": 0}), TODAY + timedelta(days=2), rescan_days=7)
    assert undecided(old) == ""
    assert stored(old) == set()


def test_windows_without_records_push_none_out(api, settings_of, redefine):
    server = api(FEW)
    settings = settings_of(server, keep_landing=3, undo_days=0)
    night(settings, TODAY)
    for number in range(1, 5):
        night(settings, TODAY + timedelta(days=number))
    assert len(list(settings.landing.glob("*/*"))) == 3  # of the three months that hold works
    redefine(wider)
    done = rebuild(settings)
    assert (done.records, done.partial, done.undecided) == (len(FEW), 0, [])
