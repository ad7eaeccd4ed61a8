"""Nights on a live API, a machine or a clock that misbehaves: each fault costs what it touches, and no more."""

from __future__ import annotations

import gzip
import os
import random
import re
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest
import sqlalchemy as sa

import tasks.batch as batches
import tasks.gates as gates
import tasks.sources.openalex_client as clients
from flows.steps import Summary
from schemas import tables as t
from schemas.errors import BudgetExhausted, GateStopped, SourceError
from tasks.status import read_status
from tasks.warehouse import Warehouse, utc_now
from tests.factory import OFF_TOPIC, author, counts, proven, rows, stored
from tests.nights import AUTHORS, FEW, LISTED, NIGHT, TODAY, WORKS, calls_of, dated, night
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
        if "2026-10" in call.params.get("filter", ""):
            call.fault = "html_500"

    server.before = break_october
    settings = settings_of(server, openalex_attempts=2)
    summary = Summary()
    with pytest.raises(SourceError, match=r"1 of 5 windows could not be fetched: 2026-10: .*500.*run again") as caught:
        night(settings, summary=summary)
    assert caught.value.exit_code == 1
    assert summary.release is not None
    assert stored(settings) == {n for n in NIGHT if n < 1000 or (n - 1000) % 3 != 1}
    server.before = None
    assert counts(night(settings))["new"] == 87
    assert len(stored(settings)) == 262


def test_a_source_that_is_down_is_not_waited_for_all_night(api, settings_of):
    server = api(faults=Faults(rate=1.0, kinds=["html_500"], max_in_a_row=99))
    with pytest.raises(SourceError, match="3 of 5 windows"):
        night(settings_of(server, openalex_attempts=2))
    assert len(server.calls) == 8  # three windows and a last question, twice each


def test_a_list_that_stays_short_is_halved_until_it_agrees(api, settings_of):
    """A shard that cannot hold more than 40 works answers right when asked for less."""
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


def test_a_source_that_contradicts_itself_ends_its_window(api, settings_of):
    server = api()

    def cut(call):
        if "2026-10" in call.params.get("filter", ""):
            call.fault = "short_page"

    server.before = cut
    with pytest.raises(SourceError, match=r"2026-10: OpenAlex says .* holds \d+ works and lists \d+"):
        night(settings_of(server))
    assert len(server.calls) < 600


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


def test_what_a_killed_run_fetched_is_not_fetched_again(api, settings_of, monkeypatch, tmp_path):
    works = [dated(1000 + n, "2026-11-05") for n in range(1_230)] + [dated(7, "2026-11-06", *[author("US")] * 130)]
    plenty, server = api(works), api(works)
    night(settings_of(plenty, home=tmp_path / "plenty"))
    settings, real, calls = settings_of(server), clients.OpenAlex._get, []

    def die(self, url, params):
        calls.append(url)
        if len(calls) % 6 == 0:
            raise KeyboardInterrupt
        return real(self, url, params)

    monkeypatch.setattr(clients.OpenAlex, "_get", die)
    kills = 0
    while True:
        try:
            night(settings)
            break
        except KeyboardInterrupt:
            kills += 1
    assert kills >= 3
    assert proven(settings) == proven(settings_of(plenty, home=tmp_path / "plenty"))
    assert len(server.calls) <= len(plenty.calls) + kills


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


def test_hostile_records_are_counted_and_quarantined(api, settings_of):
    odd = dated(2001, "2026-11-05") | {"publication_year": 2999, "title": "a\nb\r\n\u2028c"}
    server = api([*WORKS, odd, dated(2002, "2026-11-05", title="line\nbreak\r\u2028")])
    settings = settings_of(server)
    assert counts(night(settings)) == {"fetched": 264, "new": 263, "quarantined": 1}
    quiet, asked = calls_of(server, lambda: night(settings, TODAY + timedelta(days=1)))
    assert counts(quiet) == {}  # what is held in quarantine is not fetched every night
    assert {call.params.get("select") for call in asked} == {LISTED}


def test_an_index_that_lost_much_is_not_believed(api, settings_of):
    """Half of the works gone, from lists and singles, two nights long: nothing is removed, and the run is red."""
    server = api()
    settings = settings_of(server)
    night(settings)
    for n in range(1000, 1260, 2):
        server.remove(n)
    with Warehouse.open(settings) as warehouse:
        before = rows(warehouse, sa.select(sa.func.count()).select_from(t.work))
    for number in (1, 2):
        with pytest.raises(
            SourceError, match=r"no longer lists 43 of 87 stored works .*COLLAB_MAX_VANISHED_SHARE"
        ) as caught:
            night(settings.model_copy(update={"max_vanished_share": 0.05}), TODAY + timedelta(days=number))
        assert len(server.calls) < 100
    with Warehouse.open(settings) as warehouse:
        assert rows(warehouse, sa.select(sa.func.count()).select_from(t.work)) == before
    assert "could not be fetched" in str(caught.value)
    for n in range(0, 260, 2):
        server.put(WORKS[n])
    assert counts(night(settings, TODAY + timedelta(days=3))) == {}


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
    assert len(server.calls) < 200


