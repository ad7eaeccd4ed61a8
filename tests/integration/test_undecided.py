"""Definitions that change when landed records are gone: what the source still has is read again, and the warehouse ends
as if it had been loaded by them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from functools import partial

import pytest
import sqlalchemy as sa
from rich.console import Console

import tasks.definitions as definitions
import tasks.derive as derive
import tasks.harvest as harvest
import tasks.rederive as rederiving
import tasks.warehouse as warehouses
from flows import show
from flows.progress import Lines
from flows.steps import Summary, directly, run_night
from schemas import tables as t
from schemas.errors import BudgetExhausted
from schemas.fields import Definitions, load_definitions
from tasks import gates
from tasks.intake import SnapshotIntake
from tasks.ledger import REBUILD, changes_since
from tasks.night import Night
from tasks.rederive import Rederived, rederive
from tasks.retention import prune
from tasks.warehouse import Warehouse
from tests.commands import status_of
from tests.factory import OFF_TOPIC, counts, proven, run, stored, work, write_snapshot
from tests.lists import bring, paper, write_list
from tests.nights import FEW, LISTED, TODAY, calls_of, dated, night

FIRST = date(2026, 8, 1)
pytestmark = pytest.mark.usefixtures("unpublished")

OF_TOPIC = {"primary_topic": OFF_TOPIC, "topics": [OFF_TOPIC]}
ADMITTED = [dated(3000 + n, f"2026-{9 + n % 3:02}-11", **OF_TOPIC) for n in range(6)]
LATER = dated(14, "2027-02-01")
LEFT = dated(1000, "2026-09-01", updated="2026-11-01", **OF_TOPIC)  # was stored, then left the scope


@pytest.fixture
def change(monkeypatch) -> Callable[[Callable[[Definitions], Definitions]], None]:
    """Puts other definitions in the place of ours."""

    def put(changed: Callable[[Definitions], Definitions]) -> None:
        ours = changed(load_definitions())
        for module in (derive, harvest):
            monkeypatch.setattr(module, "load_definitions", lambda: ours)
        for module in (definitions, rederiving, warehouses):
            for name in ("counting_digest", "classifying_digest"):
                monkeypatch.setattr(module, name, lambda: changed.__name__, raising=False)

    return put


def wider(ours: Definitions) -> Definitions:
    """One subfield more is admitted, and what was admitted before is robotics as well."""
    admits = replace(ours.fields[0].rules[0], values=("1702", "2105"))
    robots = next(field for field in ours.fields if field.id == "robotics")
    robotics = replace(robots, rules=(replace(robots.rules[0], values=("T10028",)), *robots.rules[1:]))
    ai = replace(ours.fields[0], rules=(admits, *ours.fields[0].rules[1:]))
    return replace(ours, fields=(ai, *(robotics if field is robots else field for field in ours.fields[1:])))


def robotics_too(ours: Definitions) -> Definitions:
    """The same works are admitted, and what was admitted before is robotics as well."""
    return replace(wider(ours), fields=(ours.fields[0], *wider(ours).fields[1:]))


def soup_too(ours: Definitions) -> Definitions:
    """Soup is robotics."""
    robots = next(field for field in ours.fields if field.id == "robotics")
    title = next(rule for rule in robots.rules if rule.kind == "title")
    robotics = replace(robots, rules=(replace(title, values=("soup",), hints=("soup",)),))
    return replace(ours, fields=tuple(robotics if field is robots else field for field in ours.fields))


def narrower(ours: Definitions) -> Definitions:
    """All topics but one are left out."""
    ai = replace(ours.fields[0], exclude_topics=frozenset({*ours.fields[0].exclude_topics, "T10028"}))
    return replace(ours, fields=(ai, *ours.fields[1:]))


def forget_records(settings) -> None:
    with Warehouse.open(settings) as warehouse:
        prune(warehouse, settings.model_copy(update={"keep_landing": 0, "undo_days": 0}))
    assert list(settings.landing.glob("*/*")) == []


def rebuild(settings) -> Rederived:
    with Warehouse.open(settings, any_definitions=True) as warehouse:
        return rederive(warehouse, settings)


def rescan_snapshot(settings, summary: Summary | None = None) -> Summary:
    summary = summary or Summary()
    with Night(settings, partial(SnapshotIntake, is_rescan=True)) as opened:
        run_night(opened, directly, Lines(), summary)
    return summary


def said(settings) -> str:
    """The lines of `collab status` about it, which make it red; empty if nothing is left."""
    found, text = status_of(settings)
    lines = [line for line in text.splitlines() if line.startswith("OLDER DEFINITIONS")]
    assert len(lines) == len(found.undecided)
    assert not (lines and found.is_good)
    assert lines or not found.partial
    return "\n".join(lines)


def begun(api, settings_of):
    """A warehouse of the live API whose landed records are gone, and the settings of one that is yet to be loaded."""
    server = api([*FEW, *ADMITTED, LATER, dated(13, "2026-08-20")])
    old, new = (settings_of(server, home=server_home) for server_home in homes(settings_of, server))
    night(old, TODAY, backfill=(FIRST, TODAY))
    night(old, TODAY)
    server.put(LEFT)
    night(old, TODAY + timedelta(days=1))
    assert len(stored(old)) == len(FEW) - 1 + 2
    forget_records(old)
    return server, old, new


def homes(settings_of, server):
    home = settings_of(server).home
    return home / "old", home / "new"


def loaded_anew(settings, day) -> dict:
    night(settings, day, backfill=(FIRST, TODAY))
    night(settings, day)
    return proven(settings)


def test_a_rescan_of_the_live_api_decides_what_no_record_was_kept_of(api, settings_of, change):
    server, old, new = begun(api, settings_of)
    change(wider)
    done = rebuild(old)
    assert (done.records, done.partial) == (0, len(FEW) - 1 + 2)
    console = Console(width=400, record=True)
    show.rederived(console, done)
    assert "`collab rescan --source openalex-api`" in console.export_text()
    assert "`collab rescan --source openalex-api` reads 5 months again" in said(old)
    day = TODAY + timedelta(days=1)
    summary, asked = calls_of(server, lambda: night(old, day, rescan_days=7))
    assert not any(call.params.get("select") == LISTED for call in asked)
    assert counts(summary)["new"] == len(ADMITTED) + 1  # with the one that had left
    assert counts(summary)["updated"] == len(FEW) - 1 + 2
    assert said(old) == ""
    assert proven(old) == loaded_anew(new, day)
    with Warehouse.open(old) as warehouse, warehouse.reading() as conn:
        (last,) = conn.execute(sa.select(sa.func.max(t.batch.c.finished_at)).where(t.batch.c.kind == REBUILD)).one()
        reasons = {row.reason for row in conn.execute(changes_since(last)) if row.papers}
    assert reasons == {"new", "definition"}
    _, asked = calls_of(server, lambda: night(old, day + timedelta(days=1)))
    assert {call.params.get("select") for call in asked if call.path == "/works"} == {LISTED}


@pytest.mark.slow
def test_nights_decide_it_as_its_turn_comes(api, settings_of, change):
    _, old, new = begun(api, settings_of)
    change(wider)
    rebuild(old)
    old = old.model_copy(update={"openalex_rescan_nights": 3})
    day = TODAY + timedelta(days=1)
    while said(old):
        day += timedelta(days=1)
        night(old, day)
    assert day <= TODAY + timedelta(days=4)
    assert proven(old) == loaded_anew(new, day)


@pytest.mark.slow
def test_a_rescan_that_ran_out_of_credits_goes_on_where_it_was(api, settings_of, change):
    server, old, new = begun(api, settings_of)
    change(wider)
    rebuild(old)
    day, days, fetched = TODAY + timedelta(days=1), 0, 0
    poor = old.model_copy(update={"openalex_daily_credits": 5})
    while said(old):
        server.new_day()
        summary = Summary()
        days += 1
        try:
            night(poor, day + timedelta(days=days), summary, rescan_days=7)
        except BudgetExhausted:
            assert said(old)
        fetched += counts(summary).get("fetched", 0)
    assert days > 2
    assert fetched == len(FEW) + len(ADMITTED) + 2  # each once
    assert proven(old) == loaded_anew(new, day + timedelta(days=days + 1))


@pytest.mark.slow
def test_pages_that_were_begun_before_are_not_gone_on_with(api, settings_of, change):
    """A list of ids and dates, or what was fetched by one, says nothing of works whose date did not change."""
    server, old, new = begun(api, settings_of)
    day = TODAY + timedelta(days=2)
    works = [dated(5000 + n, "2026-10-15") for n in range(150)]
    for work_of_many in works:
        server.put(work_of_many)
    with pytest.raises(BudgetExhausted):
        night(old.model_copy(update={"openalex_daily_credits": 7}), day, rescan_days=1)
    assert list(old.harvest.glob("*/*/*.page"))
    change(robotics_too)
    rebuild(old)
    server.new_day()
    night(old, day + timedelta(days=1), rescan_days=7)
    assert said(old) == ""
    found, expected = proven(old), loaded_anew(new, day + timedelta(days=1))
    assert expected.pop("seen") != found.pop("seen")  # it remembers the one that left
    assert found == expected


def test_what_was_landed_before_and_not_loaded_is_fetched_anew(api, settings_of, change, monkeypatch):
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
    change(robotics_too)
    rebuild(old)
    night(old, TODAY + timedelta(days=3), rescan_days=7)
    assert said(old) == ""
    found, expected = proven(old), loaded_anew(new, TODAY + timedelta(days=3))
    assert expected.pop("seen") != found.pop("seen")
    assert found == expected


def test_definitions_that_admit_less_empty_a_month_and_no_doubt_stops_them(api, settings_of, change):
    server, old, _ = begun(api, settings_of)
    for number in range(100):
        server.put(dated(5000 + number, "2026-10-15"))
    night(old, TODAY + timedelta(days=2))
    forget_records(old)
    assert len(stored(old)) > 100
    change(narrower)
    rebuild(old)
    night(old.model_copy(update={"min_volume_share": 0}), TODAY + timedelta(days=2), rescan_days=7)
    assert said(old) == ""
    assert stored(old) == set()


DAYS = {
    "2026-01-01": [work(n) for n in range(100, 120)],
    "2026-01-02": [work(140, **OF_TOPIC), work(141), work(100, updated="2026-01-02")],
    "2026-01-03": [work(142, **OF_TOPIC), work(101, updated="2026-01-03", **OF_TOPIC)],
    "2026-01-04": [work(143, **OF_TOPIC)],
    "2026-01-05": [work(144)],
}


def copied(tmp_path, settings_for, days=DAYS):
    """A warehouse of a snapshot whose landed records are gone, and the settings of one that is yet to be loaded."""
    root = write_snapshot(tmp_path / "s", days)
    old, new = (settings_for(root, scope="ai", home=tmp_path / name, batch_works=10) for name in ("old", "new"))
    run(old)
    forget_records(old)
    return old, new


def test_a_rescan_of_a_snapshot_reads_every_part_again(tmp_path, settings_for, change):
    old, new = copied(tmp_path, settings_for)
    assert counts(rescan_snapshot(old)) == {}  # nothing to do, as long as definitions stay
    change(wider)
    assert rebuild(old).partial == 21
    assert "at most 21 works" in said(old)
    assert "`collab rescan` reads 5 parts again" in said(old)
    run(old)  # a night reads the last dates again, and not the others
    assert "`collab rescan` reads 3 parts again" in said(old)
    rescan_snapshot(old)
    assert said(old) == ""
    run(new)
    assert proven(old) == proven(new)
    assert stored(new) == {*range(100, 120), *range(140, 145)}
    assert counts(rescan_snapshot(old)) == {}


@pytest.mark.publishes
def test_a_release_says_what_is_undecided(tmp_path, settings_for, change):
    old, _ = copied(tmp_path, settings_for)

    def told() -> dict:
        found = json.loads((old.published / "current" / "manifest.json").read_bytes())["definitions"]
        return {name: found[name] for name in ("partial", "undecided")}

    change(wider)
    rebuild(old)
    run(old)
    assert told() == {"partial": 21, "undecided": ["openalex"]}
    rescan_snapshot(old)
    assert told() == {"partial": 0, "undecided": []}


@pytest.mark.parametrize(("committed", "left"), [pytest.param(1, 5, marks=pytest.mark.slow), (2, 4)])
def test_a_rescan_of_a_snapshot_that_was_killed_goes_on_where_it_was(
    committed, left, tmp_path, settings_for, change, monkeypatch
):
    old, new = copied(tmp_path, settings_for)
    change(wider)
    rebuild(old)
    summary = Summary()
    load, loads = Night.load, iter(range(100))
    with monkeypatch.context() as context:
        context.setattr(Night, "load", lambda *args: load(*args) if next(loads) < committed else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            rescan_snapshot(old, summary)
    assert f"`collab rescan` reads {left} parts again" in said(old)
    fetched = counts(summary)["fetched"] + counts(rescan_snapshot(old))["fetched"]
    assert fetched == sum(map(len, DAYS.values()))
    assert said(old) == ""
    run(new)
    assert proven(old) == proven(new)


def test_a_part_that_the_snapshot_does_not_hold_any_more_is_not_waited_for(tmp_path, settings_for, change):
    old, _ = copied(tmp_path, settings_for)
    moved = {**DAYS, "2026-01-06": [work(143, updated="2026-01-06", **OF_TOPIC)]}
    del moved["2026-01-04"]
    shutil.rmtree(tmp_path / "s")
    write_snapshot(tmp_path / "s", moved)
    change(wider)
    rebuild(old)
    rescan_snapshot(old)
    assert said(old) == ""
    assert stored(old) == {*range(100, 120), *range(140, 145)}


def test_a_part_that_is_loaded_anew_rewrites_nothing(tmp_path, settings_for, change, monkeypatch):
    """Gates watch sources: the same version of a work, classed otherwise, is a change of ours."""
    monkeypatch.setattr(gates, "FEWEST_WORKS", 5)
    monkeypatch.setattr(gates, "FEWEST_BATCHES", 3)
    days = {f"2026-01-{n:02}": [work(n * 10 + k) for k in range(6)] for n in range(1, 5)}
    root = write_snapshot(tmp_path / "s", days)
    settings = settings_for(root, scope="ai", max_rewritten_share=0.01, batch_works=6)
    run(settings)
    forget_records(settings)
    change(wider)
    rebuild(settings)
    summary = rescan_snapshot(settings)
    assert counts(summary) == {"fetched": 24, "updated": 24}
    judged = [one for found in summary.results.values() for one in found if one.rule == "rewritten_share"]
    assert {(one.observed, one.success) for one in judged} == {("0", True)}


def test_a_list_is_read_again_when_it_is_brought(tmp_path, settings_for, change):
    file = write_list(tmp_path / "list.jsonl", [paper(1, title="Soup"), paper(2)])
    settings = settings_for()
    bring(settings, file)
    bring(settings, write_list(tmp_path / "other.jsonl", [paper(3)]), "other")
    shutil.rmtree(settings.landing / "venue-list")
    change(soup_too)
    assert rebuild(settings).partial == 3
    assert "`collab run --source venue-list --corpus venues` reads its lists again" in said(settings)
    assert counts(bring(settings, file, publish=True)) == {"fetched": 2, "updated": 1, "unchanged": 1}
    assert counts(bring(settings, file, publish=True)) == {}
    assert "--corpus other" in said(settings)
    bring(settings, tmp_path / "other.jsonl", "other", publish=True)
    assert said(settings) == ""


def test_what_is_on_disk_still_needs_no_second_look(tmp_path, settings_for, change):
    settings = settings_for(write_snapshot(tmp_path / "s", DAYS), scope="ai")
    run(settings)
    change(wider)
    done = rebuild(settings)
    assert (done.partial, done.undecided) == (0, [])
    assert stored(settings) == {*range(100, 120), *range(140, 145)}
    assert counts(rescan_snapshot(settings)) == {}


def test_windows_without_records_push_none_out(api, settings_of, change):
    server = api(FEW)
    settings = settings_of(server, keep_landing=3, undo_days=0)
    night(settings, TODAY)
    for number in range(1, 5):
        night(settings, TODAY + timedelta(days=number))
    assert len(list(settings.landing.glob("*/*"))) == 3  # of the three months that hold works
    change(wider)
    done = rebuild(settings)
    assert (done.records, done.partial, done.undecided) == (len(FEW), 0, [])
