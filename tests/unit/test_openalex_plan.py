"""Which windows a night asks for, and with which filters."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import UsageError
from schemas.fields import Field, Rule, load_definitions
from tasks.sources.openalex_api import (
    FUTURE,
    UNDATED,
    UPDATED,
    Query,
    Slice,
    Sweep,
    bounds_of,
    calls_for,
    join_months,
    months_between,
    plan_all,
    plan_backfill,
    plan_night,
    plan_rescan,
    plan_updated,
    queries_of,
    refuse_unless_past,
)
from tests.factory import work
from tests.replay.facts import facts_of
from tests.replay.filters import parse_filter

TODAY = date(2026, 11, 22)
ALL = Query("all", "")


def names(windows):
    return [window.name for window in windows]


def night(today=TODAY, stored=(), swept=None, begun=(), days=90, nights=30):
    found = {name: Sweep(day, 1) for name, day in (swept or {}).items()}
    months = dict.fromkeys(stored, 1)
    return plan_night(today, months, found, frozenset(begun), window_days=days, rescan_nights=nights)


def test_filters_come_from_the_admitting_rules():
    assert queries_of(load_definitions(), "ai") == [
        (
            "ai-subfield-0",
            "primary_topic.subfield.id:1702|1707,"
            "primary_topic.id:!T10020,primary_topic.id:!T10126,primary_topic.id:!T10237",
        ),
        (
            "ai-topic-0",
            "primary_topic.id:T10191|T10203|T10462,"
            "primary_topic.id:!T10020,primary_topic.id:!T10126,primary_topic.id:!T10237",
        ),
    ]
    assert queries_of(load_definitions(), "all") == [ALL]


def test_more_than_a_hundred_values_are_split():
    topics = tuple(f"T{number}" for number in range(10_000, 10_250))
    field = Field("ai", "AI", True, (Rule("t", "topic", topics, "test"),), frozenset())
    definitions = type(load_definitions())("1", (field,))
    found = queries_of(definitions, "ai")
    values = [query.filter.removeprefix("primary_topic.id:").split("|") for query in found]
    assert [len(some) for some in values] == [100, 100, 50]
    assert sorted(value for some in values for value in some) == sorted(topics)
    assert len({query.name for query in found}) == 3


def test_a_night_looks_at_the_newest_dates_and_the_future():
    found = night()
    assert names(found) == ["2026-08", "2026-09", "2026-10", "2026-11", FUTURE]
    assert (found[3].first, found[3].last) == (date(2026, 11, 1), date(2026, 11, 30))
    assert (found[-1].first, found[-1].last) == (date(2026, 12, 1), None)
    assert names(night(days=0)) == ["2026-11", FUTURE]


def test_what_was_begun_goes_first_then_what_was_seen_longest_ago():
    swept = {"2026-09": date(2026, 11, 20), "2026-10": date(2026, 11, 21), "2026-11": date(2026, 11, 19)}
    assert names(night(swept=swept, begun=[FUTURE])) == [FUTURE, "2026-08", "2026-11", "2026-09", "2026-10"]


@pytest.mark.parametrize("nights", [1, 7, 30])
@pytest.mark.parametrize("missed", [set(), {5, 6, 7}], ids=["no night is missed", "three are missed"])
def test_every_older_month_is_seen_again_within_the_nights(nights, missed):
    """Also when nights are left out, and when a month comes to be old."""
    stored = [*months_between(date(2019, 3, 1), date(2026, 10, 31)), UNDATED]
    swept: dict[str, date] = {}
    gaps = []
    for number in range(4 * nights + 12):
        today = TODAY + timedelta(days=number)
        if number in missed:
            continue
        windows = night(today, stored, swept, nights=nights)
        for window in windows:
            if window.why == "older dates" and window.name in swept:
                gaps.append((today - swept[window.name]).days)
            swept[window.name] = today
    assert set(stored) <= set(swept)
    assert max(gaps) <= nights + len(missed)


def test_a_window_is_looked_at_once_a_day():
    assert names(night(swept={"2026-09": TODAY, FUTURE: TODAY})) == ["2026-08", "2026-10", "2026-11"]
    swept = {UPDATED: Sweep(TODAY, 3)}
    assert plan_updated(TODAY, TODAY, {UPDATED}, swept, frozenset(), 30) == []


def test_a_second_run_of_a_day_looks_at_no_more_old_months():
    stored = months_between(date(2025, 1, 1), date(2026, 6, 30))
    first = plan_rescan(TODAY, set(stored), {}, frozenset(), 6)
    assert len(first) == 3
    again = plan_rescan(TODAY, set(stored), {w.name: Sweep(TODAY, 5) for w in first}, frozenset(), 6)
    assert again == []


def test_what_a_pause_made_overdue_is_seen_at_once():
    stored = months_between(date(2025, 1, 1), date(2026, 6, 30))
    swept = {name: Sweep(TODAY - timedelta(days=30), 5) for name in stored[:9]}
    swept |= {name: Sweep(TODAY - timedelta(days=29), 5) for name in stored[9:]}
    assert names(plan_rescan(TODAY, set(stored), swept, frozenset(), 30)) == stored[:9]


def test_months_that_came_to_be_old_in_a_pause_are_looked_at():
    """Those from the month of the last night on, unless another run has seen them since."""
    last_night = date(2026, 3, 15)
    found = night(swept={"2026-03": last_night, FUTURE: last_night, "2026-05": date(2026, 6, 1)})
    assert [window.name for window in found if window.why == "missed nights"] == [
        "2026-04",
        "2026-06",
        "2026-07",
        "2026-03",
    ]
    assert names(found).count("2026-08") == 1


def test_what_a_range_costs_and_whether_it_may_be_asked_for():
    assert [calls_for(works, 2) for works in (0, 99, 250)] == [2, 2, 4]
    (whole,) = join_months(plan_backfill(date(2026, 1, 1), date(2026, 3, 31), {}, frozenset()))
    inside, before, after = (
        plan_backfill(bounds_of(month)[0], bounds_of(month)[0], {}, frozenset())[0]
        for month in ("2026-02", "2025-12", "2026-04")
    )
    assert [whole.covers(window) for window in (whole, inside, before, after)] == [True, True, False, False]
    refuse_unless_past(TODAY, TODAY, TODAY)
    for first, last in (
        (TODAY, TODAY + timedelta(days=1)),
        (TODAY, TODAY - timedelta(days=1)),
        (date(1799, 1, 1), TODAY),
    ):
        with pytest.raises(UsageError, match="no range of past dates"):
            refuse_unless_past(first, last, TODAY)


def test_by_date_of_change_there_is_one_window_and_the_rotation():
    found = plan_updated(TODAY, date(2026, 11, 19), {"2020-01", UPDATED, FUTURE}, {}, frozenset(), 30)
    assert names(found) == [UPDATED, "2020-01"]
    assert [part.filter for part in found[0].slices([ALL])] == ["from_updated_date:2026-11-19"]


def test_a_backfill_goes_on_where_it_was():
    swept = {"2014-02": Sweep(TODAY, 9)}
    found = plan_backfill(date(2014, 1, 15), date(2014, 4, 2), swept, frozenset({"2014-01"}))
    assert names(found) == ["2014-01", "2014-04", "2014-03"]
    assert names(join_months(found)) == ["2014-01", "2014-03 to 2014-04"]
    assert plan_backfill(date(2014, 2, 1), date(2014, 2, 2), swept, frozenset()) == []


@given(
    first=st.dates(date(1990, 1, 1), date(2030, 1, 1)),
    length=st.integers(0, 400),
    of=st.builds(
        work,
        st.integers(1, 99),
        publication_date=st.dates(date(1990, 1, 1), date(2031, 2, 5)).map(str),
        doi=st.sampled_from([None, "https://doi.org/10.1234/a"]),
        referenced_works=st.sampled_from([[], ["https://openalex.org/W1"]]),
    ),
)
def test_a_work_is_in_one_half_exactly(first, length, of):
    facts = facts_of(of)
    part = Slice(ALL, first, first + timedelta(days=length))

    def holds(one: Slice) -> bool:
        return all(condition(facts) for condition in parse_filter(one.filter))

    while (halves := part.halves()) is not None:
        inside = [holds(half) for half in halves]
        assert sum(inside) == holds(part)
        part = halves[inside.index(True)] if any(inside) else halves[0]
    assert part.first == part.last


def test_open_ranges_have_halves_too():
    below, above = Slice(ALL).halves()
    assert below.first is None
    assert above.last is None
    assert above.first == below.last + timedelta(days=1)
    half, rest = Slice(ALL, date(2026, 12, 1), None).halves()
    assert half.first == date(2026, 12, 1)
    assert rest.last is None
    assert bounds_of("2024-02") == (date(2024, 2, 1), date(2024, 2, 29))


def test_a_rescan_looks_at_every_month_that_was_not_seen_lately():
    swept = {"2026-10": Sweep(TODAY, 1), "2024-01": Sweep(TODAY - timedelta(days=7), 1)}
    swept |= {"2024-02": Sweep(TODAY - timedelta(days=6), 1), "2024-03": Sweep(TODAY - timedelta(days=90), 1)}
    months = {*swept, "2019-05", UNDATED}
    planned = plan_all(TODAY, months, swept, frozenset({"2024-01"}), 7)
    assert names(planned) == ["2024-01", "2019-05", UNDATED, "2024-03"]
    assert [window.was_seen for window in planned] == [True, False, False, True]
    today = {name: Sweep(TODAY, 1) for name in swept}
    assert plan_all(TODAY, set(swept), today, frozenset(), 7) == []
    assert names(plan_all(TODAY, set(swept), today, frozenset(), 7, {"2024-02"})) == ["2024-02"]
