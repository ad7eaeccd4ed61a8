"""When a year is complete: by the lag of earlier years where it was watched, else 18 months after its end."""

from __future__ import annotations

import datetime

import duckdb
import pytest

from schemas import tables as t
from schemas.indices import VIEWS
from schemas.indices.time import newest_over
from tasks.sources import openalex_api
from tasks.validation.volume import SNAPSHOT_LEFT
from tests.marts import read, sql_type

OF_AI = "FROM mart.completeness WHERE field = 'ai'"


@pytest.fixture
def ledger():
    """A DuckDB with the tables that completeness is computed from."""
    with duckdb.connect() as conn:
        conn.execute("CREATE SCHEMA ops")
        conn.execute("CREATE SCHEMA mart")
        for table in (t.batch, t.metric, t.release, t.ledger_of(t.world_year), t.world_year):
            columns = ", ".join(f"{c.name} {sql_type(c.type)}" for c in table.columns)
            conn.execute(f"CREATE TABLE {table.schema}.{table.name} ({columns})")
        conn.execute(f"CREATE VIEW mart.completeness AS {VIEWS['completeness'].over('mart')}")
        yield conn


def load(ledger, window: str, papers: dict[int, int], source: str = "openalex-snapshot", released: bool = True, **more):
    """A batch that adds papers to years, on the last date of its window's name: in a field and in all, and in the field
    under a second policy."""
    day = datetime.datetime.fromisoformat(window.split(".", maxsplit=1)[0].rsplit("_", maxsplit=1)[-1])
    batch = {"batch_id": window, "source": source, "window_name": window, "kind": "works", "finished_at": day}
    batch |= {"end_record": 5, "window_records": 5} | more
    columns = {c.name: None for c in t.batch.columns} | batch
    ledger.execute(f"INSERT INTO ops.batch VALUES ({', '.join('?' * len(columns))})", list(columns.values()))
    for year, count in papers.items():
        names = [c.name for c in t.ledger_of(t.world_year).columns]
        common = dict.fromkeys(names, 0) | {"corpus": "openalex", "year": year, "batch_id": window, "reason": "new"}
        for policy, field, papers in (("iso", "ai", count), ("greater-china", "ai", count), ("iso", "all", 2 * count)):
            row = list((common | {"policy": policy, "field": field, "papers": papers}).values())
            ledger.execute(f"INSERT INTO ops.world_year_change VALUES ({', '.join('?' * len(names))})", row)
    ledger.execute("DELETE FROM mart.world_year")
    ledger.execute(
        "INSERT INTO mart.world_year BY NAME SELECT corpus, policy, field, year, sum(papers)::BIGINT AS papers"
        " FROM ops.world_year_change GROUP BY ALL"
    )
    if released:
        names = [c.name for c in t.release.columns]
        row = dict.fromkeys(names, window) | {"published_at": day, "withdrawn_at": None}
        ledger.execute(f"INSERT INTO ops.release VALUES ({', '.join('?' * len(names))})", [row[n] for n in names])


def sweep(ledger, *months: str, records: int = 5, day: int = 1):
    """Months of publication of which a night from the live API loaded 5 of so many records."""
    for month in months:
        batch = {"batch_id": f"{month}-{records}", "source": openalex_api.SOURCE, "window_name": month, "kind": "works"}
        batch |= {"finished_at": datetime.datetime(2026, 7, day), "end_record": 5, "window_records": records}
        batch |= {"landing_id": f"{month}.{day}.{records}"}
        columns = {c.name: None for c in t.batch.columns} | batch
        ledger.execute(f"INSERT INTO ops.batch VALUES ({', '.join('?' * len(columns))})", list(columns.values()))


def leave(ledger, window: str, records: int):
    """When a window of a snapshot was taken in, so many records of its other parts were still unread."""
    ledger.execute("INSERT INTO ops.metric VALUES (?, ?, ?, 0)", [window, SNAPSHOT_LEFT, records])


def completeness(ledger) -> dict[int, tuple]:
    return {row["year"]: (row["is_complete"], row["basis"], row["years_observed"]) for row in read(ledger, OF_AI)}


def test_without_a_past_a_year_is_complete_after_18_months(ledger):
    load(ledger, "2018-01-01_2026-07-02.0000", {2023: 100, 2024: 100, 2025: 100, 2026: 50})
    assert completeness(ledger) == {
        2023: (True, "assumed", 0),
        2024: (False, "assumed", 0),
        2025: (False, "assumed", 0),
        2026: (False, "not over", 0),
    }
    load(ledger, "2026-07-03.0000", {2024: 1})
    assert completeness(ledger)[2024] == (True, "assumed", 0)  # 548 days


