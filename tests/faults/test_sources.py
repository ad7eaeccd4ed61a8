"""The source itself is wrong: half its volume, 40 % of all works rewritten, yesterday's data, a publisher without
affiliations. And the clock, and two workers at the same work."""

from __future__ import annotations

import sys
from datetime import date, timedelta

import pytest
import sqlalchemy as sa

import tasks.storage.warehouse as warehouses
import tasks.validation.gates as gates
import tasks.validation.publishers as publishers
import tasks.validation.rewriting as rewriting
import tasks.validation.volume as volume
from schemas import tables as t
from schemas.errors import GateStopped, SourceError
from tasks.storage.warehouse import Warehouse, utc_now
from tasks.upkeep.status import read_status
from tests.factory import author, contents, counts, rows, run, stored, work, write_snapshot
from tests.faults.homes import of_api
from tests.faults.processes import collab
from tests.faults.promises import promises_hold, twice_is_once
from tests.nights import TODAY, dated, night

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A usual night has ten records here, and there were three of them."""
    for module, limits in (
        (gates, {"FEWEST_WORKS": 10, "FEWEST_BATCHES": 3}),
        (rewriting, {"FEWEST_PAPERS": 10}),
        (volume, {"FEWEST_RECORDS": 10, "FEWEST_DATES": 3, "FEWEST_OF_WINDOW": 10}),
        (publishers, {"FEWEST_REWRITTEN": 5, "FEWEST_IN_BATCH": 5, "FEWEST_BATCHES": 3}),
    ):
        for name, value in limits.items():
            monkeypatch.setattr(module, name, value)


def usual(last: int) -> dict[str, list[dict]]:
    """Dates of ten works each, six of IEEE and four of Springer."""
    return {
        f"2026-01-{n:02}": [
            work(n * 100 + k, doi=f"10.{1109 if k < 6 else 1007}/{n}.{k}", updated=f"2026-01-{n:02}") for k in range(10)
        ]
        for n in range(1, last + 1)
    }


def after_four_nights(tmp_path, home_of, **more):
    root = write_snapshot(tmp_path / "usual", usual(4))
    settings = home_of(snapshot=str(root), batch_works=10, **more)
    run(settings)
    return root, settings


def why(settings, rule: str) -> str:
    """What the maintainer reads beside the broken rule."""
    with Warehouse.open(settings) as warehouse:
        result = t.validation_result.c
        broken = sa.select(result.sample).where(result.rule == rule, result.success.is_(False))
        return rows(warehouse, broken)[0]["sample"]


def stops(settings, rule: str, remedy: str) -> str:
    """A night that a gate stops: nothing of it counts, nothing is published, the figures and the remedy are said."""
    before = promises_hold(settings)
    release = (settings.published / "current").resolve()
    once = (
        r"if the source is right, `(COLLAB_\w+=\S+ )+collab run .*` lets it pass once; else `collab run .*` when it is"
    )
    with pytest.raises(
        GateStopped, match=rf"{rule} is [\d.e-]+, limit .* -> nothing of it was loaded; .*{once}"
    ) as caught:
        run(settings)
    assert promises_hold(settings) == before
    assert (settings.published / "current").resolve() == release
    with Warehouse.open(settings) as warehouse, warehouse.reading() as conn:
        status = read_status(conn, settings, utc_now())
    assert any(rule in line for line in status.stopped)
    assert not status.is_good
    assert remedy in why(settings, rule)
    return f"{caught.value} ({why(settings, rule)})"


def passes(settings, root, **once) -> None:
    """The run that goes on, and the promises after it."""
    run(settings.model_copy(update=once))
    found = promises_hold(settings)
    run(settings)
    assert promises_hold(settings) == found


def test_half_of_the_usual_volume(tmp_path, home_of, survived):
    root, settings = after_four_nights(tmp_path, home_of)
    write_snapshot(root, usual(4) | {"2026-01-05": [work(500 + k, updated="2026-01-05") for k in range(5)]})
    said = stops(settings, "date_volume", "if it is right, run once with COLLAB_MIN_VOLUME_SHARE=0.50")
    passes(settings, root, min_volume_share=0.5)
    survived("a date of half the usual volume", said, "run once with the share that the message names")


def test_half_of_the_snapshot_is_missing(tmp_path, home_of, survived):
    root, settings = after_four_nights(tmp_path, home_of)
    write_snapshot(root, {day: works for day, works in usual(5).items() if day > "2026-01-03"})
    said = stops(settings, "snapshot_volume", "wait until the source is whole and run again")
    write_snapshot(root, usual(5))
    passes(settings, root)
    survived("half of the snapshot is missing", said, "fetch it again, run again")


def test_forty_percent_of_all_works_are_rewritten(tmp_path, home_of, survived):
    root, settings = after_four_nights(tmp_path, home_of)
    rewritten = [
        work(n * 100 + k, [author("FR"), author("CN")], doi=f"10.1109/{n}.{k}", updated="2026-01-05")
        for n in (1, 2)
        for k in range(8)
    ]
    write_snapshot(root, usual(4) | {"2026-01-05": rewritten})
    settings = settings.model_copy(update={"batch_works": 60})
    said = stops(settings, "rewritten_share", "mass rewrites are errors of the source")
    passes(settings, root, max_rewritten_share=1)
    survived("40 % of all works rewritten", said, "mend the source, or raise the limit that the rule names")


def test_yesterdays_data(tmp_path, home_of, survived):
    root, settings = after_four_nights(tmp_path, home_of)
    before, release = promises_hold(settings), (settings.published / "current").resolve()
    again = run(settings)
    assert set(counts(again)) == {"fetched", "unchanged"}
    assert promises_hold(settings) == before
    assert (settings.published / "current").resolve() == release
    survived("yesterday's data", again.line(), "nothing to do")
    write_snapshot(root, usual(3))
    run(settings)
    assert promises_hold(settings) == before
    said = why(settings, "snapshot_age_days")
    assert "the snapshot ends on 2026-01-03, 2026-01-04 was loaded before: it is an older copy" in said
    write_snapshot(root, usual(5))
    assert counts(run(settings))["new"] == 10
    survived("an older copy of the data", said, "goes on with a warning; the next newer copy is taken in")


def test_the_list_of_deletions_names_half_of_all_works(tmp_path, home_of, survived):
    root, settings = after_four_nights(tmp_path, home_of)
    gone = {n * 100 + k: "2026-01-05" for n in (1, 2) for k in range(10)}
    write_snapshot(root, usual(4), deleted=gone)
    said = stops(settings, "removed_share", "20 of 40 stored works are deleted or gone out of scope")
    write_snapshot(root, usual(5), deleted={})
    passes(settings, root)
    survived(
        "half of all works in the list of deletions", said, "mend the list, or raise the limit that the rule names"
    )


def test_all_works_lose_their_topics(tmp_path, home_of, survived):
    root, settings = after_four_nights(tmp_path, home_of, scope="ai")
    settings = settings.model_copy(update={"batch_works": 60})
    bare = [
        work(n * 100 + k, topics=[], primary_topic=None, updated="2026-01-05") for n in range(1, 5) for k in range(10)
    ]
    write_snapshot(root, usual(4) | {"2026-01-05": bare})
    said = stops(settings, "removed_share", "40 of 40 stored works are deleted or gone out of scope")
    write_snapshot(root, usual(5))
    passes(settings, root)
    survived("all works come without topics", said, "mend the source, or raise the limit that the rule names")


def test_a_publisher_loses_its_affiliations(tmp_path, home_of, survived):
    root, settings = after_four_nights(tmp_path, home_of)
    lost = [
        work(n * 100 + k, [author(), author()], doi=f"10.1109/{n}.{k}", updated="2026-01-05")
        for n in (1, 2)
        for k in range(5)
    ]
    write_snapshot(root, usual(4) | {"2026-01-05": lost})
    settings = settings.model_copy(update={"max_rewritten_share": 1.0, "max_year_change": 9.0, "band_sigmas": 99.0})
    said = stops(settings, "publisher_unlocated", "10 of 10 rewritten works of publisher 10.1109 had a country")
    new = [work(500 + k, [author(), author()] if k < 6 else None, doi=f"10.{1109 if k < 6 else 1007}/5.{k}",
                updated="2026-01-05") for k in range(10)]  # fmt: skip
    write_snapshot(root, usual(4) | {"2026-01-05": new})
    said_of_new = stops(settings, "publisher_lost", "if it is right, run once with COLLAB_MAX_UNLOCATED_SHARE=1")
    write_snapshot(root, usual(5))
    passes(settings, root)
    survived("a publisher loses all affiliations, stored works", said, "mend the source, run again")
    survived("a publisher loses all affiliations, new works", said_of_new, "mend the source, run again")


def test_half_of_a_window_of_the_api(home_of, api, survived):
    server = api([dated(1000 + n, "2026-11-05") for n in range(60)])
    settings = home_of(**of_api(server))
    night(settings, TODAY)
    before = promises_hold(settings)
    for number in range(1000, 1030):
        server.remove(number)
    with pytest.raises(
        SourceError, match=r"no longer lists 30 of 60 .*COLLAB_MAX_VANISHED_SHARE.* -> .*run again"
    ) as caught:
        night(settings, TODAY + timedelta(days=1))
    assert promises_hold(settings) == before
    survived("API: half of a month is gone", caught.value, "run again when the source is whole")
    trusting = settings.model_copy(update={"max_vanished_share": 1.0, "max_removed_share": 1.0})
    with pytest.raises(
        GateStopped, match=r"window_volume is 30, limit at least 36 -> .*`COLLAB_MIN_VOLUME_SHARE=0.50 collab run "
    ) as stopped:
        night(trusting, TODAY + timedelta(days=2))
    assert contents_of(settings) == before
    assert len(stored(settings)) == 60
    said = f"{stopped.value} ({why(settings, 'window_volume')})"
    survived("API: half of a month is gone, and that is allowed", said, "run once with the share that it names")
    night(trusting.model_copy(update={"min_volume_share": 0.0}), TODAY + timedelta(days=2))
    night(trusting.model_copy(update={"min_volume_share": 0.0}), TODAY + timedelta(days=3))
    assert len(stored(settings)) == 30
    promises_hold(settings)


def contents_of(settings) -> dict:
    with Warehouse.open(settings) as warehouse:
        return contents(warehouse)


@pytest.mark.parametrize("jumps", [(-1, 0, 0), (365, 0, 0), (0, 365, 0), (0, -1, 1)], ids=str)  # days, by night
def test_the_clock_jumps(tmp_path, home_of, monkeypatch, survived, jumps):
    whole = home_of("whole", snapshot=str(write_snapshot(tmp_path / "usual", usual(3))))
    run(whole)
    settings, real = home_of(snapshot=whole.snapshot), warehouses.utc_now
    clocks = [
        module for name, module in sys.modules.items() if name.startswith("tasks.") and hasattr(module, "utc_now")
    ]
    for night_number, shift in enumerate(jumps, start=1):
        with monkeypatch.context() as patched:
            for module in clocks:
                patched.setattr(module, "utc_now", lambda days=shift: real() + timedelta(days=days))
            run(settings, date(2026, 1, night_number))
        promises_hold(settings)
    run(settings)
    assert promises_hold(settings) == promises_hold(whole)
    with Warehouse.open(settings) as warehouse:
        ends = [row["finished_at"] for row in rows(warehouse, sa.select(t.batch.c.finished_at))]
        assert len(set(ends)) == len(ends)  # an order there still is
    survived(
        f"clock off by {', '.join(map(str, jumps))} days on three nights", "nothing", "by itself", sum(map(bool, jumps))
    )


def test_two_workers_pick_up_the_same_run(home_of, undisturbed, engine, snapshot, survived):
    settings = home_of(snapshot=str(snapshot))
    both = [collab(settings, "run", "--no-prefect") for _ in range(2)]
    said = [worker.communicate(timeout=500)[0] for worker in both]
    codes = sorted(worker.returncode for worker in both)
    assert codes == [0, 0] or (codes == [0, 1] and engine == "duckdb"), said
    refusal = next((out for out, worker in zip(said, both, strict=True) if worker.returncode), "")
    if refusal:
        assert "is in use by another process -> wait for that run to end" in refusal
    twice_is_once(settings, undisturbed)
    line = (refusal.strip().splitlines() or ["nothing: they took turns"])[-1]
    survived("two workers at the same run", line, "the other worker did all of it" if refusal else "by itself")
