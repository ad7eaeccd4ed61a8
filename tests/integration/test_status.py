"""`collab status` says what failed, in which step, and the command that goes on, from the warehouse alone."""

from __future__ import annotations

from datetime import date, timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from flows.show import tables as show
from flows.steps import RunRequest, directly, run_night, with_night
from schemas import tables as t
from schemas.errors import GateStopped, SourceError
from tasks.batches.undo import undo
from tasks.releases.publish import publish
from tasks.releases.release import COMPLETENESS
from tasks.sources.venue_list import SOURCE as LISTS
from tasks.storage.warehouse import Warehouse, utc_now
from tasks.upkeep.runs import Begun, recorded_alone
from tasks.upkeep.status import read_status
from tests.commands import set_environment, status_of
from tests.factory import author, rows, work, write_snapshot

DAYS = {"2026-01-01": [work(11), work(12, [author("US")])]}


@pytest.fixture
def home(tmp_path, monkeypatch, settings_for):
    """Settings of a home over a snapshot of one date, in the environment too."""
    settings = settings_for(write_snapshot(tmp_path / "s", DAYS))
    set_environment(monkeypatch, settings, "home", "scope", "workers", "snapshot")
    return settings


def night() -> str:
    return with_night(run_night, directly, RunRequest())


def said(settings, later: timedelta = timedelta()) -> tuple[str, bool]:
    """What status prints so much later, and whether it is good."""
    found, text = status_of(settings, later)
    return text, found.is_good


def test_a_good_night_stays_good_when_nothing_new_comes_until_it_is_stale(home):
    night()
    night()  # brings nothing
    text, is_good = said(home, timedelta(hours=20))
    assert is_good, text
    assert "last good batch openalex-snapshot/2026-01-01" in text
    with Warehouse.open(home) as warehouse:
        (run,) = rows(warehouse, sa.select(t.run).order_by(t.run.c.started_at).limit(1))
        assert (run["flow"], run["state"], run["batches"]) == ("nightly", "completed", 1)
        batches = rows(warehouse, sa.select(t.batch).order_by(t.batch.c.finished_at))
        assert [batch["run_id"] == run["run_id"] for batch in batches] == [True, False]
    text, is_good = said(home, timedelta(hours=27))
    assert not is_good
    assert "STALE: no run came to its end within 26 hours" in text
    assert "`collab run --source openalex-snapshot`" in text


def test_a_stopped_night_names_step_rule_figure_limit_and_the_command_that_lets_it_pass(home, tmp_path, monkeypatch):
    night()
    monkeypatch.setattr("tasks.validation.gates.FEWEST_WORKS", 1)
    write_snapshot(tmp_path / "s", {**DAYS, "2026-01-02": [work(13, publication_year=2999)]})
    with pytest.raises(GateStopped) as stopped:
        night()
    for part in ("quarantined_share is 0.333333", "at most 0.05", "COLLAB_MAX_QUARANTINED_SHARE=0.35 collab run"):
        assert part in str(stopped.value)
    text, is_good = said(home)
    assert not is_good
    assert "FAILED nightly on openalex-snapshot" in text
    assert "in step load: batch openalex-snapshot/2026-01-01_2026-01-02" in text  # which is named once
    assert "last good batch openalex-snapshot/2026-01-01" in text
    monkeypatch.setenv("COLLAB_MAX_QUARANTINED_SHARE", "0.35")
    night()
    text, is_good = said(home)
    assert is_good, text


def test_a_stop_is_over_when_the_mended_source_was_taken_in(home, tmp_path, monkeypatch):
    night()
    monkeypatch.setattr("tasks.validation.gates.FEWEST_WORKS", 1)
    write_snapshot(tmp_path / "s", {**DAYS, "2026-01-02": [work(13, publication_year=2999)]})
    with pytest.raises(GateStopped):
        night()
    text, _ = said(home)
    assert "year_range" in text.split("Rules broken")[1].split("FAILED")[0]  # which rule refused the record
    with_night(run_night, directly, RunRequest(until=date(2026, 1, 1)))  # did not look at what was wrong
    assert "STOPPED" in said(home)[0]
    write_snapshot(tmp_path / "s", {**DAYS, "2026-01-02": [work(13)]})
    night()
    text, is_good = said(home)
    assert is_good, text
    assert "STOPPED" not in text
    assert "GOOD: nothing to do" in text


@pytest.mark.usefixtures("unpublished")
def test_parts_that_were_left_out_are_named_until_they_are_read(home, tmp_path):
    """The snapshot holds a work on the date of its last change alone: of what `--until` brings, nothing is complete."""
    write_snapshot(tmp_path / "s", DAYS | {"2026-02-01": [work(13, updated="2026-02-01")]})
    with_night(run_night, directly, RunRequest(until=date(2026, 1, 31)))
    assert "NOT READ: 1 record of the snapshot" in said(home)[0]
    assert "none is complete; `collab run --source openalex-snapshot`\n" in said(home)[0]
    with Warehouse.open(home) as warehouse:
        complete = sa.select(COMPLETENESS.c.is_complete, COMPLETENESS.c.basis).where(COMPLETENESS.c.field == "ai")
        assert rows(warehouse, complete) == [{"is_complete": False, "basis": "not fetched"}]
        night_of_february = with_night(run_night, directly, RunRequest())
        assert rows(warehouse, complete) == [{"is_complete": True, "basis": "assumed"}]
    assert "NOT READ" not in said(home)[0]
    assert "1 batch" in night_of_february


