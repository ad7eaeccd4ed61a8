"""With several workers the next window is landed, and parsed, while one is loaded; what comes out is the same."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flows.progress import Lines
from flows.steps import RunRequest, Summary, directly, run_night, with_night
from schemas import tables as t
from schemas.errors import GateStopped, SourceError
from tasks.batches import batch as batches
from tasks.night import Night
from tasks.storage.warehouse import Warehouse, utc_now
from tasks.upkeep.status import read_status
from tests.commands import set_environment
from tests.factory import author, contents, run, stored, work, write_snapshot

DAYS = {f"2026-01-0{day}": [work(10 * day + n, [author("US"), author("DE")]) for n in range(3)] for day in (1, 2, 3)}


@pytest.fixture
def settings(settings_for, tmp_path):
    """Each day is a window of its own, and a single batch."""
    return settings_for(write_snapshot(tmp_path / "s", DAYS), workers=2, batch_works=3)


def steps_of(settings) -> list[str]:
    """Steps of a night as they were taken, and batches as they were parsed, in order of time."""
    taken = []

    def step(name: str, about: str, call: Any, *args: Any, retries: int = 0) -> Any:
        taken.append(f"{name} {about}".strip())
        return directly(name, about, call, *args, retries=retries)

    with Night(settings) as night:
        run_night(night, step, Lines(), Summary())
    return taken


def days_stored(settings) -> set[int]:
    return {number // 10 for number in stored(settings)}


def damage(settings, day: str) -> None:
    """A part of as many bytes as the manifest says, with another content."""
    (part,) = Path(settings.snapshot).rglob(f"updated_date={day}/*.gz")
    good = part.read_bytes()
    part.write_bytes(gzip.compress(b"")[:10].ljust(len(good), b"\0"))


def test_a_window_is_landed_before_the_one_before_it_is_loaded(settings):
    taken = steps_of(settings)
    for earlier, later in (("1", "2"), ("2", "3")):
        (loaded,) = (
            at for at, step in enumerate(taken) if step.startswith(f"load openalex-snapshot/2026-01-0{earlier}")
        )
        assert taken.index(f"land 2026-01-0{later}.0000") < loaded
    assert sum(step.startswith("land 2026-") for step in taken) == len(DAYS)


def test_its_first_batch_is_parsed_meanwhile_and_only_once(settings, monkeypatch):
    staged, ahead = [], []
    real = batches.load

    def stage(batch, *args, real=batches.stage):
        staged.append(batch.landing.window)
        return real(batch, *args)

    def load(warehouse, batch, *args):
        ahead.append((batch.landing.window, night._ahead is not None))
        return real(warehouse, batch, *args)

    monkeypatch.setattr(batches, "stage", stage)
    monkeypatch.setattr(batches, "load", load)
    with Night(settings) as night:
        run_night(night, directly, Lines(), Summary())
    windows = [f"{day}.0000" for day in DAYS]
    assert staged == windows
    assert ahead == list(zip(windows, (True, True, False), strict=True))


def test_one_process_looks_not_ahead(settings):
    taken = steps_of(settings.model_copy(update={"workers": 1}))
    assert [step.split()[0] for step in taken[2:-1]] == ["land", "parse", "validate", "load"] * len(DAYS)


def test_what_is_wrong_with_the_next_window_waits_until_this_one_is_loaded(settings):
    damage(settings, "2026-01-02")
    for _ in range(2):  # again, and with the first window loaded
        with pytest.raises(SourceError, match="2026-01-02"):
            run(settings)
        assert days_stored(settings) == {1}
    write_snapshot(Path(settings.snapshot), DAYS)
    run(settings)
    assert days_stored(settings) == {1, 2, 3}


def test_the_run_is_told_to_have_failed_while_landing(settings, monkeypatch):
    damage(settings, "2026-01-02")
    set_environment(monkeypatch, settings, "home", "scope", "workers", "snapshot", "batch_works")
    with pytest.raises(SourceError):
        with_night(run_night, directly, RunRequest())
    with Warehouse.open(settings) as warehouse, warehouse.reading() as conn:
        (failed,) = conn.execute(sa.select(t.run.c.step, t.run.c.batches)).tuples()
        assert failed == ("land 2026-01-02.0000", 1)
        assert not read_status(conn, settings, utc_now()).is_good


def test_a_gate_that_stops_a_window_leaves_the_next_one_for_the_next_run(settings, monkeypatch):
    monkeypatch.setattr("tasks.validation.gates.FEWEST_WORKS", 1)
    gone_mad = {**DAYS, "2026-01-02": [work(20 + n, publication_year=2999) for n in range(3)]}
    write_snapshot(Path(settings.snapshot), gone_mad)
    with pytest.raises(GateStopped):
        run(settings)
    assert days_stored(settings) == {1}


def test_the_tables_are_those_of_one_process(settings, tmp_path):
    run(settings)
    alone = settings.model_copy(update={"workers": 1, "home": tmp_path / "alone"})
    run(alone)
    with Warehouse.open(settings) as ours, Warehouse.open(alone) as theirs:
        assert contents(ours) == contents(theirs)