def test_a_first_load_in_many_windows_says_nothing_of_lag(ledger):
    """Partitions are named by the last change of a work, not by the day it became known."""
    for window, papers in (("2023-01-01.0000", {2021: 1, 2022: 1}), ("2024-06-01.0000", {2021: 99, 2022: 99})):
        load(ledger, window, papers, released=False)
    load(ledger, "2024-07-01.0000", {2023: 50})
    assert {basis for _, basis, _ in completeness(ledger).values()} == {"assumed"}


@pytest.mark.parametrize("day", ["2026-07-02", "2026-07-03", "2026-12-31", "2027-07-02", "2028-07-02", "2028-07-03"])
def test_a_batch_is_held_to_the_same_18_months(ledger, day):
    """The gates count them without the view; 2027 ends on another day of the calendar than 2028, a leap year."""
    load(ledger, f"2018-01-01_{day}.0000", dict.fromkeys(range(2020, 2029), 100))
    done = [year for year, (is_complete, *_) in completeness(ledger).items() if is_complete]
    assert newest_over(datetime.date.fromisoformat(day)) == max(done)


@pytest.mark.parametrize(
    ("late", "later", "is_complete"), [(4, 4, True), (40, 40, False), (0, 10, True), (40, 2, False)]
)
def test_the_lag_of_earlier_years_tells(ledger, late, later, is_complete):
    """90 days after the end of 2022 all but `late` of 100 papers were counted, of 2023 all but `later`; 2024 has been
    over for as long. The median of both tells."""
    load(ledger, "2022-06-01.0000", {2022: 10, 2021: 100})
    load(ledger, "2023-03-31.0000", {2022: 90 - late})
    load(ledger, "2024-01-15.0000", {2022: late, 2023: 60})
    load(ledger, "2024-03-30.0000", {2023: 40 - later})
    load(ledger, "2025-01-15.0000", {2023: later, 2024: 60})
    load(ledger, "2025-04-01.0000", {2024: 40})
    found = completeness(ledger)
    assert found[2024] == (is_complete, "observed", 2)
    assert found[2021] == (True, "assumed", 0)


def test_the_day_after_a_year_is_held_against_that_day_of_the_year_before(ledger):
    """Both were loaded on it, and from it on the corpus is watched."""
    load(ledger, "2023-01-01.0000", {2022: 100})
    load(ledger, "2024-01-01.0000", {2023: 100})
    assert completeness(ledger)[2023] == (True, "observed", 1)


