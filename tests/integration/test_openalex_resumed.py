"""Nights on the live API that were killed half-way: the next one goes on, and pays for nothing twice."""

from __future__ import annotations

from datetime import date, timedelta
from functools import partial

import pytest

import tasks.batches.batch as batches
import tasks.sources.openalex_client as clients
from schemas.errors import SourceError
from tasks.landing.harvest import ApiIntake
from tasks.night import Night
from tests.commands import status_of
from tests.factory import OFF_TOPIC, author, proven, stored
from tests.nights import FEW, TODAY, dated, night

pytestmark = pytest.mark.usefixtures("unpublished")


def kill_before_load(settings, monkeypatch) -> None:
    """A run that is killed when its first window is landed, and before that is loaded."""

    def die(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(batches, "load", die)
        night(settings)


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

    kill_before_load(settings, monkeypatch)
    asked = [call.params["filter"] for call in server.calls]
    night(settings, TODAY + timedelta(days=1))
    assert len(stored(settings)) == 30
    asked_in_all = [call.params["filter"] for call in server.calls]
    assert [one for one in asked if asked_in_all.count(one) > 1] == []


def test_a_landing_of_a_warehouse_that_was_removed_is_not_taken_for_ours(api, settings_of, monkeypatch, tmp_path):
    server = api([*FEW, dated(7, "2026-11-05", primary_topic=OFF_TOPIC)])
    file = tmp_path / "warehouse.duckdb"
    url = f"duckdb:///{file}"

    kill_before_load(settings_of(server, warehouse_url=url), monkeypatch)
    file.unlink()
    anew = settings_of(server, scope="all", warehouse_url=url)
    night(anew)
    assert 7 in stored(anew)


def test_status_names_the_command_that_goes_on_with_kept_pages(api, settings_of):
    server = api()
    settings = settings_of(server)
    night(settings)
    for kept in ("2014-03.2026-11-22.r0", "2026-11.2026-11-22.r1", "future.2026-11-22.r1"):
        (settings.harvest / kept).mkdir()
    assert [line for line in status_of(settings)[1].splitlines() if line.startswith("PARTLY")] == [
        f"PARTLY FETCHED {window}; the next night or `collab {command}` goes on from there"
        for window, command in (
            ("2014-03", "backfill --from 2014-03-01 --to 2014-03-01"),
            ("2026-11", "run --source openalex-api"),
            ("future", "run --source openalex-api"),
        )
    ]
    tomorrow = TODAY + timedelta(days=1)
    for more, windows in (({"backfill": (date(2014, 3, 1),) * 2}, ["2014-03"]), ({}, ["2026-11", "future"])):
        with Night(settings, partial(ApiIntake, today=lambda: tomorrow, **more)) as opened:
            assert [window.name for window in opened.plan()][: len(windows)] == windows


def test_two_runs_at_once_one_leaves_with_a_message(api, settings_of):
    server = api()
    settings = settings_of(server)
    with Night(settings, partial(ApiIntake, today=lambda: TODAY)) as first:
        first.plan()
        place = first.intake._place
        with pytest.raises(SourceError, match="another run is fetching"):
            ApiIntake(place)
    night(settings)
