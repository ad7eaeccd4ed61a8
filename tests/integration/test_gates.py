"""Gates hold a batch against what is usual and what must add up: which stop it, and which only warn.

Those on the volume of a source are in test_volume.py.
"""

from __future__ import annotations

from types import SimpleNamespace

import pyarrow as pa
import pytest
import sqlalchemy as sa

import tasks.validation.gates as gates
from schemas import tables as t
from schemas.errors import GateStopped
from schemas.expectations import Gate
from tasks.storage.warehouse import Warehouse
from tasks.validation.validate import check_gates
from tests.factory import author, counts, institution, linked, rows, run, work, write_snapshot

pytestmark = pytest.mark.usefixtures("unpublished")


def test_gates_judge_both_sides_and_say_what_they_could_not_judge():
    found = check_gates(
        [
            Gate("low", "stop", 0.1, 0.2, 0.4, "why"),
            Gate("high", "warn", 0.5, 0.2, 0.4, "why"),
            Gate("inside", "stop", 0.3, 0.2, 0.4, "why"),
            Gate("too_few", "stop", 9, 0, 0, "why", is_evaluated=False),
        ]
    )
    assert [(r.rule, r.success) for r in found.results] == [
        ("low", False),
        ("high", False),
        ("inside", True),
        ("too_few", None),
    ]
    assert [r.rule for r in found.stopped_by] == ["low"]


def nights(tmp_path, settings_for, last, monkeypatch, year=2020, **more):
    """Four ordinary nights with works of a year, and one as given."""
    monkeypatch.setattr(gates, "FEWEST_WORKS", 5)
    monkeypatch.setattr(gates, "FEWEST_BATCHES", 3)
    monkeypatch.setattr("tasks.validation.rewriting.FEWEST_PAPERS", 5)
    days = {
        f"2026-01-0{n}": [work(n * 100 + k, updated=f"2026-01-0{n}", publication_year=year) for k in range(8)]
        for n in range(1, 5)
    }
    run(settings_for(write_snapshot(tmp_path / "s", days), batch_works=8, **more))
    days["2026-01-05"] = last
    return settings_for(write_snapshot(tmp_path / "s", days), batch_works=8, **more)


def test_a_night_that_lost_its_affiliations_stops(tmp_path, settings_for, monkeypatch):
    lost = [work(500 + k, [author(), author()], updated="2026-01-05") for k in range(8)]
    settings = nights(tmp_path, settings_for, lost, monkeypatch)
    with pytest.raises(GateStopped, match=r"share_with_country is 0, limit 0\.95 to 1 -> "):
        run(settings)


def test_drifting_evidence_is_a_warning(tmp_path, settings_for, monkeypatch):
    drifts = {
        "string_fallback_rate": author(strings=["Lab, Lyon, France"]),
        "mojibake_rate": linked("UniversitÃ© de Lyon", institution("US")),
        "conflict_rate": linked("Lab, Lyon, France", institution("US")),
    }
    last = [work(500 + k, list(drifts.values()), updated="2026-01-05") for k in range(8)]
    settings = nights(tmp_path, settings_for, last, monkeypatch)
    run(settings)
    of = t.validation_result.c
    with Warehouse.open(settings) as warehouse:
        found = rows(warehouse, sa.select(of.rule).where(of.suite == "gates", of.success.is_(False)))
    assert sorted(row["rule"] for row in found) == sorted(drifts)


def test_batches_are_held_against_the_newest_that_were_large_enough(tmp_path, settings_for, monkeypatch):
    settings = nights(tmp_path, settings_for, [work(501, updated="2026-01-05")], monkeypatch)
    run(settings)
    monkeypatch.setattr(gates, "HISTORY", 2)
    of = t.metric.c
    shares = sa.select(of.batch_id, of.works).join(t.batch, t.batch.c.batch_id == of.batch_id)
    with Warehouse.open(settings) as warehouse, warehouse.transaction() as conn:
        measured = conn.execute(shares.where(of.name == "share_with_country").order_by(t.batch.c.finished_at)).all()
        for at, row in enumerate(measured):
            is_its = sa.and_(of.batch_id == row.batch_id, of.name == "share_with_country")
            conn.execute(sa.update(t.metric).where(is_its).values(value=at))
        found = gates._history(conn, "openalex-snapshot")
        assert gates._history(conn, "openalex-api") == []
    large = [at for at, row in enumerate(measured) if row.works >= gates.FEWEST_WORKS]
    assert len(large) < len(measured)
    assert sorted(figures["share_with_country"] for figures in found) == large[-2:]


