"""A large window is several batches: what is committed of them counts, whatever ends the run."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

import tasks.batches.batch as batches
import tasks.landing.land as landings
import tasks.validation.gates as gates
from schemas import tables as t
from schemas.errors import GateStopped
from tasks.storage.warehouse import Warehouse, utc_now
from tasks.upkeep.status import read_status
from tests.factory import author, counts, proven, rows, run, work, write_snapshot

pytestmark = pytest.mark.usefixtures("unpublished")


def cut_power_at_load(number, settings, monkeypatch):
    """A run that ends in an error when it loads its batch of that number."""
    real, calls = batches.load, []

    def load(*args):
        calls.append(1)
        if len(calls) == number:
            raise RuntimeError("power cut")
        return real(*args)

    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="power cut"):
        patched.setattr(batches, "load", load)
        run(settings)


def test_large_windows_are_loaded_in_batches_and_go_on_where_they_were(tmp_path, settings_for, monkeypatch):
    settings = settings_for(
        write_snapshot(tmp_path / "s", {"2026-01-01": [work(n) for n in range(11, 36)]}), batch_works=10
    )
    cut_power_at_load(3, settings, monkeypatch)
    with Warehouse.open(settings) as warehouse:
        assert [row["end_record"] for row in rows(warehouse, sa.select(t.batch).order_by(t.batch.c.end_record))] == [
            10,
            20,
        ]
        assert rows(warehouse, sa.select(t.part)) == []  # the part is not complete
    assert counts(run(settings)) == {"fetched": 5, "new": 5}
    assert len(proven(settings)["work"]) == 25


@pytest.mark.parametrize("workers", [1, 2])
def test_a_window_of_several_batches_is_checked_and_unpacked_once(tmp_path, settings_for, monkeypatch, workers):
    calls = []

    def noted(name, real):
        def call(*args):
            calls.append(name)
            return real(*args)

        return call

    for name in ("check_landing", "read_lines"):
        monkeypatch.setattr(landings, name, noted(name, getattr(landings, name)))
    root = write_snapshot(tmp_path / "s", {"2026-01-01": [work(n) for n in range(11, 36)]})
    assert counts(run(settings_for(root, batch_works=10, workers=workers))) == {"fetched": 25, "new": 25}
    assert calls == ["check_landing", "read_lines"]


@pytest.mark.publishes
def test_another_batch_size_after_a_killed_run_goes_on_and_ends_well(tmp_path, settings_for, monkeypatch):
    root = write_snapshot(tmp_path / "s", {"2026-01-01": [work(n) for n in range(11, 41)]})
    cut_power_at_load(2, settings_for(root, batch_works=10), monkeypatch)
    settings = settings_for(root, batch_works=15)
    assert counts(run(settings)) == {"fetched": 20, "new": 20}
    assert len(proven(settings)["work"]) == 30
    with Warehouse.open(settings) as warehouse, warehouse.reading() as conn:
        assert read_status(conn, settings, utc_now()).is_good


def test_a_mass_rewrite_stops_the_batch_and_leaves_the_tables_alone(tmp_path, settings_for, monkeypatch):
    monkeypatch.setattr(gates, "FEWEST_WORKS", 10)
    monkeypatch.setattr(gates, "FEWEST_BATCHES", 3)
    days = {f"2026-01-{n:02}": [work(n * 100 + k, updated=f"2026-01-{n:02}") for k in range(30)] for n in range(1, 5)}
    root = write_snapshot(tmp_path / "s", days)
    settings = settings_for(root, batch_works=30)
    run(settings)
    before = proven(settings)
    days["2026-01-12"] = [
        work(n * 100 + k, [author("FR"), author("CN")], updated="2026-01-12") for n in range(1, 5) for k in range(30)
    ]
    write_snapshot(root, days)
    with pytest.raises(GateStopped, match=r"rewritten_share is 0\.3"):
        run(settings_for(root, batch_works=40))
    assert proven(settings) == before
    with Warehouse.open(settings) as warehouse:
        stopped = rows(
            warehouse,
            sa.select(t.validation_result).where(
                t.validation_result.c.rule == "rewritten_share", t.validation_result.c.success.is_(False)
            ),
        )
        assert len(stopped) == 1
    run(settings_for(root, batch_works=40, max_rewritten_share=1))
    proven(settings)