def test_a_work_that_is_listed_has_not_vanished(api, settings_of):
    """Neither when singles answer 404 for what lists hold, nor when it comes back in the night that would remove it."""
    server = api([*FEW, dated(11, "2026-11-03", *AUTHORS)])
    settings = settings_of(server)
    night(settings)
    server.put(dated(11, "2026-11-03", *AUTHORS, author("DE"), updated="2026-11-23T05:00:00"))
    server.remove(1004)

    def lose_singles(call):
        if call.path.startswith("/works/W"):
            call.path = "/nothing"

    server.before = lose_singles
    left_out = night(settings, TODAY + timedelta(days=1))
    assert {r.rule for found in left_out.results.values() for r in found if r.success is False} == {"works_left_out"}

    def bring_back(call):
        if call.path == "/works":
            server.put(FEW[4])

    server.before = bring_back
    second = night(settings, TODAY + timedelta(days=2))
    assert counts(second) == {"fetched": 1, "updated": 1}  # the work with 121 authors
    assert stored(settings) == {*range(1000, 1030), 11}


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


@pytest.mark.parametrize(("wrong", "sync"), [(date(2031, 1, 1), "updated"), (date(2027, 1, 21), "publication")])
def test_a_night_on_a_clock_that_was_ahead_hides_nothing(api, settings_of, wrong, sync):
    server = api(FEW, plan="premium")
    settings = settings_of(server, openalex_sync=sync, openalex_window_days=400)
    night(settings, wrong)
    server.put(dated(2000, "2026-11-05", updated="2026-11-22"))
    night(settings, TODAY + timedelta(days=1))
    assert 2000 in stored(settings)


def test_windows_that_fail_for_ever_hold_up_no_others(api, settings_of):
    server = api(FEW)
    settings = settings_of(server, openalex_attempts=1)
    night(settings)
    server.put(dated(2000, "2026-11-05"))

    def fail(call):
        if re.search("from_publication_date:2026-(08|09|10)-01", call.params.get("filter", "")):
            call.params["filter"] = "nonsense:1"  # a question that is refused

    server.before = fail
    with pytest.raises(SourceError, match=r"3 of 5 windows could not be fetched: 2026-08, 2026-09, 2026-10: .*400"):
        night(settings, TODAY + timedelta(days=1))
    assert 2000 in stored(settings)


def test_a_gate_stops_its_window_alone(api, settings_of, monkeypatch):
    server = api(FEW)
    settings, real = settings_of(server), gates.window_gates

    def doubt(conn, landing, settings):
        found = real(conn, landing, settings)
        return [
            replace(gate, observed=1.0) if landing.window == "2026-09" and gate.severity == "stop" else gate
            for gate in found
        ]

    monkeypatch.setattr(batches, "window_gates", doubt)
    with pytest.raises(GateStopped, match="window_complete is 1"):
        night(settings)
    assert len(stored(settings)) == 20
    noon = datetime.combine(TODAY, time(12), UTC).timestamp()
    for landed in settings.landing.glob("*/*/manifest.json"):
        os.utime(landed, (noon, noon))  # the day of the night, whatever day it is here
    asked = len(server.calls)
    with pytest.raises(GateStopped):  # the same day: what was fetched is judged again, and nothing is paid
        night(settings)
    assert len(server.calls) == asked
    monkeypatch.setattr(batches, "window_gates", real)
    night(settings)
    assert len(stored(settings)) == 30


def test_a_window_stopped_half_way_is_named_whatever_was_loaded_after_it(api, settings_of, monkeypatch):
    server = api(FEW)
    settings, real = settings_of(server, batch_works=6), gates.window_gates
    of = t.batch.c

    def doubt(conn, landing, settings):
        is_second = conn.scalar(sa.select(sa.func.count()).where(of.window_name == "2026-09"))
        return [
            replace(gate, observed=1.0)
            if is_second and landing.window == "2026-09" and gate.severity == "stop"
            else gate
            for gate in real(conn, landing, settings)
        ]

    monkeypatch.setattr(batches, "window_gates", doubt)
    with pytest.raises(GateStopped) as caught:
        night(settings)
    assert len(stored(settings)) == 26
    with Warehouse.open(settings) as warehouse, warehouse.reading() as conn:
        found = read_status(conn, settings, utc_now())
    assert [line.partition(":")[0] for line in found.stopped] == [caught.value.batch_id]
    assert found.unfinished == [caught.value.batch_id.rpartition("/")[0]]


