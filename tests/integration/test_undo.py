"""The last batches are taken back: everything is as before, and stays so until newer versions come, or a release."""

from __future__ import annotations

import shutil
from datetime import date

import msgspec
import pytest
import sqlalchemy as sa

import flows.commands.recover
from schemas import tables as t
from schemas.errors import GateStopped, LandingError, UndoRefused, UsageError
from tasks.batches.undo import Released, Undone, release, undo
from tasks.countries.registry import is_located_anew
from tasks.loading.ledger import WAREHOUSE
from tasks.reading.quarantine import open_records
from tasks.releases.publish import publish
from tasks.sample.snapshot import write_sample
from tasks.storage.warehouse import Warehouse, utc_now
from tasks.upkeep.retention import prune
from tasks.upkeep.status import read_status
from tasks.validation.validate import Report, Result
from tasks.validation.volume import snapshot_left
from tests.commands import invoke, set_environment
from tests.countries import ROR_OF_IT, update_ror
from tests.factory import author, contents, institution, linked, prove, rows, run, work, write_snapshot


def state(settings, *, is_verified: bool = True) -> dict:
    """Everything that an undone batch must leave as it was; counting it all anew takes most of the time."""
    with Warehouse.open(settings) as warehouse:
        with warehouse.reading() as conn:
            if is_verified:
                prove(conn)
            held = [(row.source_key, row.version) for row in open_records(conn)]
        current = (settings.published / "current").resolve()
        return {**contents(warehouse), "open": sorted(held), "release": current.name if current.exists() else ""}


def batches(settings) -> list[str]:
    """Batches from sources, oldest first."""
    of = t.batch.c
    with Warehouse.open(settings) as warehouse:
        query = sa.select(of.batch_id).where(of.source != WAREHOUSE, of.end_record > of.first_record)
        return [row["batch_id"] for row in rows(warehouse, query.order_by(of.finished_at))]


def withdrawals(settings) -> dict:
    """When each release was withdrawn, of those that were."""
    of = t.release.c
    with Warehouse.open(settings) as warehouse:
        withdrawn = rows(warehouse, sa.select(of.release_id, of.withdrawn_at).where(of.withdrawn_at.is_not(None)))
    return {row["release_id"]: row["withdrawn_at"] for row in withdrawn}


def take_back(settings, batch_id: str, **how) -> list:
    with Warehouse.open(settings) as warehouse:
        done = undo(warehouse, settings, batch_id, **how)
        publish(warehouse, settings)
    return done


def test_every_night_can_be_taken_back_to_the_first(tmp_path, settings_for):
    made = write_sample(tmp_path / "s", works=120, days=3, seed=3)
    settings = settings_for(tmp_path / "s", scope="ai", batch_works=60)
    states, ends = [], []
    for day in made.days:
        run(settings, date.fromisoformat(str(day)))
        states.append(state(settings, is_verified=False))  # what every night leaves is looked at elsewhere
        ends.append(len(batches(settings)))
    assert states[-1]["open"]  # something is in quarantine, else nothing of it is tested
    every = batches(settings)
    for night in reversed(range(len(states) - 1)):
        done = take_back(settings, every[ends[night]], with_later=True)
        assert [one.batch_id for one in done] == every[ends[night] : ends[night + 1]][::-1]
        found = state(settings)
        for name, expected in states[night].items():
            if name != "open":  # what a later night refused stays refused
                assert found[name] == expected, (night, name)
        assert set(states[night]["open"]) <= set(found["open"])
    with Warehouse.open(settings) as warehouse:
        reasons = {row["reason"] for row in rows(warehouse, sa.select(t.ledger_of(t.world_year).c.reason).distinct())}
    assert "undone" in reasons
    run(settings)  # the snapshot still holds what was undone
    assert {k: v for k, v in state(settings).items() if k != "open"} == {
        k: v for k, v in states[0].items() if k != "open"
    }


DAYS = {
    "2026-01-01": [work(11), work(12, [author("US")]), work(13, doi="https://doi.org/10.1234/a")],
    "2026-01-02": [
        work(11, [author("DE"), author("FR")], updated="2026-01-02"),
        work(14, [author("US"), author("CN"), author("FR")], doi="https://doi.org/10.1234/a"),  # displaces 13
        work(15, [author("JP")]),
    ],
}


