"""Definitions that change when the landed records of a snapshot or a list are gone: their parts are read again, and the
warehouse ends as if it had been loaded by the new ones."""

from __future__ import annotations

import json
import shutil
from functools import partial

import pytest

from flows.progress import Lines
from flows.steps import Summary, directly, run_night
from tasks.landing.intake import SnapshotIntake
from tasks.night import Night
from tasks.validation import gates
from tests.definitions import OF_TOPIC, forget_records, rebuild, soup_too, undecided, wider
from tests.factory import counts, proven, run, stored, work, write_snapshot
from tests.lists import bring, paper, write_list

pytestmark = pytest.mark.usefixtures("unpublished")
DAYS = {
    "2026-01-01": [work(n) for n in range(100, 120)],
    "2026-01-02": [work(140, **OF_TOPIC), work(141), work(100, updated="2026-01-02")],
    "2026-01-03": [work(142, **OF_TOPIC), work(101, updated="2026-01-03", **OF_TOPIC)],
    "2026-01-04": [work(143, **OF_TOPIC)],
    "2026-01-05": [work(144)],
}
STORED = {*range(100, 120), *range(140, 145)}  # when the other topic is admitted too


def rescan_snapshot(settings, summary: Summary | None = None) -> Summary:
    """What `collab rescan` does."""
    summary = summary or Summary()
    with Night(settings, partial(SnapshotIntake, is_rescan=True)) as opened:
        run_night(opened, directly, Lines(), summary)
    return summary


def copied(tmp_path, settings_for):
    """A warehouse of a snapshot whose landed records are gone, and the settings of one that is yet to be loaded."""
    root = write_snapshot(tmp_path / "s", DAYS)
    old, new = (settings_for(root, scope="ai", home=tmp_path / name, batch_works=10) for name in ("old", "new"))
    run(old)
    forget_records(old)
    return old, new


def test_a_rescan_of_a_snapshot_reads_every_part_again(tmp_path, settings_for, redefine):
    old, new = copied(tmp_path, settings_for)
    assert counts(rescan_snapshot(old)) == {}  # nothing to do, as long as definitions stay
    redefine(wider)
    assert rebuild(old).partial == 21
    assert "at most 21 works" in undecided(old)
    assert "`collab rescan` reads 5 parts again" in undecided(old)
    run(old)  # a night reads the last dates again, and not the others
    assert "`collab rescan` reads 3 parts again" in undecided(old)
    rescan_snapshot(old)
    assert undecided(old) == ""
    run(new)
    assert proven(old) == proven(new)
    assert stored(new) == STORED
    assert counts(rescan_snapshot(old)) == {}


@pytest.mark.publishes
def test_a_release_says_what_is_undecided(tmp_path, settings_for, redefine):
    old, _ = copied(tmp_path, settings_for)

    def told() -> dict:
        found = json.loads((old.published / "current" / "manifest.json").read_bytes())["definitions"]
        return {name: found[name] for name in ("partial", "undecided")}

    redefine(wider)
    rebuild(old)
    run(old)
    assert told() == {"partial": 21, "undecided": ["openalex"]}
    rescan_snapshot(old)
    assert told() == {"partial": 0, "undecided": []}


@pytest.mark.parametrize(("committed", "left"), [pytest.param(1, 5, marks=pytest.mark.slow), (2, 4)])
def test_a_rescan_of_a_snapshot_that_was_killed_goes_on_where_it_was(
    committed, left, tmp_path, settings_for, redefine, monkeypatch
):
    old, new = copied(tmp_path, settings_for)
    redefine(wider)
    rebuild(old)
    summary = Summary()
    load, loads = Night.load, iter(range(100))
    with monkeypatch.context() as context:
        context.setattr(Night, "load", lambda *args: load(*args) if next(loads) < committed else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            rescan_snapshot(old, summary)
    assert f"`collab rescan` reads {left} parts again" in undecided(old)
    fetched = counts(summary)["fetched"] + counts(rescan_snapshot(old))["fetched"]
    assert fetched == sum(map(len, DAYS.values()))
    assert undecided(old) == ""
    run(new)
    assert proven(old) == proven(new)


def test_a_part_that_the_snapshot_does_not_hold_any_more_is_not_waited_for(tmp_path, settings_for, redefine):
    old, _ = copied(tmp_path, settings_for)
    moved = {**DAYS, "2026-01-06": [work(143, updated="2026-01-06", **OF_TOPIC)]}
    del moved["2026-01-04"]
    shutil.rmtree(tmp_path / "s")
    write_snapshot(tmp_path / "s", moved)
    redefine(wider)
    rebuild(old)
    rescan_snapshot(old)
    assert undecided(old) == ""
    assert stored(old) == STORED


def test_a_part_that_is_loaded_anew_rewrites_nothing(tmp_path, settings_for, redefine, monkeypatch):
    """Gates watch sources: the same version of a work, classed otherwise, is a change of ours."""
    monkeypatch.setattr(gates, "FEWEST_WORKS", 5)
    monkeypatch.setattr(gates, "FEWEST_BATCHES", 3)
    days = {f"2026-01-{n:02}": [work(n * 10 + k) for k in range(6)] for n in range(1, 5)}
    root = write_snapshot(tmp_path / "s", days)
    settings = settings_for(root, scope="ai", max_rewritten_share=0.01, batch_works=6)
    run(settings)
    forget_records(settings)
    redefine(wider)
    rebuild(settings)
    summary = rescan_snapshot(settings)
    assert counts(summary) == {"fetched": 24, "updated": 24}
    judged = [one for found in summary.results.values() for one in found if one.rule == "rewritten_share"]
    assert {(one.observed, one.success) for one in judged} == {("0", True)}


def test_what_is_on_disk_still_needs_no_second_look(tmp_path, settings_for, redefine):
    settings = settings_for(write_snapshot(tmp_path / "s", DAYS), scope="ai")
    run(settings)
    redefine(wider)
    done = rebuild(settings)
    assert (done.partial, done.undecided) == (0, [])
    assert stored(settings) == STORED
    assert counts(rescan_snapshot(settings)) == {}


def test_a_list_is_read_again_when_it_is_brought(tmp_path, settings_for, redefine):
    file = write_list(tmp_path / "list.jsonl", [paper(1, title="Soup"), paper(2)])
    settings = settings_for()
    bring(settings, file)
    bring(settings, write_list(tmp_path / "other.jsonl", [paper(3)]), "other")
    shutil.rmtree(settings.landing / "venue-list")
    redefine(soup_too)
    assert rebuild(settings).partial == 3
    assert "`collab run --source venue-list --corpus venues` reads its lists again" in undecided(settings)
    assert counts(bring(settings, file, publish=True)) == {"fetched": 2, "updated": 1, "unchanged": 1}
    assert counts(bring(settings, file, publish=True)) == {}
    assert "--corpus other" in undecided(settings)
    bring(settings, tmp_path / "other.jsonl", "other", publish=True)
    assert undecided(settings) == ""
