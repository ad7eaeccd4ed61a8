"""Nights on the live API, against a replay of it: nothing is lost, and nothing is paid twice."""

from __future__ import annotations

import re
from datetime import date, timedelta
from functools import partial

import pytest
import sqlalchemy as sa

from flows.steps import RunRequest, directly, run_night, with_night
from schemas import tables as t
from schemas.errors import BudgetExhausted, PlanRefused, SourceError
from tasks.harvest import ApiIntake
from tasks.night import Night
from tasks.undo import undo
from tasks.warehouse import Warehouse
from tests.commands import set_environment, status_of
from tests.factory import OFF_TOPIC, author, counts, proven, rows, run, stored, write_snapshot
from tests.nights import FEW, LISTED, NIGHT, TODAY, WORKS, calls_of, dated, night
from tests.real import newest_records
from tests.replay import KEY

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


def test_a_work_that_vanishes_is_missed_twice_before_it_goes(api, settings_of):
    server = api()
    settings = settings_of(server)
    night(settings)
    server.remove(1004)
    server.merge(1005, 1006)
    server.put(dated(1007, "2025-12-24", updated="2026-11-20"))  # moved to a month that no night looks at now
    server.put(dated(1008, "2026-11-09", primary_topic=OFF_TOPIC, updated="2026-11-20"))
    first = night(settings, TODAY + timedelta(days=1))
    assert counts(first)["out_of_scope"] == 1
    assert stored(settings) == NIGHT - {1008}
    same_day = night(settings, TODAY + timedelta(days=1))
    assert "listed" not in counts(same_day)
    second = night(settings, TODAY + timedelta(days=2))
    assert counts(second)["applied"] == 2
    assert stored(settings) == NIGHT - {1004, 1005, 1008}
    with Warehouse.open(settings) as warehouse:
        ledger = t.ledger_of(t.world_year).c
        reasons = rows(
            warehouse,
            sa.select(ledger.reason, sa.func.sum(ledger.papers).label("papers"))
            .where(ledger.policy == "iso", ledger.field == "ai", ledger.reason.in_(["deleted", "out_of_scope"]))
            .group_by(ledger.reason)
            .order_by(ledger.reason),
        )
    assert [(row["reason"], row["papers"]) for row in reasons] == [("deleted", -2), ("out_of_scope", -1)]
    server.put(WORKS[4])  # the same version is back
    third = night(settings, TODAY + timedelta(days=3))
    assert counts(third) == {"fetched": 1, "new": 1}
    assert 1004 in stored(settings)


def test_a_work_that_was_missed_once_and_is_back_stays(api, settings_of):
    server = api()
    settings = settings_of(server)
    night(settings)
    server.remove(1004)
    night(settings, TODAY + timedelta(days=1))
    server.put(WORKS[4])
    assert counts(night(settings, TODAY + timedelta(days=2))) == {}
    server.remove(1004)
    night(settings, TODAY + timedelta(days=3))
    assert 1004 in stored(settings)  # the count of nights began anew
    assert counts(night(settings, TODAY + timedelta(days=4)))["applied"] == 1


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


def test_older_months_take_turns(api, settings_of):
    server = api()
    settings = settings_of(server, openalex_rescan_nights=2)
    assert counts(night(settings, backfill=(date(2024, 1, 1), date(2024, 4, 30)))) == {"fetched": 1, "new": 1}
    server.put(dated(13, "2024-03-01", author("JP"), updated="2026-11-20"))
    found = [counts(night(settings, TODAY + timedelta(days=number))) for number in (1, 2)]
    assert sum(night.get("updated", 0) for night in found) == 1


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


def said(settings) -> list[str]:
    """The lines that status prints."""
    return status_of(settings)[1].splitlines()