@pytest.fixture
def two_nights(tmp_path, settings_for):
    """Settings of a warehouse with two nights, and the states after each."""
    settings = settings_for(write_snapshot(tmp_path / "s", DAYS))
    run(settings, date(2026, 1, 1))
    first = state(settings, is_verified=False)
    run(settings)
    return settings, first, state(settings, is_verified=False)


def test_what_was_undone_stays_out_until_it_is_released(two_nights, tmp_path, monkeypatch):
    settings, first, second = two_nights
    last = batches(settings)[-1]
    assert last in measured(settings)
    assert [(one.restored, one.removed, one.blocked) for one in take_back(settings, last)] == [(2, 2, 3)]
    assert state(settings) == first
    assert last not in measured(settings)  # no later batch is held against it
    assert take_back(settings, last) == []  # twice is once
    # The source sends the same again beside a newer version of one of them.
    again = {**DAYS, "2026-01-03": [*DAYS["2026-01-02"], work(15, [author("KR")], updated="2026-01-03")]}
    write_snapshot(tmp_path / "s", again)
    run(settings)
    with Warehouse.open(settings) as warehouse:
        assert [row["work_id"] for row in rows(warehouse, sa.select(t.work.c.work_id).order_by(t.work.c.work_id))] == [
            *(11, 12, 13, 15),
        ]
        newest = rows(warehouse, sa.select(t.batch).where(t.batch.c.new == 1))[-1]
        assert (newest["fetched"], newest["new"], newest["unchanged"], newest["superseded"]) == (10, 1, 3, 6)
        newest_id = newest["batch_id"]
    with Warehouse.open(settings) as warehouse, pytest.raises(UsageError, match="no batch"):
        release(warehouse, settings, "nothing")
    with Warehouse.open(settings) as warehouse, pytest.raises(UsageError, match="was not undone"):
        release(warehouse, settings, newest_id)
    take_back(settings, newest_id)
    stops = Result("gates", "quarantined_share", "stop", False, "0.5", "at most 0", 1, 1, None)
    lifted = {"quarantined_share": "COLLAB_MAX_QUARANTINED_SHARE=0.51"}
    with Warehouse.open(settings) as warehouse, monkeypatch.context() as patched:
        patched.setattr("tasks.batches.batch.check_gates", lambda gates: Report([stops], [], lifted))
        with pytest.raises(GateStopped, match=f"COLLAB_MAX_QUARANTINED_SHARE=0.51 collab undo {last} --release"):
            release(warehouse, settings, last)
    with Warehouse.open(settings) as warehouse:
        done = release(warehouse, settings, last)
        assert done.outcome is not None
        assert (done.outcome.row["new"], done.outcome.row["updated"]) == (2, 1)
        publish(warehouse, settings)
        with warehouse.reading() as conn:
            assert snapshot_left(conn) == 0  # else no year of the release were complete
        assert release(warehouse, settings, last) == Released(0, None)  # twice is once
    ended = state(settings)
    assert {k: v for k, v in ended.items() if k != "release"} == {k: v for k, v in second.items() if k != "release"}
    (undone,) = take_back(settings, done.outcome.row["batch_id"])  # a release is a batch like any other
    assert (undone.restored, undone.removed, undone.blocked) == (2, 2, 3)
    assert state(settings) == first
    assert kept_out(settings) == brought_by(last) | {(15, 3, newest_id)}


def measured(settings) -> set[str]:
    """Batches whose figures later ones are held against."""
    with Warehouse.open(settings) as warehouse:
        return {row["batch_id"] for row in rows(warehouse, sa.select(t.metric.c.batch_id))}


def kept_out(settings) -> set[tuple[int, int, str]]:
    """Versions that may not come back: work, day, and the batch that had brought them."""
    with Warehouse.open(settings) as warehouse:
        found = rows(warehouse, sa.select(t.blocked))
    return {(row["work_id"], row["source_updated_at"].day, row["batch_id"]) for row in found}


def brought_by(last: str) -> set[tuple[int, int, str]]:
    """Versions of the second night."""
    return {(11, 2, last), (14, 1, last), (15, 1, last)}


def overtaken(settings, tmp_path) -> tuple[str, str]:
    """Take the last batch back, and load a newer version of one of its works; the ids of both batches."""
    last = batches(settings)[-1]
    take_back(settings, last)
    write_snapshot(tmp_path / "s", {**DAYS, "2026-01-03": [work(15, [author("KR")], updated="2026-01-03")]})
    run(settings)
    return last, batches(settings)[-1]


