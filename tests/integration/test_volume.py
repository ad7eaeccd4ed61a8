"""A source that sends less than it is used to, or nothing of one publisher: what the gates say to rows of a warehouse,
and one night that they stop. tests/faults has whole nights of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from types import SimpleNamespace

import pyarrow as pa
import pytest
import sqlalchemy as sa

import tasks.validation.publishers as publishers
import tasks.validation.volume as volume
from schemas import tables as t
from schemas.errors import GateStopped
from schemas.expectations import Gate, raised
from tasks.landing.land import DELETIONS, WORKS, Landing
from tasks.sources.openalex_snapshot import Part, Window, volumes
from tasks.storage.warehouse import Warehouse
from tasks.validation.gates import window_gates
from tasks.validation.rewriting import rewriting_gates
from tasks.validation.stopped import stop_of
from tasks.validation.validate import check_gates
from tests.factory import STARTED, add_batch, counts, rows, run, work, write_snapshot


def landing(source="openalex-snapshot", window="w", **more) -> Landing:
    return Landing(f"{window}.now", source, window, WORKS, (), **more)


def add_dates(conn, *volumes: int) -> None:
    """Loaded dates from 1 January on, each in two parts, and a release."""
    for at, records in enumerate(volumes):
        path = f"updated_date={date(2026, 1, 1) + timedelta(days=at)}"
        about = {"source": "openalex-snapshot", "bytes": 1, "sha256": "", "batch_id": "b"}
        for part, share in ((0, records - records // 3), (1, records // 3)):
            conn.execute(t.part.insert(), {**about, "path": f"{path}/part_{part:04}.gz", "records": share})
    texts = {c.name: "" for c in t.release.columns if isinstance(c.type, sa.String)}
    conn.execute(t.release.insert(), {**texts, "published_at": STARTED})


def judged(conn, settings, of: Landing) -> dict[str, bool | None]:
    """Per gate whether it holds; None where it is not evaluated."""
    gates = volume.volume_gates(conn, of, settings)
    return {gate.name: not gate.excess if gate.is_evaluated else None for gate in gates}


def why(conn, settings, of: Landing, name: str) -> str:
    return next(gate.why for gate in volume.volume_gates(conn, of, settings) if gate.name == name)


def test_a_new_date_is_held_against_the_dates_before_it(conn, settings_for):
    half, whole = landing(dates={"2026-01-13": 900}), landing(dates={"2026-01-13": 1_300, "2026-01-14": 5_000})
    add_dates(conn, *[2_000] * 9)
    assert judged(conn, settings_for(), half)["date_volume"] is None  # too few dates
    for table in (t.part, t.release):
        conn.execute(sa.delete(table))
    add_dates(conn, *[2_000] * 12)
    assert judged(conn, settings_for(), half)["date_volume"] is False
    assert judged(conn, settings_for(), whole)["date_volume"] is True
    both = landing(dates={"2026-01-13": 5_000, "2026-01-14": 900})
    assert judged(conn, settings_for(), both)["date_volume"] is False  # by the smaller one
    assert judged(conn, settings_for(), landing(dates={"2026-01-12": 10}))["date_volume"] is None  # loaded before
    assert judged(conn, settings_for(min_volume_share=0.45), half)["date_volume"] is True
    text = why(conn, settings_for(), half, "date_volume")
    assert "2026-01-13 holds 900 records, half of the 30 dates before it 2,000 or more" in text
    assert text.endswith("run again; if it is right, run once with COLLAB_MIN_VOLUME_SHARE=0.45")
    conn.execute(sa.delete(t.release))
    assert judged(conn, settings_for(), half)["date_volume"] is None  # a first load is no series


def test_a_new_date_is_held_against_the_last_30(conn, settings_for):
    add_dates(conn, *[9_000] * 30, *[2_000] * 30)
    assert judged(conn, settings_for(), landing(dates={"2026-06-01": 1_300}))["date_volume"] is True


@pytest.mark.parametrize(
    ("usual", "records", "expected"),
    [
        pytest.param([2_000] * 11 + [850], 900, True, id="one as small before"),
        pytest.param([1_000] * 11 + [99_000], 900, True, id="one large date before"),
        pytest.param([9_000, 1] * 6, 900, True, id="every second is small"),
        pytest.param([3] * 12, 0, None, id="all are too small to judge"),
    ],
)
def test_small_dates_where_they_are_usual_are_no_stop(conn, settings_for, usual, records, expected):
    add_dates(conn, *usual)
    assert judged(conn, settings_for(), landing(dates={"2026-01-13": records}))["date_volume"] is expected


def test_all_records_of_a_snapshot_are_held_against_those_of_the_last(conn, settings_for):
    def read(number: int, records: int, **more) -> None:
        batch_id = add_batch(conn, number, **more)
        (metric,) = volume.landing_metrics(landing(snapshot_records=records)).items()
        conn.execute(t.metric.insert(), {"batch_id": batch_id, "name": metric[0], "value": metric[1], "works": 0})

    one, none = landing(snapshot_records=50_000), landing(snapshot_records=0)
    assert judged(conn, settings_for(), one)["snapshot_volume"] is None
    read(1, 999)
    assert judged(conn, settings_for(), none)["snapshot_volume"] is None  # what is small halves by chance
    read(2, 1_000)
    assert judged(conn, settings_for(), none)["snapshot_volume"] is False
    read(3, 200_000)
    read(4, 100_000)
    read(5, 30_000, source="another")
    assert judged(conn, settings_for(), one)["snapshot_volume"] is False
    assert judged(conn, settings_for(), landing(snapshot_records=60_000))["snapshot_volume"] is True
    assert judged(conn, settings_for(min_volume_share=0), landing(snapshot_records=0))["snapshot_volume"] is True
    assert "lists 50,000 records in all, that of the snapshot before 100,000:" in why(
        conn, settings_for(), one, "snapshot_volume"
    )


def test_an_older_copy_is_a_warning(conn, settings_for):
    add_dates(conn, 5, 5, 5)
    for newer in ("2026-01-03", "2026-01-09"):
        assert judged(conn, settings_for(), landing(snapshot_ends=newer))["snapshot_age_days"] is True
    assert judged(conn, settings_for(), landing(snapshot_ends="2026-01-02"))["snapshot_age_days"] is False
    assert "ends on 2026-01-02, 2026-01-03 was loaded before: it is an older copy" in why(
        conn, settings_for(), landing(snapshot_ends="2026-01-02"), "snapshot_age_days"
    )


def test_a_window_of_a_live_source_is_held_against_itself(conn, settings_for):
    month = {"source": "openalex-api", "window": "2026-10"}
    for number, said in ((1, 40), (2, 1_000)):
        add_batch(conn, number, **month, source_records=said)
    add_batch(conn, 3, "openalex-api", "2026-11", source_records=5)
    add_batch(conn, 4, **month, source_records=5, definitions="other")
    assert judged(conn, settings_for(), landing(**month, source_records=590))["window_volume"] is False
    assert judged(conn, settings_for(), landing(**month, source_records=0))["window_volume"] is False
    assert judged(conn, settings_for(), landing(**month, source_records=601))["window_volume"] is True
    first = landing("openalex-api", "2026-11", source_records=1)
    assert judged(conn, settings_for(), first)["window_volume"] is None
    add_batch(conn, 5, **month, source_records=5, undone_at=STARTED)
    add_batch(conn, 6, **month, source_records=5, kind=DELETIONS)
    assert judged(conn, settings_for(), landing(**month, source_records=590))["window_volume"] is False
    for number, said, expected in ((7, 99, None), (8, 100, False)):
        add_batch(conn, number, "openalex-api", "2026-12", source_records=said)
        least = landing("openalex-api", "2026-12", source_records=1)
        assert judged(conn, settings_for(), least)["window_volume"] is expected
    text = why(conn, settings_for(), landing(**month, source_records=590), "window_volume")
    assert text.startswith("OpenAlex says 2026-10 holds 590 works, 1,000 when it was last looked at")
    assert text.endswith("COLLAB_MIN_VOLUME_SHARE=0.59")


def test_a_landing_is_not_held_against_its_own_batches(conn, settings_for):
    month = {"source": "openalex-api", "window": "2026-10"}
    add_batch(conn, 1, **month, source_records=1_000)
    add_batch(conn, 2, **month, source_records=400, landing_id="2026-10.now")  # its first batch, let pass
    assert judged(conn, settings_for(), landing(**month, source_records=400))["window_volume"] is False


def test_a_list_of_changes_is_held_against_the_last_ones(conn, settings_for):
    changes = {"source": "openalex-api", "window": "updated"}
    for number in range(10):
        few = landing(**changes, source_records=900)
        assert judged(conn, settings_for(), few)["changes_volume"] is None
        add_batch(conn, number, **changes, source_records=2_000)
    assert judged(conn, settings_for(), few)["changes_volume"] is False
    assert "lists 900 changed works, half of the last 30 lists had 2,000 or more" in why(
        conn, settings_for(), few, "changes_volume"
    )
    add_batch(conn, 11, **changes, source_records=880)
    assert judged(conn, settings_for(), few)["changes_volume"] is True


def test_only_sources_with_a_usual_volume_are_judged(settings_for):
    for source, kind in (("venue-list", WORKS), ("quarantine", WORKS), ("openalex-snapshot", DELETIONS)):
        assert volume.volume_gates(None, Landing("x", source, "w", kind, ()), settings_for()) == []
    assert volume.volume_gates(None, landing("openalex-api", "future"), settings_for()) == []


def test_a_window_that_lists_less_than_it_holds_is_not_complete(settings_for):
    for said, listed, missing in ((7, 5, 2), (5, 7, 0)):
        found = window_gates(None, landing("venue-list", source_records=said, source_listed=listed), settings_for())
        assert {gate.name: gate.observed for gate in found} == {"window_complete": missing, "works_left_out": 0}
    for one in ({"source_records": 7}, {"source_listed": 7}):  # a source that says only one of them
        assert window_gates(None, landing("venue-list", **one), settings_for()) == []


@contextmanager
def affecting(conn, works: list[tuple[bool, bool, str]]) -> Iterator[SimpleNamespace]:
    """A change of works (was stored, is stored, reason)."""
    one = "SELECT {} AS was_stored, {} AS is_stored, '{}' AS reason"
    values = " UNION ALL ".join(one.format(*work) for work in works)
    conn.exec_driver_sql(f"CREATE TEMPORARY TABLE affected_works AS {values}")
    flags = [sa.column(name, sa.Boolean) for name in ("was_stored", "is_stored")]
    yield SimpleNamespace(affected=sa.table("affected_works", *flags, sa.column("reason")), batch_id="b")
    conn.exec_driver_sql("DROP TABLE affected_works")


def rewriting(conn, change, settings, works: int = 1_000, fewest: int | None = 1_000) -> dict[str, Gate]:
    found = rewriting_gates(conn, change, settings, works, "openalex", "openalex-snapshot", fewest)
    return {gate.name: gate for gate in found}


def test_what_a_batch_takes_away_and_rewrites_is_held_against_what_was_stored(conn, settings_for):
    """Nothing is stored after these batches."""
    gone, rewritten = (True, False, "deleted"), (True, True, "corrected")
    works = [gone] * 30 + [(True, False, "out_of_scope")] * 10 + [rewritten, (True, True, "citations")]
    with affecting(conn, [*works, (True, False, "definition"), (False, True, "new")]) as change:
        found = rewriting(conn, change, settings_for(), fewest=None)
    # stored before: none now, 41 that are gone, less the one that is new
    assert {name: gate.observed for name, gate in found.items()} == {
        "removed_share": 40 / 40,
        "rewritten_share": 11 / 40,
        "year_change": 0,
    }
    assert "40 of 40 stored works are deleted or gone out of scope" in found["removed_share"].why
    assert found["removed_share"].lifted_by == "COLLAB_MAX_REMOVED_SHARE=1"
    assert [gate.is_evaluated for gate in found.values()] == [True, False, True]


def test_what_is_judged_of_a_batch_depends_on_what_goes_and_what_comes(conn, settings_for):
    for going, works, fewest, expected in (
        (19, 980, 1_000, [False, False, False]),
        (19, 981, 1_000, [False, True, True]),
        (20, 979, 1_000, [True, False, True]),
        (20, 0, None, [True, False, True]),
        (0, 5_000, None, [False, False, False]),  # too few batches before it
    ):
        with affecting(conn, [(True, False, "deleted")] * going + [(False, True, "new")]) as change:
            found = rewriting(conn, change, settings_for(), works, fewest)
        assert [gate.is_evaluated for gate in found.values()] == expected


# papers of a complete year before and after, what moved them, and the share
MOVED = [
    (10_000, 9_900, {"corrected": -60, "deleted": -40}, 0.01),
    (10_000, 10_400, {"new": 500, "corrected": -60, "deleted": -40}, 0.01),
    (10_000, 7_000, {"deleted": -3_000}, 0.3),
    (10_000, 100, {"deleted": -9_900}, 0.99),
    (10_000, None, {"deleted": -10_000}, 1),  # the mart has no row of it any more
    (1_000, 500, {"corrected": -500}, 0.5),
    (999, 0, {"corrected": -999}, 0),  # small
    (10_000, 9_000, {"definition": -1_000}, 0),
    (10_000, 10_010, {"citations": 10}, 0),
]


@pytest.mark.parametrize(("before", "after", "moved", "share"), MOVED)
def test_a_year_is_held_against_its_papers_before_the_batch(conn, settings_for, before, after, moved, share):
    assert (after or 0) - before == sum(moved.values())
    world = {c.name: 0 for c in t.world_year.columns} | {"corpus": "openalex", "policy": "iso", "field": "ai"}
    if after is not None:
        conn.execute(t.world_year.insert(), [world | {"year": 2020, "papers": after}])
    conn.execute(t.world_year.insert(), [world | {"year": 2025, "papers": 5_000}])  # not over for 18 months
    deltas = [("b", reason, 2020, papers) for reason, papers in moved.items()]
    deltas += [("a", "corrected", 2020, -900), ("b", "corrected", 2025, -4_000)]
    named = ("batch_id", "reason", "year", "papers")
    conn.execute(t.ledger_of(t.world_year).insert(), [world | dict(zip(named, one, strict=True)) for one in deltas])
    add_batch(conn, 1, window="2026-01-01.0000")
    with affecting(conn, [(True, True, "corrected")]) as change:
        assert rewriting(conn, change, settings_for())["year_change"].observed == pytest.approx(share)
        (_, _, of_another) = rewriting_gates(conn, change, settings_for(), 0, "openalex", "openalex-api", None)
    assert of_another.observed == pytest.approx(share)  # of a source without batches: years are over as of today


def test_a_date_is_as_large_as_all_its_parts():
    parts = [Part(f"{n}", date(2026, 1, n // 2 + 1), 10, 1) for n in range(6)]
    assert volumes(parts, Window("w", tuple(parts[1:3]))) == (60, "2026-01-03", {"2026-01-01": 20, "2026-01-02": 20})


def test_half_a_date_stops_the_night_and_is_let_pass_once(tmp_path, settings_for, monkeypatch):
    monkeypatch.setattr(volume, "FEWEST_RECORDS", 10)
    monkeypatch.setattr(volume, "FEWEST_DATES", 3)
    days = {f"2026-01-0{n}": [work(n * 100 + k, updated=f"2026-01-0{n}") for k in range(10)] for n in range(1, 4)}
    root = write_snapshot(tmp_path / "s", days)
    settings = settings_for(root)
    run(settings)
    write_snapshot(root, days | {"2026-01-04": [work(400 + k, updated="2026-01-04") for k in range(5)]})
    with pytest.raises(GateStopped, match=r"date_volume is 5, limit at least 6 -> .*`COLLAB_MIN_VOLUME_SHARE=0\.50 "):
        run(settings)
    assert not list(settings.landing.glob("*/*/before/.*"))
    with Warehouse.open(settings) as warehouse:
        assert len(rows(warehouse, sa.select(t.batch))) == len(rows(warehouse, sa.select(t.release))) == 1
        kept = rows(warehouse, sa.select(t.metric.c.value).where(t.metric.c.name == volume.SNAPSHOT_RECORDS))
        assert kept == [{"value": 30.0}]
    assert counts(run(settings_for(root, min_volume_share=0.5)))["new"] == 5


def test_the_share_that_lets_a_volume_pass_does_so_however_floats_round():
    for usual in range(1, 400):
        for observed in range(usual):
            share = float(volume._lowered(observed, usual).rpartition("=")[2])
            assert 0 <= share * usual <= observed


def test_a_setting_that_stopped_two_rules_is_lifted_far_enough_for_both():
    lifted = {
        "snapshot_volume": "COLLAB_MIN_VOLUME_SHARE=0.30",
        "date_volume": "COLLAB_MIN_VOLUME_SHARE=0.50",
        "publisher_unlocated": raised("max_unlocated_share", 0.6),
        "publisher_lost": publishers.ANY_LOSS,
    }
    found = check_gates([Gate(name, "stop", 9, 0, 0, "why", lifted_by=by) for name, by in lifted.items()])
    said = str(stop_of("b", found.results, found, "collab run"))
    assert "`COLLAB_MIN_VOLUME_SHARE=0.30 COLLAB_MAX_UNLOCATED_SHARE=1 collab run` lets it pass once" in said
    assert raised("max_year_change", 1.5, most=None) == "COLLAB_MAX_YEAR_CHANGE=1.51"  # a year can more than double
    assert raised("max_rewritten_share", 0.995) == "COLLAB_MAX_REWRITTEN_SHARE=1"


def rewritten(conn, settings, before: list[tuple], after: list[tuple]):
    """The gate on works (work_id, doi, authors_located) before and after a batch."""
    for name, works in (("was", before), ("now", after)):
        one = "SELECT CAST({} AS BIGINT) AS work_id, CAST({} AS VARCHAR) AS doi, CAST({} AS INTEGER) AS authors_located"
        values = " UNION ALL ".join(one.format(n, f"'{doi}'" if doi else "NULL", found) for n, doi, found in works)
        conn.exec_driver_sql(f"CREATE TEMPORARY TABLE {name}_located AS {values}")
    tables = [
        sa.table(f"{name}_located", sa.column("work_id"), sa.column("doi"), sa.column("authors_located"))
        for name in ("was", "now")
    ]
    gate = publishers.unlocated_gate(conn, SimpleNamespace(before=tables[0], after=tables[1]), settings)
    for table in tables:
        conn.exec_driver_sql(f"DROP TABLE {table.name}")
    return gate


def test_rewritten_works_of_a_publisher_that_lose_their_countries_stop(conn, settings_for):
    ieee = [(n, f"10.1109/{n}", 2) for n in range(120)]
    other = [(1000 + n, f"10.1007/{n}", 1) for n in range(900)]
    never = [(3000 + n, "10.1109/x", 0) for n in range(500)]  # had no country before
    lost = [(n, doi, 0 if n < 30 else 1) for n, doi, _ in ieee]
    more = [(n, doi, 0 if n < 1040 else 1) for n, doi, _ in other]  # of a larger publisher, so fewer in a hundred
    gate = rewritten(conn, settings_for(), ieee + other + never, lost + more + never)
    assert gate.observed == 0.25
    assert gate.excess > 0
    assert "30 of 120 rewritten works of publisher 10.1109 had a country and have none now" in gate.why
    assert gate.lifted_by == "COLLAB_MAX_UNLOCATED_SHARE=0.26"
    assert gate.why.endswith(f"run once with {gate.lifted_by}")
    assert not rewritten(conn, settings_for(max_unlocated_share=0.26), ieee, lost).excess
    assert not rewritten(conn, settings_for(), ieee[:99], [(n, doi, 0) for n, doi, _ in ieee[:99]]).is_evaluated
    nameless = [(n, None, 1) for n in range(100)]
    gone = rewritten(conn, settings_for(), nameless, [(n, None, 0) for n in range(100)])
    assert (gone.observed, "publisher no doi" in gone.why) == (1, True)


def test_arriving_works_are_held_against_the_last_batches_of_their_publisher(settings_for, monkeypatch):
    work_of = pa.table({"doi": ["10.1109/a"] * 300 + ["10.1007/b"] * 199 + [None] * 250})
    located = pa.array([1] * 30 + [0] * 270 + [1] * 449)
    monkeypatch.setattr(
        publishers, "read_staged", lambda folder, name: work_of.append_column("authors_located", located)
    )
    found = publishers.publisher_metrics(None)
    assert found == {"publisher_with_country.10.1109": 0.1, "publisher_with_country.no doi": 1}
    work_of, located = work_of.slice(0, 200), located.slice(0, 200)
    assert publishers.publisher_metrics(None) == {"publisher_with_country.10.1109": 0.15}  # the fewest that are judged
    usual = [
        {"publisher_with_country.10.1109": 0.9 + n / 100, "publisher_with_country.no doi": 0.98} for n in range(10)
    ]
    gates = {gate.name: gate for gate in publishers.arriving_gates(found, usual, settings_for())}
    assert [name for name, gate in gates.items() if gate.excess] == ["publisher_with_country", "publisher_lost"]
    assert "works of publisher 10.1109 with a country" in gates["publisher_lost"].why
    assert gates["publisher_lost"].severity == "stop"
    less = {**found, "publisher_with_country.10.1109": 0.23}  # more than a quarter of the smallest share
    assert [g.name for g in publishers.arriving_gates(less, usual, settings_for()) if g.excess] == [
        "publisher_with_country"
    ]
    assert not any(gate.is_evaluated for gate in publishers.arriving_gates(found, usual[:9], settings_for()))
    little = {"publisher_with_country.no doi": 0.89}  # a share that never moved may move by a tenth
    assert [(g.is_evaluated, g.excess) for g in publishers.arriving_gates(little, usual, settings_for())] == [
        (True, 0)
    ] * 2
    worst = {"publisher_with_country.no doi": 0.8, "publisher_with_country.10.1109": 0.1}
    assert "publisher 10.1109 " in publishers.arriving_gates(worst, usual, settings_for())[0].why
    passed = publishers.arriving_gates(found, usual, settings_for(max_unlocated_share=1))
    assert [gate.name for gate in passed if gate.excess] == ["publisher_with_country"]
