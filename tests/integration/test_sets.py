"""Works are counted by sets of policies and fields (schemas/counting/sets.py): citations between works that a policy
folds and works that none does, counted on paper."""

from __future__ import annotations

from decimal import Decimal

import pytest
import sqlalchemy as sa

from schemas import tables as t
from tasks.storage.warehouse import Warehouse
from tests.factory import URL, author, prove, rows, run, work, write_snapshot

pytestmark = pytest.mark.usefixtures("unpublished")


def made(number: int, countries: str, cites: int, day: int) -> dict:
    """A work on machine learning by authors of these countries, that cites another."""
    return work(
        number,
        [author(country) for country in countries.split()],
        title="Deep learning",
        referenced_works=[f"{URL}W{cites}"],
        updated=f"2026-01-0{day}",
    )


def flows(settings, policy: str, field: str) -> dict[str, tuple[int, Decimal]]:
    of = t.flow_year.c
    columns = of.territory_citing, of.territory_cited, of.citations, of.fractional
    with Warehouse.open(settings) as warehouse:
        found = rows(warehouse, sa.select(*columns).where(of.policy == policy, of.field == field))
        with warehouse.reading() as conn:
            prove(conn)
    return {
        f"{row['territory_citing']} {row['territory_cited']}": (row["citations"], row["fractional"].normalize())
        for row in found
    }


def test_citations_between_folded_works_and_others(tmp_path, settings_for):
    whole, half = (1, Decimal(1)), (1, Decimal("0.5"))
    nights = {
        "2026-01-01": [made(2, "CN", 1, 1), made(3, "US", 4, 1)],
        "2026-01-02": [made(1, "HK", 2, 2), made(4, "HK US", 1, 2)],
    }
    run(settings_for(write_snapshot(tmp_path / "s", nights)))
    settings = settings_for(tmp_path / "s")
    iso = {"HK CN": whole, "CN HK": whole, "HK HK": half, "US HK": (2, Decimal(1)), "US US": half}
    folded = {"CN CN": (3, Decimal("2.5")), "US CN": (2, Decimal(1)), "US US": half}
    for field in ("all", "ai", "machine-learning"):
        assert flows(settings, "iso", field) == iso
        assert flows(settings, "mainland-sar", field) == folded
        assert flows(settings, "greater-china", field) == folded

    # One moves from a region that two policies fold to one that a single one does, the work that it cites and is cited
    # by has an author more, and a third cites another than before.
    nights["2026-01-03"] = [made(1, "TW", 2, 3), made(2, "CN CN", 1, 3), made(3, "US", 1, 3)]
    run(settings_for(write_snapshot(tmp_path / "s", nights), max_rewritten_share=1, max_year_change=9, band_sigmas=99))
    both = (2, Decimal("1.5"))
    moved = {"TW CN": whole, "CN TW": whole, "HK TW": half, "US TW": both}
    apart = {"TW CN": whole, "CN TW": both, "US TW": both}
    for field in ("all", "ai", "machine-learning"):
        assert flows(settings, "iso", field) == moved
        assert flows(settings, "mainland-sar", field) == apart
        assert flows(settings, "greater-china", field) == {"CN CN": (3, Decimal("2.5")), "US CN": both}
