"""The views of a warehouse, on each engine, say what those of its release say: one SQL text, one result."""

from __future__ import annotations

import math

import duckdb
import pytest
import sqlalchemy as sa

from schemas.indices import VIEWS
from tasks.storage.warehouse import Warehouse
from tests.factory import author, run, work, write_snapshot

MIXES = [("US", "CN"), ("US", "CN", "DE"), ("US",), ("DE", "FR"), ("US", None), ("CN",), ("FR", "US", "IN"), (None,)]
WORKS = [
    work(
        11 + at,
        [author(country) for country in (MIXES[at % len(MIXES)] if at else ("IS",))],
        publication_year=2014 + at % 7,
        title="Learning in PyTorch" if at % 3 else None,
        referenced_works=[f"https://openalex.org/W{11 + at // 2}"],
    )
    for at in range(60)
]


@pytest.fixture
def settings(tmp_path, settings_for):
    """Two nights, so that the ledger knows a lag."""
    nights = {"2026-01-01": WORKS[:50], "2026-01-02": [{**one, "updated_date": "2026-01-02"} for one in WORKS[50:]]}
    settings = settings_for(write_snapshot(tmp_path / "s", nights))
    run(settings)
    return settings


def test_views_of_warehouse_and_release_agree(settings):
    with (
        Warehouse.open(settings) as warehouse,
        warehouse.reading() as conn,
        duckdb.connect(str(settings.published / "current" / "atlas.duckdb"), read_only=True) as atlas,
    ):
        for name, view in VIEWS.items():
            table = view.table(name)
            keys = ", ".join(view.key)
            released = atlas.execute(f"FROM {name} ORDER BY {keys}").fetchall()
            live = conn.execute(sa.select(table)).all()
            order = [list(table.c.keys()).index(column) for column in view.key]
            live = sorted(live, key=lambda row, order=order: tuple(row[at] for at in order))
            assert len(released) == len(live) > 0, name
            assert len({tuple(row[at] for at in order) for row in live}) == len(live), f"{name}: {keys} is no key"
            if name == "completeness":  # the release holds the state from before its own row in ops.release
                continue
            for ours, theirs in zip(live, released, strict=True):
                for column, a, b in zip(view.columns, ours, theirs, strict=True):
                    if isinstance(a, float) and isinstance(b, float):
                        assert math.isclose(a, b, rel_tol=1e-13, abs_tol=1e-13), (name, column.name)
                    else:
                        assert a == b, (name, column.name)


def test_every_citation_is_in_the_rates_of_both_its_ends(settings):
    """Also where a territory is cited in years in which it published nothing, as IS is after its only paper."""
    flow = "FROM flow_year WHERE policy = 'iso' AND territory_citing <> 'ZZ' AND territory_cited <> 'ZZ'"
    with duckdb.connect(str(settings.published / "current" / "atlas.duckdb"), read_only=True) as atlas:
        for field, whole in atlas.execute(f"SELECT field, sum(citations) {flow} GROUP BY field").fetchall():
            rates = f"FROM flow_rates WHERE policy = 'iso' AND field = '{field}'"
            sums = atlas.execute(f"SELECT sum(citations_made), sum(citations_received) {rates}").fetchone()
            assert sums == (whole, whole), field
