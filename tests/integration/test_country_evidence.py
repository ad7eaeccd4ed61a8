"""What the countries of works rest on is counted, told and named, in tables and by the commands."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from schemas import tables as t
from tasks.storage.warehouse import Warehouse
from tasks.validation import gates
from tests.countries import decided
from tests.factory import author, institution, linked, rows, run, work, write_snapshot

pytestmark = pytest.mark.usefixtures("unpublished")


@pytest.fixture
def settings(country_works):
    """Those of a warehouse that holds the works of tests/countries.py."""
    return country_works


@pytest.mark.parametrize(("fewest", "expected"), [(1, False), (2, None)])
def test_a_country_whose_institutions_are_contradicted_is_named(tmp_path, settings_for, monkeypatch, fewest, expected):
    """A consortium's string that is printed for each author counts once."""
    monkeypatch.setattr(gates, "FEWEST_AFFILIATIONS", fewest)
    wrong = linked("ANDRA, France", institution("AU", 78))
    days = {"2026-01-01": [work(11, [wrong] * 5), work(12, [author("FR"), author("FR"), wrong])]}
    settings = settings_for(write_snapshot(tmp_path / "t", days), home=tmp_path / "other")
    run(settings)
    of = t.validation_result.c
    with Warehouse.open(settings) as warehouse:
        (found,) = rows(warehouse, sa.select(t.validation_result).where(of.rule == "country_conflict_rate"))
    assert (found["success"], found["severity"]) == (expected, "warn")
    if expected is False:
        assert found["observed"] == "1"
        assert "institutions of AU" in found["sample"]


def test_coverage_is_counted_by_hand(settings):
    with Warehouse.open(settings) as warehouse:
        of = t.coverage_year.c
        found = rows(warehouse, sa.select(t.coverage_year).where(of.field == "all"))
    measures = {row["evidence"]: tuple(row[name] for name in t.measures(t.coverage_year)) for row in found}
    # papers, all, some, none located; authors, located authors, conflicts
    assert measures == {
        "all": (7, 4, 2, 1, 12, 9, 1),
        "institution": (5, 3, 2, 0, 6, 6, 0),  # works 11, 12, 14, 15 and 13: one author of each, two of 12
        "string": (2, 2, 0, 0, 2, 2, 0),  # 13 (Rome) and 16
        "string_over_institution": (1, 1, 0, 0, 1, 1, 1),
        "none": (3, 0, 2, 1, 3, 0, 0),
    }


def test_two_addresses_in_one_string_share_its_unit(settings):
    assert [row[0] for row in decided(settings, 16)] == ["FR", "DE", "FR", "DE"]
    with Warehouse.open(settings) as warehouse:
        parts = t.work_territory.c
        found = rows(
            warehouse, sa.select(parts.territory, parts.share).where(parts.work_id == 16, parts.policy == "iso")
        )
    assert {row["territory"]: float(row["share"]) for row in found} == {"DE": 0.5, "FR": 0.5}