def test_a_release_that_was_taken_back_keeps_out_what_was_kept_out_before_it(two_nights, tmp_path):
    settings, *_ = two_nights
    last, newest = overtaken(settings, tmp_path)
    with Warehouse.open(settings) as warehouse:
        done = release(warehouse, settings, last)
    assert done.outcome is not None
    assert (done.outcome.row["new"], done.outcome.row["updated"]) == (1, 1)  # work 15 has a newer version
    (undone,) = take_back(settings, done.outcome.row["batch_id"])
    assert kept_out(settings) == brought_by(last)
    with Warehouse.open(settings) as warehouse:
        assert prune(warehouse, settings).blocked == 1  # it does not count as released
    dated = withdrawals(settings)
    (former,) = take_back(settings, newest)
    assert not {*former.withdrawn} & {*undone.withdrawn}
    assert withdrawals(settings).items() >= dated.items() > {}.items()
    assert kept_out(settings) == brought_by(last) | {(15, 3, newest)}
    with Warehouse.open(settings) as warehouse:
        again = release(warehouse, settings, last).outcome
    assert again is not None
    assert again.row["batch_id"] == f"{last}/released-2"


def test_versions_are_released_when_their_landed_records_are_gone(two_nights, tmp_path):
    settings, first, second = two_nights
    last, newest = overtaken(settings, tmp_path)
    shutil.rmtree(next(settings.landing.glob(f"*/{last.split('/')[1]}")))
    with Warehouse.open(settings) as warehouse:
        assert release(warehouse, settings, last) == Released(3, None)
        assert release(warehouse, settings, last) == Released(0, None)
        with pytest.raises(UndoRefused, match="only let versions in"):
            undo(warehouse, settings, f"{last}/released-1")
    take_back(settings, newest)  # does not keep out again what it had overtaken
    assert state(settings) == first
    assert kept_out(settings) == {(15, 3, newest)}
    write_snapshot(tmp_path / "s", {**DAYS, "2026-01-04": [work(12, [author("US")])]})
    run(settings)
    assert state(settings)["work"] == second["work"]


def test_what_was_taken_back_is_published_though_the_rest_is_refused(two_nights, monkeypatch):
    settings, first, _ = two_nights
    oldest, *_, last = batches(settings)
    set_environment(monkeypatch, settings, "home", "scope", "workers", "snapshot")
    said = flows.commands.recover._say

    def meanwhile(done: Undone) -> None:
        said(done)
        for kept in settings.landing.glob("*/*/before"):  # as `collab prune` beside it would
            shutil.rmtree(kept)

    monkeypatch.setattr(flows.commands.recover, "_say", meanwhile)
    result = invoke("undo", oldest, "--with-later")
    assert result.exit_code == 1
    assert f"undone {last}: 2 works as before, 2 removed" in result.output
    assert "current release: " in result.output
    assert f"what {oldest} replaced is not in" in result.output
    assert state(settings) == first
    with Warehouse.open(settings) as warehouse, warehouse.reading() as conn:
        assert read_status(conn, settings, utc_now()).is_published


def test_nothing_is_kept_where_nothing_shall_be_undone(tmp_path, settings_for):
    settings = settings_for(write_snapshot(tmp_path / "s", DAYS), undo_days=0)
    run(settings)
    assert list(settings.landing.glob("*/*/before")) == []
    (last, *_) = batches(settings)[::-1]
    before = state(settings)
    with Warehouse.open(settings) as warehouse, pytest.raises(UndoRefused, match="COLLAB_UNDO_DAYS is 0"):
        undo(warehouse, settings, last)
    assert state(settings) == before