def test_a_band_around_what_never_moved_can_be_lifted(settings_for):
    steady = [0.9] * 30
    assert gates._width(steady, 0.05, settings_for()) == pytest.approx(0.05)
    assert gates._width(steady, 0.05, settings_for(band_sigmas=1000)) > 1


def test_the_country_furthest_beyond_what_is_usual_for_it_is_named(settings_for):
    usual = [{"conflict_rate.FR": 0.5, "conflict_rate.AU": 0.1}] * 10
    rates = {"conflict_rate.FR": 0.5, "conflict_rate.AU": 0.4, "conflict_rate": 0.9}
    found = gates._country_gate(rates, usual, settings_for())
    assert ("institutions of AU " in found.why, found.observed) == (True, 0.4)
    assert found.excess > 0
    assert "institutions of FR " in gates._country_gate(rates, usual[:9], settings_for()).why  # too few to be usual


def test_a_string_is_counted_once_for_each_institution_that_it_is_linked_to(monkeypatch):
    monkeypatch.setattr(gates, "FEWEST_AFFILIATIONS", 3)
    links = [("s", 1, "AU", False), ("s", 1, "AU", False), ("s", 2, "AU", False), ("t", 1, "AU", True)]
    names = ("string", "institution_id", "institution_country", "is_conflict", "country_source")
    rows_of = [dict(zip(names, (*link, ""), strict=True)) for link in [*links, ("u", 3, None, True)]]
    assert gates._conflicts_by_country(pa.Table.from_pylist(rows_of)) == {"conflict_rate.AU": 1 / 3}


def test_a_figure_that_earlier_batches_lack_is_not_judged(settings_for):
    for earlier, expected in (([{}] * 10, False), ([{"conflict_rate": 0.1}] * 10, True)):
        (found,) = gates._drift_gates({"conflict_rate": 0.9}, earlier, settings_for(), True, "too few")
        assert found.is_evaluated is expected


def test_a_night_of_broken_records_stops(tmp_path, settings_for, monkeypatch):
    broken = [work(500 + k, publication_year=None, updated="2026-01-05") for k in range(8)]
    with pytest.raises(GateStopped, match="quarantined_share is 1"):
        run(nights(tmp_path, settings_for, broken, monkeypatch))


def test_a_complete_year_that_jumps_stops(tmp_path, settings_for, monkeypatch):
    retracted = [work(100 + k, is_retracted=True, updated="2026-01-05", publication_year=2023) for k in range(8)]
    settings = nights(tmp_path, settings_for, retracted, monkeypatch, year=2023, max_rewritten_share=1)
    with pytest.raises(GateStopped, match=r"year_change is 0\.25,"):  # the newest year that is complete on 2026-01-05
        run(settings)


def test_a_year_that_is_not_complete_may_jump(tmp_path, settings_for, monkeypatch):
    retracted = [work(100 + k, is_retracted=True, updated="2026-01-05", publication_year=2024) for k in range(8)]
    settings = nights(tmp_path, settings_for, retracted, monkeypatch, year=2024, max_rewritten_share=1)
    run(settings)
    with Warehouse.open(settings) as warehouse:
        (year,) = rows(
            warehouse, sa.select(t.world_year).where(t.world_year.c.policy == "iso", t.world_year.c.field == "all")
        )
    assert (year["papers"], year["excluded_retracted"]) == (24, 8)


# (column of the mart, of which country, by how much it is off, the gate that sees it)
DAMAGED = [
    (t.country_year.c.papers, "US", -5, "negative_cells"),
    (t.pair_year.c.papers, None, 50, "pairs_above_country"),
    (t.country_year.c.papers, "CN", -1, "pairs_above_country"),  # of either end alone
    (t.country_year.c.papers, "US", -1, "pairs_above_country"),
    (t.country_year.c.papers, "US", 50, "countries_above_world"),
    (t.country_year.c.fractional, "US", 1, "shares_below_world"),
]


