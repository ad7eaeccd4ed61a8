"""Nights on a live API that misbehaves: each fault costs what it touches, and no more."""

from __future__ import annotations

import gzip
import random
from datetime import date, timedelta

import pytest
import sqlalchemy as sa

import tasks.sources.openalex_client as clients
from flows.steps import Summary
from schemas import tables as t
from schemas.errors import SourceError
from tasks.storage.warehouse import Warehouse
from tests.factory import counts, proven, rows, stored
from tests.nights import (
    AUTHORS,
    FEW,
    LISTED,
    NIGHT,
    OCTOBER,
    TODAY,
    WORKS,
    asks_for,
    calls_of,
    dated,
    make_nonsense_of,
    night,
)
from tests.replay import ALL_KINDS, KEY, Faults

pytestmark = pytest.mark.usefixtures("unpublished")


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_faults_change_nothing_but_the_number_of_calls(api, settings_of, tmp_path, seed):
    good, bad = api(), api(faults=Faults(rate=0.25, seed=seed, retry_after=0))
    night(settings_of(good))
    settings = settings_of(bad, home=tmp_path / "bad", openalex_attempts=12)
    night(settings)
    assert {call.fault for call in bad.calls} & set(ALL_KINDS)
    assert proven(settings) == proven(settings_of(good))
    assert bad.credits_used <= 2 * good.credits_used


@pytest.mark.publishes
def test_a_window_that_does_not_come_fails_alone(api, settings_of):
    server = api()

    def break_october(call):
        if asks_for(call, "2026-10"):
            call.fault = "html_500"

    server.before = break_october
    settings = settings_of(server, openalex_attempts=2)
    summary = Summary()
    with pytest.raises(SourceError, match=r"1 of 5 windows could not be fetched: 2026-10: .*500.*run again") as caught:
        night(settings, summary=summary)
    assert caught.value.exit_code == 1
    assert summary.release is not None
    assert stored(settings) == NIGHT - OCTOBER
    server.before = None
    assert counts(night(settings))["new"] == len(OCTOBER)
    assert stored(settings) == NIGHT


def test_windows_that_fail_for_ever_hold_up_no_others(api, settings_of):
    server = api(FEW)
    settings = settings_of(server, openalex_attempts=1)
    night(settings)
    server.put(dated(2000, "2026-11-05"))

    def fail(call):
        if asks_for(call, "2026-08", "2026-09", "2026-10"):
            make_nonsense_of(call)

    server.before = fail
    with pytest.raises(SourceError, match=r"3 of 5 windows could not be fetched: 2026-08, 2026-09, 2026-10: .*400"):
        night(settings, TODAY + timedelta(days=1))
    assert 2000 in stored(settings)


def test_one_work_that_fails_for_ever_holds_up_nothing(api, settings_of):
    server = api([*FEW, dated(11, "2026-11-03", *AUTHORS)])
    settings = settings_of(server, openalex_attempts=2)

    def fail(call):
        if call.path in ("/works/W11", "/works/W1002"):
            call.fault = "html_500"

    server.before = fail
    night(settings)
    assert stored(settings) == set(range(1000, 1030))
    for number in (1002, 1004, 1006, 1008):
        server.remove(number)
    night(settings, TODAY + timedelta(days=1))
    assert counts(night(settings, TODAY + timedelta(days=2)))["applied"] == 3
    assert stored(settings) == set(range(1000, 1030)) - {1004, 1006, 1008}
    server.before = None
    for day in (3, 4):
        night(settings, TODAY + timedelta(days=day))
    assert stored(settings) == {*range(1000, 1030), 11} - {1002, 1004, 1006, 1008}


def test_a_source_that_is_down_is_not_waited_for_all_night(api, settings_of):
    server = api(faults=Faults(rate=1.0, kinds=["html_500"], max_in_a_row=99))
    with pytest.raises(SourceError, match="3 of 5 windows"):
        night(settings_of(server, openalex_attempts=2))
    assert len(server.calls) == 8  # three windows and a last question, twice each