def test_only_what_can_be_put_back_is_undone(two_nights):
    settings, _, second = two_nights
    oldest, *_, last = batches(settings)
    for wrong, error, match in (
        ("openalex", UsageError, "no batch 'openalex'"),
        (last[:-1], UsageError, "did you mean"),
        ("/00000000", UsageError, "ends the ids of 2 batches"),
        (oldest, UsageError, r"batch(es)? .* loaded after .*--with-later"),
    ):
        with Warehouse.open(settings) as warehouse, pytest.raises(error, match=match):
            undo(warehouse, settings, wrong)
    (kept,) = [folder for folder in settings.landing.glob("*/*/before/*") if folder.name == last.replace("/", "~")]
    manifest = msgspec.json.decode((kept / "manifest.json").read_bytes())
    foreign = msgspec.json.encode(manifest | {"finished_at": "2026-01-01T00:00:00"})
    own = (kept / "manifest.json").read_bytes()
    (kept / "manifest.json").write_bytes(msgspec.json.encode(manifest | {"counted_by": "others"}))
    with Warehouse.open(settings) as warehouse, pytest.raises(UndoRefused, match="counted by other definitions"):
        undo(warehouse, settings, last)
    (kept / "manifest.json").write_bytes(foreign)  # of a commit that failed; the batch was loaded elsewhere then
    with Warehouse.open(settings) as warehouse, pytest.raises(UndoRefused, match="COLLAB_UNDO_DAYS"):
        undo(warehouse, settings, last)
    (kept / "manifest.json").write_bytes(own)
    file = kept / "version.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with (
        Warehouse.open(settings) as warehouse,
        pytest.raises(UndoRefused, match=r"was changed since: version\.parquet"),
    ):
        undo(warehouse, settings, last)
    shutil.rmtree(kept)
    with Warehouse.open(settings) as warehouse, pytest.raises(UndoRefused, match="COLLAB_UNDO_DAYS"):
        undo(warehouse, settings, last)
    assert state(settings) == second


def test_a_block_that_was_pruned_comes_back_with_the_version_that_overtook_it(two_nights, tmp_path):
    settings, *_ = two_nights
    last, newest = overtaken(settings, tmp_path)
    with Warehouse.open(settings) as warehouse:
        assert prune(warehouse, settings).blocked == 1
    manifest = next(settings.landing.glob(f"*/*/before/{newest.replace('/', '~')}/manifest.json"))
    older = msgspec.json.decode(manifest.read_bytes()) | {"located_by": "older rules"}
    manifest.write_bytes(msgspec.json.encode(older))
    take_back(settings, newest)
    assert kept_out(settings) == brought_by(last) | {(15, 3, newest)}
    with Warehouse.open(settings) as warehouse, warehouse.reading() as conn:
        assert not is_located_anew(conn)  # what was put back was decided by rules that are no more


def test_an_institution_that_is_put_back_has_the_country_of_the_ror_in_force(tmp_path, settings_for):
    """A ROR came after the batch that is undone; it decided no work, or the batch could not be undone."""

    def described(day: str, name: str) -> dict:
        of_ror = institution("US", 78, ror=f"https://ror.org/{ROR_OF_IT}", display_name=name)
        return work(15, [linked("Lab, Boston, USA", of_ror)], updated=day)

    def stored_institution() -> tuple:
        columns = t.institution.c.name, t.institution.c.ror_country
        with Warehouse.open(settings) as warehouse:
            (row,) = rows(warehouse, sa.select(*columns))
        return tuple(row.values())

    days = {"2026-01-01": [described("2026-01-01", "Before")]}
    settings = settings_for(write_snapshot(tmp_path / "s", days))
    run(settings)
    write_snapshot(tmp_path / "s", {**days, "2026-01-02": [described("2026-01-02", "After")]})
    run(settings)
    assert stored_institution() == ("After", None)
    update_ror(settings)
    assert stored_institution() == ("After", "IT")
    take_back(settings, batches(settings)[-1])
    assert stored_institution() == ("Before", "IT")


def test_a_batch_that_cannot_keep_what_it_replaces_is_not_loaded(tmp_path, settings_for, monkeypatch):
    settings = settings_for(write_snapshot(tmp_path / "s", DAYS))

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("tasks.batches.former.export_parquet", full)
        with pytest.raises(LandingError, match="No space left on device -> free space"):
            run(settings)
    (landing,) = settings.landing.glob("*/*")
    assert list(landing.glob("before/*")) == []
    name = f"openalex-snapshot~{landing.name}~00000000"
    for left in (f".{name}.tmp", name):  # by an attempt that was killed, and by one whose commit failed
        (landing / "before" / left).mkdir(parents=True)
        (landing / "before" / left / "lifted.parquet").touch()
    run(settings)
    assert len(state(settings)["work"]) == 5
    (kept,) = landing.glob("before/*")
    assert (kept.name, (kept / "lifted.parquet").exists()) == (name, False)