def test_a_damaged_mart_stops_the_next_batch_that_touches_it(tmp_path, settings_for):
    root = write_snapshot(tmp_path / "s", {"2026-01-01": [work(11)]})
    settings = settings_for(root)
    run(settings)
    write_snapshot(root, {"2026-01-01": [work(11)], "2026-01-02": [work(12, updated="2026-01-02")]})

    def damage(column, country, by):
        spoil = sa.update(column.table).values({column: column + by})
        with Warehouse.open(settings) as warehouse, warehouse.transaction() as conn:
            conn.execute(spoil.where(column.table.c.territory == country) if country else spoil)

    for column, country, by, rule in DAMAGED:
        damage(column, country, by)
        with pytest.raises(GateStopped, match=rule):
            run(settings)
        damage(column, country, -by)
    assert counts(run(settings))["new"] == 1


def test_a_disordered_pair_is_a_gate(tmp_path, settings_for):
    settings = settings_for(write_snapshot(tmp_path / "s", {"2026-01-01": [work(11)]}))
    run(settings)
    with Warehouse.open(settings) as warehouse, warehouse.transaction() as conn:

        def broken() -> set[str]:
            cells = {mart.name: mart.alias(f"cells_{mart.name}") for mart in t.MART}
            return {gate.name for gate in gates._cell_gates(conn, cells) if gate.excess}

        for ends, more in ((("US", "CN"), set()), (("US", "US"), set()), (("US", "ZZ"), {"pairs_above_country"})):
            conn.execute(sa.update(t.pair_year).values(territory_a=ends[0], territory_b=ends[1]))
            assert broken() == {"pair_order"} | more
        conn.execute(sa.delete(t.pair_year))
        conn.execute(sa.delete(t.world_year))
        assert broken() == {"countries_above_world"}


@pytest.fixture
def measure(monkeypatch):
    """The gates of a batch by its counts; that of rewrites only says how many works it was told of."""
    monkeypatch.setattr(gates, "_cell_gates", lambda conn, cells: [])

    def rewriting(conn, change, settings, works, corpus, source, fewest) -> list[Gate]:
        return [Gate("rewriting", "stop", works, 0, None, f"from {fewest} on")]

    monkeypatch.setattr(gates, "rewriting_gates", rewriting)
    monkeypatch.setattr(gates, "unlocated_gate", lambda *args: Gate("none", "stop", 0, 0, 0, ""))
    monkeypatch.setattr(gates, "_history", lambda conn, source: [{}] * gates.FEWEST_BATCHES)
    names = ("new", "updated", "unchanged", "superseded", "out_of_scope", "quarantined", "listed", "applied", "absent")

    def measured(**counted: int) -> dict[str, Gate]:
        change = SimpleNamespace(cells={}, affected=None, batch_id="x")
        every = dict.fromkeys(names, 0) | counted
        found = gates.measure_gates(None, every, change, {}, "s", SimpleNamespace(max_quarantined_share=0.05))
        return {gate.name: gate for gate in found}

    return measured


def test_conservation_is_a_gate(measure):
    found = measure(fetched=3, new=2, listed=2, applied=1)
    assert {name: g.excess for name, g in found.items() if g.excess} == {"conservation": 1, "deletions_conserved": 1}


def test_a_batch_is_judged_from_1000_works_in_scope_on(measure):
    """Records that were refused, or belong to no field, make no batch large; for the share of those that were refused
    they do."""
    for left_out in ({"out_of_scope": 500}, {"quarantined": 500}):
        found = measure(fetched=1_500, new=1_000, **left_out)["rewriting"]
        assert (found.observed, found.why) == (1_000, "from 1000 on")
    for fetched, expected in ((999, False), (1_000, True)):
        found = measure(fetched=fetched, quarantined=fetched // 4, new=fetched - fetched // 4)["quarantined_share"]
        assert (found.is_evaluated, round(found.observed, 3)) == (expected, round(fetched // 4 / fetched, 3))