def test_status_names_the_command_that_goes_on_with_kept_pages(api, settings_of):
    server = api()
    settings = settings_of(server)
    night(settings)
    for kept in ("2014-03.2026-11-22.r0", "2026-11.2026-11-22.r1", "future.2026-11-22.r1"):
        (settings.harvest / kept).mkdir()
    assert [line for line in said(settings) if line.startswith("PARTLY")] == [
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


def test_status_names_a_backfill_whose_credits_ended_until_it_is_done(api, settings_of, monkeypatch):
    """Between two months no pages are kept, and months before the first that was fetched are no gap."""
    server = api([dated(100 + month, f"2025-{month:02}-01") for month in range(9, 13)])
    settings = settings_of(server, openalex_daily_credits=4)
    set_environment(monkeypatch, settings, "home", "openalex_url", "openalex_daily_credits", "openalex_rate", "workers")
    monkeypatch.setenv("COLLAB_OPENALEX_API_KEY", KEY)
    asked = RunRequest("backfill", "openalex-api", backfill=(date(2025, 10, 1), date(2025, 12, 31)))
    with pytest.raises(BudgetExhausted):
        with_night(run_night, directly, asked)
    lines = said(settings)
    (over,) = [line for line in lines if line.startswith("OVER BUDGET")]
    again = "`collab backfill --from 2025-10-01 --to 2025-12-31`"
    assert over.startswith("OVER BUDGET backfill on openalex-api of ")
    assert over.endswith(f"; {again}")
    assert [line for line in lines if line.startswith("PARTLY")] == [
        f"PARTLY FETCHED 2025-11; the next night or {again} goes on from there"
    ]
    monkeypatch.setenv("COLLAB_OPENALEX_DAILY_CREDITS", "100")
    with_night(run_night, directly, asked)
    assert "BUDGET" not in " ".join(said(settings))


def test_two_runs_at_once_one_leaves_with_a_message(api, settings_of):
    server = api()
    settings = settings_of(server)
    with Night(settings, partial(ApiIntake, today=lambda: TODAY)) as first:
        first.plan()
        place = first.intake._place
        with pytest.raises(SourceError, match="another run is fetching"):
            ApiIntake(place)
    night(settings)


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


def test_a_work_merged_into_one_that_cites_it_is_gone(api, settings_of):
    server = api()
    settings = settings_of(server)
    night(settings)
    citing = dated(1006, "2026-09-07", referenced_works=["https://openalex.org/W1005"], updated="2026-11-20")
    server.put(citing)
    server.merge(1005, 1006)
    for number in (1, 2):
        night(settings, TODAY + timedelta(days=number))
    assert stored(settings) == NIGHT - {1005}


def test_months_that_passed_while_there_were_no_nights_are_looked_at(api, settings_of):
    server = api(FEW)
    settings = settings_of(server)
    night(settings)
    server.put(dated(2000, "2026-12-20"))
    server.put(dated(2001, "2027-01-20"))
    night(settings, TODAY + timedelta(days=210))
    assert {2000, 2001} <= stored(settings)


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


@pytest.mark.slow
def test_what_was_undone_is_neither_asked_for_nor_deleted_each_night_anew(api, settings_of):
    server = api(FEW)
    settings = settings_of(server)
    night(settings)
    before = proven(settings)
    server.remove(1004)
    night(settings, TODAY + timedelta(days=1))
    server.put(dated(1007, "2026-10-08", author("JP"), updated="2026-11-20"))
    night(settings, TODAY + timedelta(days=2))
    assert 1004 not in stored(settings)
    with Warehouse.open(settings) as warehouse:
        of = t.batch.c
        found = rows(warehouse, sa.select(of.batch_id).where(of.updated + of.applied > 0).order_by(of.finished_at))
        undo(warehouse, settings, found[0]["batch_id"], with_later=True)
    assert proven(settings) == before
    for days in (3, 4):
        assert counts(night(settings, TODAY + timedelta(days=days))) == {}
    server.put(dated(1007, "2026-10-08", author("KR"), updated="2026-11-21"))
    assert counts(night(settings, TODAY + timedelta(days=5)))["updated"] == 1
