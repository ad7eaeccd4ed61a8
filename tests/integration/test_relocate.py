"""Stored works decided again: by the same rules nothing changes, by others all that they decide, killed or not."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from schemas import tables as t
from tasks.batches import relocate as relocation
from tasks.batches.relocate import relocate
from tasks.countries.registry import is_located_anew
from tasks.night import Night
from tasks.storage.warehouse import Warehouse
from tests.countries import WORKS, correct, correction, decided, update_ror
from tests.factory import contents, institution, linked, proven, rows, run, work, write_snapshot

pytestmark = pytest.mark.usefixtures("unpublished")


@pytest.fixture
def settings(country_works):
    """Those of a warehouse that holds the works of tests/countries.py."""
    return country_works


def test_deciding_everything_again_changes_nothing(settings):
    update_ror(settings)
    with Warehouse.open(settings) as warehouse:
        before = contents(warehouse)
        done = relocate(warehouse, settings)
        assert (done.looked_at, done.changed) == (len(WORKS), 0)
        assert contents(warehouse) == before


def test_other_rules_wait_for_relocate(settings):
    """Works that older rules decided stay as they are until somebody has them decided again."""
    with Warehouse.open(settings) as warehouse:
        with warehouse.transaction() as conn:
            conn.execute(sa.update(t.meta).where(t.meta.c.name == "located_by").values(value="older"))
            conn.execute(sa.update(t.affiliation).values(rule="unstated", confidence=0))
            conn.execute(sa.update(t.work).values(place_hash=0, content_hash=0))
        with warehouse.reading() as conn:
            assert not is_located_anew(conn)
        done = relocate(warehouse, settings)
        assert done.changed == len(WORKS)
        with warehouse.reading() as conn:
            assert is_located_anew(conn)
        assert rows(warehouse, sa.select(t.affiliation).where(t.affiliation.c.rule == "unstated")) == []
    proven(settings)


def test_a_correction_looks_at_every_work_if_those_before_were_not_up_to_date(settings):
    with Warehouse.open(settings) as warehouse, warehouse.transaction() as conn:
        conn.execute(sa.update(t.meta).where(t.meta.c.name == "located_by").values(value="older"))
    assert correct(settings, correction("string", "dept of physics", "BR")).looked_at == len(WORKS)


def test_a_relocation_that_was_killed_is_finished_by_the_next(settings, monkeypatch):
    small = settings.model_copy(update={"batch_works": 1})
    original, calls = relocation.relocate_some, []

    def die_second(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(relocation, "relocate_some", die_second)
    with pytest.raises(KeyboardInterrupt):
        update_ror(small)
    monkeypatch.undo()
    with Warehouse.open(settings) as warehouse:
        with warehouse.reading() as conn:
            assert not is_located_anew(conn)
        relocate(warehouse, settings)
        with warehouse.reading() as conn:
            assert is_located_anew(conn)
    assert decided(settings, 11)[1][0] == "BR"
    assert decided(settings, 13)[0][0] == "IT"
    proven(settings)


@pytest.mark.engines("postgresql")
def test_a_batch_that_was_decided_by_what_is_not_in_force_any_more_is_decided_again(tmp_path, settings_for):
    settings = settings_for(write_snapshot(tmp_path / "s", {"2026-01-01": WORKS}))
    with Night(settings) as night:
        (window,) = night.plan()
        landing = night.land_works(window)
        (batch,) = night.batches_left(landing)
        folder = night.derive(batch)
        report = night.validate(folder)
        update_ror(settings)  # by another run
        assert night.load(batch, folder, report) is None
        (again,) = night.batches_left(landing)
        assert again.reference != batch.reference
        folder = night.derive(again)
        assert night.load(again, folder, night.validate(folder)) is not None
    assert decided(settings, 11)[1][0] == "BR"
    proven(settings)


def test_an_institution_of_which_nothing_is_known_says_nothing(tmp_path, settings_for):
    """The sentinel I-1 beside a real institution: what is stored must say as much as the record."""
    nobody = institution(None, 1, type=None) | {"id": "https://openalex.org/I-1"}
    team = [linked("Quux Laboratory, Grenoble", nobody, institution("US", 80)), linked("Lab, Grenoble", nobody)]
    works = [work(11, team), work(12, team, is_authors_truncated=True)]  # of the second more authors are unknown
    settings = settings_for(write_snapshot(tmp_path / "t", {"2026-01-01": works}), home=tmp_path / "other")
    run(settings)
    assert [row[0] for row in decided(settings, 11)] == ["US", "FR"]
    with Warehouse.open(settings) as warehouse:
        assert relocate(warehouse, settings).changed == 0
