"""Which cells some batches moved most, and why."""

from __future__ import annotations

from tasks.loading.ledger import Moved, cells_moved
from tasks.storage.warehouse import Warehouse
from tests.factory import author, run, work, write_snapshot

LATER = "2026-01-02T00:00:00"


def both(number, *countries, **more):
    return work(number, [author(country) for country in countries], **more)


def test_cells_that_a_night_moved_most_come_first_each_with_its_reasons(tmp_path, settings_for):
    first = [both(1, "CN", "US"), both(2, "CN", "US"), both(3, "DE", "US")]
    second = [both(1, "CN", "DE", updated=LATER), *(both(n, "CN", "US", updated=LATER) for n in (4, 5, 6))]
    second.append(both(3, "DE", "US", updated=LATER, cited_by_count=9))  # which moves no paper
    settings = settings_for(write_snapshot(tmp_path / "s", {"2026-01-01": first}))
    run(settings)
    write_snapshot(tmp_path / "s", {"2026-01-01": first, "2026-01-02": second})
    ids = [outcome.row["batch_id"] for outcome in run(settings).outcomes if outcome.row["new"]]
    with Warehouse.open(settings) as warehouse, warehouse.reading() as conn:
        found = cells_moved(conn, ids, "iso", "all", 2)
        assert cells_moved(conn, [], "iso", "all", 2) == []
    assert found[:4] == [
        Moved("openalex", "all", 2020, ("US",), {"new": 3, "corrected": -1}, 2),
        Moved("openalex", "all", 2020, ("CN",), {"new": 3}, 3),
        Moved("openalex", "all", 2020, ("CN", "US"), {"new": 3, "corrected": -1}, 2),
        Moved("openalex", "all", 2020, ("CN", "DE"), {"corrected": 1}, 1),
    ]
    assert "all" not in {cell.field for cell in found[4:]}
    assert len(found) == 8