def test_a_list_that_stays_short_is_halved_until_it_agrees(api, settings_of):
    """Spans of more than ten days are cut short, as by a shard that cannot hold their works."""
    server = api()

    def cut(call):
        if call.path == "/works" and call.params.get("cursor") and not call.params["filter"].startswith("ids"):
            span = [part.rsplit(":", 1)[1] for part in call.params["filter"].split(",") if "_publication_date" in part]
            if len(span) == 2 and (date.fromisoformat(span[1]) - date.fromisoformat(span[0])).days > 10:
                call.fault = "short_page"

    server.before = cut
    settings = settings_of(server)
    night(settings)
    assert stored(settings) == NIGHT
    with Warehouse.open(settings) as warehouse:
        for row in rows(warehouse, sa.select(t.batch)):
            assert row["source_records"] == row["source_listed"]


def test_a_list_without_end_is_left(api, settings_of, monkeypatch):
    server = api()
    real = clients.OpenAlex.list_works

    def endless(self, query, *, cursor=None, select=None):
        page = real(self, query, cursor="*" if cursor else None, select=select)
        page.meta.next_cursor = "again"
        return page

    monkeypatch.setattr(clients.OpenAlex, "list_works", endless)
    with pytest.raises(SourceError, match="without end"):
        night(settings_of(server))
    assert len(server.calls) < 200  # and not for ever


def test_a_source_that_contradicts_itself_ends_its_window(api, settings_of):
    server = api()

    def cut(call):
        if asks_for(call, "2026-10"):
            call.fault = "short_page"

    server.before = cut
    with pytest.raises(SourceError, match=r"2026-10: OpenAlex says .* holds \d+ works and lists \d+"):
        night(settings_of(server))
    assert len(server.calls) < 600  # halved to single days, and no further


def test_records_that_move_between_pages_are_all_there_in_the_end(api, settings_of):
    works = [dated(1000 + n, "2026-11-05", cited_by_count=n % 7) for n in range(450)]
    server, drawn = api(works), random.Random(7)

    def disturb(call):
        if call.params.get("cursor"):
            for number in drawn.sample(range(450), 3):
                more = {
                    "cited_by_count": drawn.randrange(100),
                    "updated": f"2026-11-22T00:00:{drawn.random() * 59:09.6f}",
                }
                server.put(dated(1000 + number, "2026-11-05", **more))

    server.before = disturb
    settings = settings_of(server)
    with pytest.raises(SourceError, match="2026-11"):  # restless to the end: it says so
        night(settings)
    server.before = None
    night(settings)
    night(settings, TODAY + timedelta(days=1))
    assert stored(settings) == set(range(1000, 1450))
    fresh = settings_of(server, home=settings.home.with_name("fresh"))
    night(fresh)
    assert proven(fresh)["work"] == proven(settings)["work"]
    assert proven(fresh)["pair_year"] == proven(settings)["pair_year"]


def test_hostile_records_are_counted_and_quarantined(api, settings_of):
    odd = dated(2001, "2026-11-05") | {"publication_year": 2999, "title": "a\nb\r\n\u2028c"}
    server = api([*WORKS, odd, dated(2002, "2026-11-05", title="line\nbreak\r\u2028")])
    settings = settings_of(server)
    assert counts(night(settings)) == {"fetched": 264, "new": 263, "quarantined": 1}
    quiet, asked = calls_of(server, lambda: night(settings, TODAY + timedelta(days=1)))
    assert counts(quiet) == {}  # what is held in quarantine is not fetched every night
    assert {call.params.get("select") for call in asked} == {LISTED}


def test_the_key_is_written_nowhere(api, settings_of, caplog):
    server = api(faults=Faults(script=[None, "html_500", "unauthorized"]))
    settings = settings_of(server, warehouse_url=None)
    with caplog.at_level("DEBUG"):
        with pytest.raises(SourceError) as caught:
            night(settings)
        night(settings)
    assert KEY not in caplog.text + str(caught.value) + repr(settings)
    for file in settings.home.rglob("*"):
        if file.is_file():
            raw = file.read_bytes()
            assert KEY.encode() not in raw, file
            if file.suffix == ".gz":
                assert KEY.encode() not in gzip.decompress(raw), file