def three_years(ledger, each: int) -> None:
    """Two years of `each` papers, watched since the first was half over, 95 % of them counted 90 days after their end,
    and a year that has been over for 90 days."""
    late = each // 20
    load(ledger, "2022-06-01.0000", {2022: each // 10})
    load(ledger, "2023-03-31.0000", {2022: each - each // 10 - late})
    load(ledger, "2024-01-15.0000", {2022: late, 2023: each // 2})
    load(ledger, "2024-03-30.0000", {2023: each - each // 2 - late})
    load(ledger, "2025-01-15.0000", {2023: late, 2024: each // 2})
    load(ledger, "2025-04-01.0000", {2024: each - each // 2})


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        (100, (True, "observed", 2)),  # exactly the share that is asked for
        (25, (True, "observed", 2)),  # the fewest papers that tell something
        (24, (False, "assumed", 0)),
    ],
)
def test_years_of_few_papers_tell_nothing_of_lag(ledger, each, expected):
    three_years(ledger, each)
    assert completeness(ledger)[2024] == expected


def test_a_corpus_is_watched_from_its_own_first_release(ledger):
    """Not from a release of before it was there: of a list."""
    load(ledger, "2020-01-01", {}, source="venue-list")
    three_years(ledger, 100)
    assert completeness(ledger)[2024] == (True, "observed", 2)


def test_a_retry_of_the_quarantine_is_no_news_of_the_source(ledger):
    load(ledger, "2024-06-01.0000", {2023: 100})
    load(ledger, "2026-06-01", {2023: 1}, source="quarantine")
    (row,) = read(ledger, OF_AI)
    assert (row["papers"], row["as_of"]) == (101, datetime.date(2024, 6, 1))


def test_an_undo_counts_from_its_own_day_though_it_names_a_window_of_another(ledger):
    """100 of the 150 papers of 2022 that were counted at its end were taken back a year later, and came again."""
    load(ledger, "2022-06-01.0000", {2022: 50})
    load(ledger, "2022-07-01.0000", {2022: 100})
    undone = {"kind": "undo", "window_name": "openalex-snapshot/2022-07-01.0000.20220701/00000000"}
    load(ledger, "2024-01-05", {2022: -100}, source="warehouse", **undone)
    load(ledger, "2024-01-06.0000", {2022: 100, 2023: 100})
    assert completeness(ledger)[2023] == (True, "observed", 1)


def test_a_year_of_which_a_month_was_never_fetched_is_not_complete(ledger):
    load(ledger, "2026-07-01", {2022: 100, 2023: 40, 2025: 9}, source=openalex_api.SOURCE)
    sweep(ledger, *(f"2022-{month:02d}" for month in range(1, 13)), *(f"2023-{month:02d}" for month in range(2, 13)))
    sweep(ledger, "2023-01", records=9)  # fetched in part
    load(ledger, "2026-07-02", {2023: 1}, source="quarantine")  # which is no other source of the corpus
    not_fetched = (False, "not fetched", 0)
    assert completeness(ledger) == {2022: (True, "assumed", 0), 2023: not_fetched, 2025: not_fetched}
    sweep(ledger, "2023-01")
    assert completeness(ledger)[2023] == (True, "assumed", 0)


def test_a_snapshot_brings_every_year_whatever_the_api_was_asked_for(ledger):
    load(ledger, "2026-06-01.0000", {2023: 100})
    load(ledger, "2026-07-01", {2023: 1}, source=openalex_api.SOURCE)
    sweep(ledger, "2023-12")
    assert completeness(ledger)[2023][:2] == (True, "assumed")


def test_a_snapshot_of_which_parts_were_not_read_makes_no_year_complete(ledger):
    """A work lies on the date of its last change alone, so later parts hold works of any year; their coming is a first
    load, and no lag."""
    load(ledger, "2024-06-01.0000", {2021: 30, 2022: 30})
    leave(ledger, "2024-06-01.0000", 240)
    assert completeness(ledger) == {2021: (False, "not fetched", 0), 2022: (False, "not fetched", 0)}
    sweep(ledger, *(f"2021-{month:02d}" for month in range(1, 13)))  # the API may bring a year whole
    assert completeness(ledger) == {2021: (True, "assumed", 0), 2022: (False, "not fetched", 0)}
    load(ledger, "2024-08-01.0000", {2021: 70, 2022: 70, 2023: 100})
    leave(ledger, "2024-08-01.0000", 0)
    assert completeness(ledger) == {year: (year < 2023, "assumed", 0) for year in (2021, 2022, 2023)}


def test_what_was_undone_was_not_fetched_and_tells_of_no_lag(ledger):
    three_years(ledger, 100)
    before = completeness(ledger)
    load(ledger, "2024-03-01.0000", {2023: -40})
    ledger.execute("UPDATE ops.batch SET undone_at = finished_at WHERE batch_id = '2024-03-01.0000'")
    load(ledger, "2026-11-22", {2023: 40}, source="warehouse")
    ledger.execute("UPDATE ops.batch SET kind = 'undo' WHERE batch_id = '2026-11-22'")
    assert completeness(ledger) == before


def test_a_month_of_which_the_first_load_was_undone_was_not_fetched(ledger):
    load(ledger, "2026-07-01", {2022: 100}, source=openalex_api.SOURCE)
    sweep(ledger, *(f"2022-{month:02d}" for month in range(1, 13)))
    ledger.execute("UPDATE ops.batch SET undone_at = finished_at WHERE window_name = '2022-03'")
    sweep(ledger, "2022-03", day=2)  # a later night lists what is blocked, and asks for none of it
    assert completeness(ledger)[2022][:2] == (False, "not fetched")
    sweep(ledger, "2022-03")  # released
    assert completeness(ledger)[2022][:2] == (True, "assumed")


def test_lag_is_counted_to_the_newest_day_of_the_corpus_own_sources(ledger):
    load(ledger, "2024-06-01.0000", {2023: 100})
    load(ledger, "2026-06-01", {}, source="venue-list")  # adds nothing to openalex
    (row,) = read(ledger, OF_AI)
    assert (row["as_of"], row["days_over"]) == (datetime.date(2024, 6, 1), 152)