def test_a_night_that_a_gate_stopped_names_all_else_that_is_missing(api, settings_of, monkeypatch):
    server = api(FEW)
    settings, real = settings_of(server), gates.window_gates

    def doubt(conn, landing, settings):
        found, is_doubted = real(conn, landing, settings), landing.window in ("2026-09", "2026-10")
        return [replace(gate, observed=1.0) if is_doubted and gate.severity == "stop" else gate for gate in found]

    def fail(call):
        if "from_publication_date:2026-11-01" in call.params.get("filter", ""):
            call.params["filter"] = "nonsense:1"  # a question that is refused

    monkeypatch.setattr(batches, "window_gates", doubt)
    server.before = fail
    with pytest.raises(GateStopped) as caught:
        night(settings)
    said = caught.value.message
    assert sorted(re.findall(r"batch openalex-api/(2026-\d\d)\S* stopped: ", said)) == ["2026-09", "2026-10"]
    assert "windows could not be fetched: 2026-11: " in said
    assert caught.value.batch_id in said.split(" stopped: ")[0]  # what can be looked at is the first


def test_a_damaged_page_and_a_cursor_that_is_good_no_more_are_fetched_anew(api, settings_of, monkeypatch):
    server = api([dated(1000 + n, "2026-11-05") for n in range(450)])
    settings, real = settings_of(server, openalex_window_days=0), clients.OpenAlex.list_works
    kept = settings.harvest / f"2026-11.{TODAY}.r0" / "ai-subfield-0"

    def die(self, query, *, cursor=None, select=None):
        if cursor == "*" or server.credits_used % 3:
            return real(self, query, cursor=cursor, select=select)
        raise KeyboardInterrupt

    def stop() -> None:
        monkeypatch.setattr(clients.OpenAlex, "list_works", die)
        with pytest.raises(KeyboardInterrupt):
            night(settings)
        monkeypatch.setattr(clients.OpenAlex, "list_works", real)

    stop()
    page = kept / "000001.page"
    page.write_bytes(page.read_bytes()[:-9])
    server.before = lambda call: call.params.update(cursor="bm8=") if call.params.get("cursor", "*") != "*" else None
    with pytest.raises(SourceError, match=r"400.*begun anew"):
        night(settings)
    server.before = None
    night(settings)
    assert len(stored(settings)) == 450


def test_a_landing_that_was_not_loaded_is_not_paid_for_again(api, settings_of, monkeypatch):
    server = api(FEW)
    settings = settings_of(server)

    def die(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(batches, "load", die)
        with pytest.raises(KeyboardInterrupt):
            night(settings)
    asked = [call.params["filter"] for call in server.calls]
    night(settings, TODAY + timedelta(days=1))
    assert len(stored(settings)) == 30
    assert {
        filter_ for filter_ in asked if [call.params["filter"] for call in server.calls].count(filter_) > 1
    } == set()


def test_singles_that_are_charged_stay_within_the_limit(api, settings_of):
    server = api([dated(n, "2026-11-05", *AUTHORS) for n in range(1, 60)])
    settings, real = settings_of(server, openalex_daily_credits=20), clients.OpenAlex._get
    charged = []

    def charge(self, url, params):
        answer = real(self, url, params)
        if "/works/W" not in url:
            return answer
        charged.append(url)
        return answer._replace(headers={**answer.headers, "X-RateLimit-Credits-Used": "1"})

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(clients.OpenAlex, "_get", charge)
        with pytest.raises(BudgetExhausted):
            night(settings)
    assert len(charged) + server.credits_used <= 21


def test_a_landing_of_a_warehouse_that_was_removed_is_not_taken_for_ours(api, settings_of, monkeypatch, tmp_path):
    server = api([*FEW, dated(7, "2026-11-05", primary_topic=OFF_TOPIC)])
    file = tmp_path / "warehouse.duckdb"
    url = f"duckdb:///{file}"

    def die(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(batches, "load", die)
        with pytest.raises(KeyboardInterrupt):
            night(settings_of(server, warehouse_url=url))
    file.unlink()
    anew = settings_of(server, scope="all", warehouse_url=url)
    night(anew)
    assert 7 in stored(anew)
