"""Nights on small snapshots: what each kind of record does to the tables, and that twice is once."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pytest
import sqlalchemy as sa

import tasks.loading.verify as verification
from schemas import tables as t
from schemas.errors import WarehouseError
from tasks.loading.aggregate import year_slices
from tasks.loading.verify import verify
from tasks.storage.layout import VERSION
from tasks.storage.warehouse import Warehouse
from tests.factory import OFF_TOPIC, URL, author, cell, contents, counts, proven, rows, run, work, write_snapshot

pytestmark = pytest.mark.usefixtures("unpublished")


def reasons(settings, mart=t.pair_year) -> dict[str, int]:
    ledger = t.ledger_of(mart)
    with Warehouse.open(settings) as warehouse:
        found = rows(
            warehouse,
            sa.select(ledger.c.reason, sa.func.sum(ledger.c.papers).label("papers"))
            .where(ledger.c.policy == "iso", ledger.c.field == "all")
            .group_by(ledger.c.reason),
        )
    return {row["reason"]: int(row["papers"]) for row in found}


def test_first_night_counts_pairs_with_unknown_part(tmp_path, settings_for):
    works = [
        work(11),
        work(12, [author("US"), author("CN"), author()]),
        work(13, [author("US", "DE")]),
        work(14, [author()]),
    ]
    settings = settings_for(write_snapshot(tmp_path / "s", {"2026-01-01": works}))
    assert counts(run(settings)) == {"fetched": 4, "new": 4}
    proven(settings)
    with Warehouse.open(settings) as warehouse:
        pair = cell(warehouse, t.pair_year, territory_a="CN", territory_b="US")
        assert (pair["papers"], pair["papers_with_unknown"], pair["papers_bilateral"]) == (2, 1, 2)
        assert pair["score"] == Decimal(
            "1.666666667"
        )  # 0.5 + 0.5, and 0.333333333 + 0.333333334: the remainder goes to the first code
        assert cell(warehouse, t.pair_year, territory_a="DE", territory_b="US")["papers_dual_only"] == 1
        world = cell(warehouse, t.world_year)
        assert (
            world["papers"],
            world["papers_international"],
            world["papers_undetermined"],
            world["papers_without_country"],
        ) == (4, 3, 1, 1)
        assert cell(warehouse, t.country_year, territory="ZZ")["papers"] == 2
        assert cell(warehouse, t.country_year, territory="US")["papers_domestic"] == 0


def test_every_kind_of_change_has_its_reason(tmp_path, settings_for):
    alone = {"publication_year": 2019}
    days = {
        "2026-01-01": [work(11), work(12), work(13, doi="https://doi.org/10.1234/a"), work(14, **alone), work(15)],
        "2026-01-02": [
            work(11, [author("US"), author("DE")], updated="2026-01-02"),  # corrected
            work(12, cited_by_count=7, updated="2026-01-02"),  # citations
            # eligibility: retracted, before all that can be said of its type
            work(14, is_retracted=True, type="dataset", updated="2026-01-02", **alone),
            work(15, updated="2026-01-02"),  # unchanged
            work(
                16, [author("US"), author("CN"), author("FR")], doi="https://doi.org/10.1234/A", updated="2026-01-02"
            ),  # displaces 13
            work(17, updated="2025-12-31", referenced_works=[f"{URL}W15"]),  # which nothing else touches
        ],
    }
    settings = settings_for(write_snapshot(tmp_path / "s", days, deleted={12: "2026-01-02"}))
    run(settings, date(2026, 1, 1))
    assert reasons(settings) == {"new": 5}
    night = run(settings)
    assert counts(night) == {
        "fetched": 11,
        "new": 2,
        "updated": 3,
        "unchanged": 2,
        "superseded": 4,
        "listed": 1,
        "applied": 1,
    }
    assert reasons(settings) == {"new": 9, "corrected": 0, "citations": 0, "eligibility": -2, "deleted": -1}
    found = proven(settings)
    with Warehouse.open(settings) as warehouse:
        standing = rows(
            warehouse,
            sa.select(t.work.c.work_id, t.work.c.excluded_reason)
            .where(t.work.c.excluded_reason.is_not(None))
            .order_by(t.work.c.work_id),
        )
        assert standing == [
            {"work_id": 13, "excluded_reason": "duplicate_doi"},
            {"work_id": 14, "excluded_reason": "retracted"},
        ]
        world = cell(warehouse, t.world_year)
        assert (world["papers"], world["excluded_retracted"], world["excluded_duplicate_doi"]) == (4, 0, 1)
        world = cell(warehouse, t.world_year, year=2019)  # a cell without papers says why
        assert (world["papers"], world["excluded_retracted"]) == (0, 1)
    assert counts(run(settings)) == {"fetched": 11, "unchanged": 6, "superseded": 5}
    assert proven(settings) == found


def test_the_duplicate_counts_again_when_the_other_goes(tmp_path, settings_for):
    doi = "https://doi.org/10.1234/a"
    days = {"2026-01-01": [work(11, doi=doi), work(12, doi=doi), work(10, [author(), author("US")], doi=doi)]}
    days["2026-01-01"].append(
        work(9, [author("US"), author("CN"), author("FR")], doi=doi, is_retracted=True)
    )  # no rival
    root = write_snapshot(tmp_path / "s", days)
    settings = settings_for(root)
    run(settings)
    with Warehouse.open(settings) as warehouse:
        assert cell(warehouse, t.world_year)["papers"] == 1
        assert rows(warehouse, sa.select(t.work.c.work_id).where(t.work.c.is_counted)) == [
            {"work_id": 11}
        ]  # two authors located, lowest id
    write_snapshot(root, days, deleted={11: "2026-01-01"})
    run(settings)
    with Warehouse.open(settings) as warehouse:
        assert rows(warehouse, sa.select(t.work.c.work_id).where(t.work.c.excluded_reason.is_(None))) == [
            {"work_id": 12}
        ]
    proven(settings)
    assert reasons(settings) == {"new": 1, "deleted": -1, "eligibility": 1}


def test_deleted_works_return_only_in_newer_versions(tmp_path, settings_for):
    settings = settings_for(
        write_snapshot(tmp_path / "s", {"2026-01-01": [work(11)]}, deleted={11: "2026-01-05", 99: "2026-01-05"})
    )
    assert counts(run(settings)) == {"fetched": 1, "new": 1, "listed": 2, "applied": 1, "absent": 1}
    days = {
        "2026-01-01": [work(11)],
        "2026-01-05": [work(11, updated="2026-01-05T23:59:59"), work(99, updated="2026-01-05")],
        "2026-01-06": [work(11, updated="2026-01-06")],
    }
    write_snapshot(tmp_path / "s", days, deleted={11: "2026-01-05", 99: "2026-01-05"})
    assert counts(run(settings)) == {"fetched": 4, "new": 1, "superseded": 3}
    with Warehouse.open(settings) as warehouse:
        assert rows(warehouse, sa.select(t.work.c.work_id)) == [{"work_id": 11}]
    proven(settings)


def test_scope_ai_counts_the_rest_and_lets_go_of_what_leaves(tmp_path, settings_for):
    days = {
        "2026-01-01": [work(11), work(12, primary_topic=OFF_TOPIC), work(13, is_xpac=True)],
        "2026-01-02": [work(11, primary_topic=OFF_TOPIC, updated="2026-01-02"), work(14, updated="2026-01-02")],
        "2026-01-03": [work(14, primary_topic=OFF_TOPIC, updated="2026-01-03")],  # comes and goes in one batch
    }
    root = write_snapshot(tmp_path / "s", days)
    settings = settings_for(root, scope="ai")
    assert counts(run(settings, date(2026, 1, 1))) == {"fetched": 3, "new": 1, "out_of_scope": 2}
    assert counts(run(settings)) == {"fetched": 6, "superseded": 2, "out_of_scope": 4}
    with Warehouse.open(settings) as warehouse:
        assert rows(warehouse, sa.select(t.work.c.work_id)) == []
        seen = rows(warehouse, sa.select(t.seen.c.work_id, t.seen.c.state).order_by(t.seen.c.work_id))
        assert seen == [{"work_id": number, "state": "out_of_scope"} for number in (11, 14)]
        ledger = t.ledger_of(t.world_year)
        sums = (
            sa.select(ledger.c.reason, sa.func.sum(ledger.c.papers).label("n"))
            .where(ledger.c.field == "ai", ledger.c.policy == "iso")
            .group_by(ledger.c.reason)
        )
        assert {row["reason"]: int(row["n"]) for row in rows(warehouse, sums)} == {"new": 1, "out_of_scope": -1}
    proven(settings)


def test_policies_fold_hong_kong(tmp_path, settings_for):
    settings = settings_for(
        write_snapshot(
            tmp_path / "s", {"2026-01-01": [work(11, [author("CN"), author("HK"), author("TW"), author("US")])]}
        )
    )
    run(settings)
    with Warehouse.open(settings) as warehouse:
        found = rows(
            warehouse,
            sa.select(
                t.work_territory.c.policy,
                t.work_territory.c.territory,
                t.work_territory.c.share,
                t.work_territory.c.authors,
            ),
        )
        shares = {(row["policy"], row["territory"]): (row["share"], row["authors"]) for row in found}
        assert shares["iso", "HK"] == (Decimal("0.25"), 1)
        assert shares["mainland-sar", "CN"] == (Decimal("0.5"), 2)
        assert shares["greater-china", "CN"] == (Decimal("0.75"), 3)
        assert (
            cell(warehouse, t.pair_year, policy="greater-china", territory_a="CN", territory_b="US")["papers_bilateral"]
            == 1
        )
        assert (
            cell(warehouse, t.pair_year, policy="iso", territory_a="CN", territory_b="HK")["papers_multilateral"] == 1
        )


def test_bad_records_are_held_and_the_rest_is_loaded(tmp_path, settings_for):
    bad = [
        work(12, publication_year=2999),
        b'{"id": "https://openalex.org/W13", "upd',
        work(14, cited_by_count="many"),
        b"[1]",
        b"",
    ]
    settings = settings_for(write_snapshot(tmp_path / "s", {"2026-01-01": [work(11), *bad]}))
    assert counts(run(settings)) == {"fetched": 6, "new": 1, "quarantined": 5}
    with Warehouse.open(settings) as warehouse:
        held = rows(warehouse, sa.select(t.quarantine))
        found = {(row["rule"], row["path"]) for row in held}
        assert found == {
            ("year_range", "work.year"),
            ("json", "$"),
            ("contract", "$.cited_by_count"),
            ("contract", "$"),
        }
        (early,) = [row for row in held if row["rule"] == "year_range"]
        assert early["source_key"] == "W12"
        assert json.loads(early["raw"])["publication_year"] == 2999
    assert counts(run(settings)) == {"fetched": 6, "unchanged": 1, "quarantined": 5}
    with Warehouse.open(settings) as warehouse:
        assert len(rows(warehouse, sa.select(t.quarantine))) == 5  # the same record is listed once
    proven(settings)


def test_a_record_above_the_size_limit_is_listed_once_whichever_landing_it_comes_in(tmp_path, settings_for):
    large = work(12, title="x" * 20_000)
    root = write_snapshot(tmp_path / "s", {"2026-01-01": [work(11), large]})
    settings = settings_for(root, max_record_bytes=10_000)
    run(settings)
    write_snapshot(root, {"2026-01-01": [work(13), work(11), large]})
    run(settings)
    with Warehouse.open(settings) as warehouse:
        assert [row["rule"] for row in rows(warehouse, sa.select(t.quarantine))] == ["record_too_large"]


@pytest.mark.parametrize("fault", [{"publication_year": 2999}, {"cited_by_count": "5"}])
def test_a_work_keeps_its_last_good_version_until_a_newer_good_one(tmp_path, settings_for, fault):
    days = {
        "2026-01-01": [work(11)],
        "2026-01-02": [work(11, updated="2026-01-02", **fault)],
        "2026-01-03": [work(11, cited_by_count=5, updated="2026-01-03")],
    }
    settings = settings_for(write_snapshot(tmp_path / "s", days))
    run(settings, date(2026, 1, 2))
    with Warehouse.open(settings) as warehouse:
        assert cell(warehouse, t.world_year)["papers"] == 1
        assert rows(warehouse, sa.select(t.quarantine.c.resolved_at)) == [{"resolved_at": None}]
    run(settings)
    with Warehouse.open(settings) as warehouse:
        assert cell(warehouse, t.world_year)["citations"] == 5
        assert rows(warehouse, sa.select(t.quarantine.c.resolution)) == [{"resolution": "superseded"}]
    proven(settings)


def test_a_warehouse_of_another_scope_or_version_is_refused(tmp_path, settings_for):
    root = write_snapshot(tmp_path / "s", {"2026-01-01": [work(11)]})
    run(settings_for(root))
    with pytest.raises(WarehouseError, match="scope 'all'"):
        Warehouse.open(settings_for(root, scope="ai"))
    with Warehouse.open(settings_for(root)) as warehouse, warehouse.transaction() as conn:
        conn.execute(sa.update(VERSION).values(version_num="0099"))
    with pytest.raises(WarehouseError, match="version 99"):
        Warehouse.open(settings_for(root))


def test_counting_anew_in_slices_of_years_covers_every_year(tmp_path, settings_for, monkeypatch):
    years = (2018, 2018, 2019, 2020, 2022, 2022)
    cited = [f"https://openalex.org/W{11 + n}" for n in range(6)]
    works = [
        work(11 + n, publication_year=year, referenced_works=cited, title="Learning in PyTorch")
        for n, year in enumerate(years)
    ]
    settings = settings_for(write_snapshot(tmp_path / "s", {"2026-01-01": works}))
    run(settings)
    monkeypatch.setattr(verification, "year_slices", lambda conn: year_slices(conn, most=2))
    with Warehouse.open(settings) as warehouse:
        with warehouse.reading() as conn:
            assert year_slices(conn) == [(None, None)]
            assert year_slices(conn, most=2) == [(None, 2018), (2019, 2021), (2022, None)]
            assert year_slices(conn, most=1) == [(None, 2018), (2019, 2019), (2020, 2021), (2022, None)]
        expected = contents(warehouse, t.MART)
        with warehouse.transaction() as conn:
            conn.execute(sa.update(t.world_year).values(year=1950).where(t.world_year.c.year == 2018))
            conn.execute(sa.update(t.pair_year).values(year=2100).where(t.pair_year.c.year == 2022))
            for mart in set(t.MART) - {t.world_year, t.pair_year}:
                conn.execute(sa.delete(mart))
        with warehouse.reading() as conn:
            wrong = {finding.check for finding in verify(conn) if finding.differences}
        assert {f"{mart.name} = rebuild" for mart in t.MART} <= wrong
        with warehouse.transaction() as conn:
            verification.rebuild(conn)
        assert contents(warehouse, t.MART) == expected
        with warehouse.transaction() as conn:
            assert set(verification.rebuild(conn).values()) == {0}