def test_a_source_that_is_gone_and_a_run_that_was_killed_are_told_apart(home, tmp_path):
    night()
    (tmp_path / "s").rename(tmp_path / "away")
    with pytest.raises(SourceError):
        night()
    assert "FAILED nightly on openalex-snapshot" in said(home)[0]
    (tmp_path / "away").rename(tmp_path / "s")
    night()
    assert said(home)[1]
    begun = Begun("verify", "warehouse", "collab verify")
    with Warehouse.open(home) as warehouse:
        with recorded_alone(warehouse, home, begun), warehouse.reading() as conn:
            found = read_status(conn, home, utc_now())
            assert [run.state for run in found.runs] == ["running", "completed"]
            assert found.is_good
        with warehouse.transaction() as conn:  # as SIGKILL leaves it
            conn.execute(sa.update(t.run).values(state="running", ended_at=None).where(t.run.c.flow == "verify"))
    text, is_good = said(home)
    assert not is_good
    assert "KILLED verify on warehouse" in text
    assert "`collab verify`" in text


def test_a_list_makes_no_night_fresh_and_goes_stale_with_none(home, tmp_path):
    of_list = Begun("nightly", LISTS, "collab run --source venue-list --list l.csv --corpus mine")
    with Warehouse.open(home) as warehouse:
        with recorded_alone(warehouse, home, of_list):
            pass
        with warehouse.reading() as conn:
            assert not read_status(conn, home, utc_now() + timedelta(days=400)).is_stale
    night()
    (tmp_path / "s").rename(tmp_path / "away")
    with pytest.raises(SourceError):
        night()
    later = utc_now() + timedelta(hours=26)
    with Warehouse.open(home) as warehouse:
        with recorded_alone(warehouse, home, of_list):
            pass
        with warehouse.transaction() as conn:
            is_newest = t.run.c.started_at == sa.select(sa.func.max(t.run.c.started_at)).scalar_subquery()
            conn.execute(sa.update(t.run).values(started_at=later, ended_at=later).where(is_newest))
    text, is_good = said(home, timedelta(hours=27))
    assert not is_good
    assert "FAILED nightly on openalex-snapshot" in text
    (stale,) = [line for line in text.splitlines() if line.startswith("STALE")]
    assert stale.endswith("`collab run --source openalex-snapshot`")


def test_a_clock_that_was_ahead_hides_neither_a_stale_warehouse_nor_a_failed_run(home, tmp_path):
    night()
    ahead = {"started_at": utc_now() + timedelta(days=400), "ended_at": utc_now() + timedelta(days=400)}
    with Warehouse.open(home) as warehouse, warehouse.transaction() as conn:
        conn.execute(sa.update(t.run).values(ahead))
        conn.execute(sa.update(t.batch).values(finished_at=ahead["ended_at"]))
        conn.execute(sa.update(t.release).values(published_at=ahead["ended_at"]))
    assert "STALE: no run came to its end within 26 hours (last: never)" in said(home)[0]
    (tmp_path / "s").rename(tmp_path / "away")
    with pytest.raises(SourceError):
        night()
    assert "FAILED nightly on openalex-snapshot" in said(home)[0]


def test_a_stop_is_forgotten_when_the_source_is_mended_and_brings_other_windows(home, tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.validation.gates.FEWEST_WORKS", 1)
    write_snapshot(tmp_path / "s", {**DAYS, "2026-01-02": [work(13, publication_year=2999)]})
    with pytest.raises(GateStopped):
        night()
    assert "STOPPED" in said(home)[0]
    write_snapshot(tmp_path / "s", {**DAYS, "2026-01-02": [work(13)], "2026-01-03": [work(14)]})
    night()
    text, is_good = said(home)
    assert is_good, text


def test_a_release_that_was_withdrawn_and_is_still_read_is_not_good(home):
    night()
    with Warehouse.open(home) as warehouse:
        (batch,) = rows(warehouse, sa.select(t.batch.c.batch_id))
        undo(warehouse, home, batch["batch_id"])  # killed before it published, or called in another home
    text, is_good = said(home)
    assert not is_good
    assert "UNPUBLISHED" in text
    with Warehouse.open(home) as warehouse:
        publish(warehouse, home)
    text, is_good = said(home)
    assert "UNPUBLISHED" not in text
    assert "EMPTY: every batch was undone" in text
    assert not is_good


def test_a_run_of_another_home_on_this_machine_is_not_taken_for_killed(home, tmp_path):
    night()
    other = home.model_copy(update={"home": tmp_path / "other"})
    with (
        Warehouse.open(home) as warehouse,
        recorded_alone(warehouse, other, Begun("verify", "warehouse", "collab verify")),
        warehouse.reading() as conn,
    ):
        assert [run.state for run in read_status(conn, home, utc_now()).runs] == ["running", "completed"]


@pytest.mark.parametrize(
    ("window", "shown"),
    [
        ("2026-06-01.0000", "2026-06-01"),
        ("2026-06-01_2026-06-03.0000", "2026-06-01..06-03"),
        ("2025-12-31_2026-01-02.0001", "2025-12-31..2026-01-02"),
        ("2026-06", "2026-06"),
        ("deletions-2026-06-01", "deletions-2026-06-01"),
        ("venues/my_papers_2024.csv", "venues/my_papers_2024.csv"),
    ],
)
def test_only_a_range_of_dates_is_shortened(window, shown):
    assert show._window(SimpleNamespace(kind="works", window_name=window)) == shown
