"""Corrections and ROR applied to stored works: only those concerned change, exactly, with their reason."""

from __future__ import annotations

from datetime import date

import pytest
import sqlalchemy as sa

from schemas import tables as t
from tasks.countries.registry import in_force, reference_at_hand
from tasks.storage.warehouse import Warehouse
from tests.countries import ROR_OF_IT, ROR_OF_NOBODY, WORKS, correct, correction, decided, reasons, update_ror
from tests.factory import author, cell, contents, proven, rows, run, work, write_snapshot

pytestmark = pytest.mark.usefixtures("unpublished")


@pytest.fixture
def settings(country_works):
    """Those of a warehouse that holds the works of tests/countries.py."""
    return country_works


def test_a_correction_changes_the_works_concerned_and_no_other(settings):
    by_ror = correction("institution", ROR_OF_IT, "CH")
    done = correct(
        settings, correction("string", "dept of physics", "BR"), correction("institution", "I78", "NZ"), by_ror
    )
    assert (done.looked_at, done.changed) == (3, 3)
    assert decided(settings, 13)[0] == ("CH", "override", "override_institution", ROR_OF_IT)
    assert decided(settings, 15)[0] == ("BR", "override", "override_string", "dept of physics")
    assert decided(settings, 14)[0] == ("NZ", "override", "override_institution", "I78")
    with Warehouse.open(settings) as warehouse:
        assert cell(warehouse, t.pair_year, territory_a="BR", territory_b="JP")["papers"] == 1
        assert cell(warehouse, t.pair_year, territory_a="DE", territory_b="FR")["papers"] == 1  # work 16
        assert cell(warehouse, t.pair_year, territory_a="DE", territory_b="NZ")["papers"] == 1
    assert reasons(settings) == {("works", "new"), ("corrections", "corrected")}
    proven(settings)


def test_applying_the_same_corrections_again_changes_nothing(settings):
    mine = correction("string", "dept of physics", "BR")
    correct(settings, mine)
    with Warehouse.open(settings) as warehouse:
        before = contents(warehouse)
    assert correct(settings, mine).looked_at == 0
    with Warehouse.open(settings) as warehouse:
        assert contents(warehouse) == before


def test_a_correction_that_is_withdrawn_leaves_everything_as_it_was(settings):
    with Warehouse.open(settings) as warehouse:
        before = contents(warehouse)
    correct(settings, correction("string", "dept of physics", "BR"))
    assert correct(settings).changed == 1
    with Warehouse.open(settings) as warehouse:
        assert contents(warehouse) == before
    proven(settings)


def test_ror_fills_null_countries_and_finds_names(settings):
    assert decided(settings, 11)[1][:2] == ("ZZ", "none")
    done = update_ror(settings)
    assert done.changed == 2
    found = decided(settings, 11)[1]
    assert found == ("BR", "ror_name", "ror_printed", f"zanthor college (ror.org/{ROR_OF_NOBODY})")
    assert decided(settings, 13)[0] == ("IT", "institution", "ror_record", ROR_OF_IT)
    with Warehouse.open(settings) as warehouse:
        held = rows(warehouse, sa.select(t.institution).where(t.institution.c.institution_id == 77))
        assert [(row["country"], row["ror_country"]) for row in held] == [(None, "IT")]
    proven(settings)
    assert update_ror(settings).changed == 0


def test_later_nights_decide_by_what_was_loaded(tmp_path, settings_for):
    """The same works, loaded before and after corrections and ROR, end in the same tables."""
    first, second = WORKS[:3], [*WORKS[3:], work(18, [author(strings=["Zanthor College"])])]
    root = write_snapshot(tmp_path / "s", {"2026-01-01": first, "2026-01-02": second})
    mine = correction("string", "dept of physics", "BR")
    early, late = settings_for(root, home=tmp_path / "early"), settings_for(root, home=tmp_path / "late")
    run(early, date(2026, 1, 1))
    update_ror(early)
    correct(early, mine)
    run(early)
    run(late)
    correct(late, mine)
    update_ror(late)
    found = []
    for settings in (early, late):
        with Warehouse.open(settings) as warehouse:
            found.append(contents(warehouse))
        proven(settings)
    assert found[0] == found[1]


@pytest.mark.parametrize("damage", ["[", "\\udcff", None])
def test_reference_data_that_was_damaged_on_disk_is_made_anew(settings, damage):
    correct(settings, correction("string", "dept of physics", "BR"))
    (kept,) = (settings.home / "reference").glob("*/overrides.json")
    good = kept.read_bytes()
    kept.unlink() if damage is None else kept.write_bytes(damage.encode(errors="surrogateescape"))
    assert reference_at_hand(settings).override(None, None, "dept of physics").country == "BR"
    assert kept.read_bytes() == good


def test_reference_data_is_named_by_what_it_holds(settings):
    with Warehouse.open(settings) as warehouse, warehouse.reading() as conn:
        assert in_force(conn) == ""
    correct(settings, correction("string", "dept of physics", "BR"))
    with Warehouse.open(settings) as warehouse, warehouse.reading() as conn:
        one = in_force(conn)
    correct(settings)
    with Warehouse.open(settings) as warehouse, warehouse.reading() as conn:
        assert in_force(conn) == ""
    assert one.startswith("none-")


def test_without_a_warehouse_strings_are_located_by_what_ships(tmp_path, settings_for):
    settings = settings_for(home=tmp_path / "nothing")
    assert reference_at_hand(settings).override(None, None, "orcid, inc") is not None
    assert not (settings.home / "warehouse.duckdb").exists()
