"""Works that the live API lists no more: none goes for a mistake of the source, and none that is gone stays."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from schemas import tables as t
from schemas.errors import SourceError
from tasks.batches.undo import undo
from tasks.storage.warehouse import Warehouse
from tests.factory import OFF_TOPIC, author, counts, proven, rows, stored
from tests.nights import AUTHORS, FEW, NIGHT, OCTOBER, TODAY, WORKS, dated, night

pytestmark = pytest.mark.usefixtures("unpublished")


def test_a_work_that_vanishes_is_missed_twice_before_it_goes(api, settings_of):
    server = api()
    settings = settings_of(server)
    night(settings)
    server.remove(1004)
    server.merge(1005, 1006)
    server.put(dated(1007, "2025-12-24", updated="2026-11-20"))  # moved to a month that no night looks at now
    server.put(dated(1008, "2026-11-09", primary_topic=OFF_TOPIC, updated="2026-11-20"))
    first = night(settings, TODAY + timedelta(days=1))
    assert counts(first)["out_of_scope"] == 1
    assert stored(settings) == NIGHT - {1008}
    same_day = night(settings, TODAY + timedelta(days=1))
    assert "listed" not in counts(same_day)
    second = night(settings, TODAY + timedelta(days=2))
    assert counts(second)["applied"] == 2
    assert stored(settings) == NIGHT - {1004, 1005, 1008}
    with Warehouse.open(settings) as warehouse:
        ledger = t.ledger_of(t.world_year).c
        reasons = rows(
            warehouse,
            sa.select(ledger.reason, sa.func.sum(ledger.papers).label("papers"))
            .where(ledger.policy == "iso", ledger.field == "ai", ledger.reason.in_(["deleted", "out_of_scope"]))
            .group_by(ledger.reason)
            .order_by(ledger.reason),
        )
    assert [(row["reason"], row["papers"]) for row in reasons] == [("deleted", -2), ("out_of_scope", -1)]
    server.put(WORKS[4])  # the same version is back
    third = night(settings, TODAY + timedelta(days=3))
    assert counts(third) == {"fetched": 1, "new": 1}
    assert 1004 in stored(settings)


def test_a_work_that_was_missed_once_and_is_back_stays(api, settings_of):
    server = api()
    settings = settings_of(server)
    night(settings)
    server.remove(1004)
    night(settings, TODAY + timedelta(days=1))
    server.put(WORKS[4])
    assert counts(night(settings, TODAY + timedelta(days=2))) == {}
    server.remove(1004)
    night(settings, TODAY + timedelta(days=3))
    assert 1004 in stored(settings)  # the count of nights began anew
    assert counts(night(settings, TODAY + timedelta(days=4)))["applied"] == 1


def test_a_work_merged_into_one_that_cites_it_is_gone(api, settings_of):
    server = api()
    settings = settings_of(server)
    night(settings)
    citing = dated(1006, "2026-09-07", referenced_works=["https://openalex.org/W1005"], updated="2026-11-20")
    server.put(citing)
    server.merge(1005, 1006)
    for number in (1, 2):
        night(settings, TODAY + timedelta(days=number))
    assert stored(settings) == NIGHT - {1005}


def test_a_work_that_is_listed_has_not_vanished(api, settings_of):
    """Neither when singles answer 404 for what lists hold, nor when it comes back in the night that would remove it."""
    server = api([*FEW, dated(11, "2026-11-03", *AUTHORS)])
    settings = settings_of(server)
    night(settings)
    server.put(dated(11, "2026-11-03", *AUTHORS, author("DE"), updated="2026-11-23T05:00:00"))
    server.remove(1004)

    def lose_singles(call):
        if call.path.startswith("/works/W"):
            call.path = "/nothing"

    server.before = lose_singles
    left_out = night(settings, TODAY + timedelta(days=1))
    assert {r.rule for found in left_out.results.values() for r in found if r.success is False} == {"works_left_out"}

    def bring_back(call):
        if call.path == "/works":
            server.put(FEW[4])

    server.before = bring_back
    second = night(settings, TODAY + timedelta(days=2))
    assert counts(second) == {"fetched": 1, "updated": 1}  # the work with 121 authors
    assert stored(settings) == {*range(1000, 1030), 11}


def test_an_index_that_lost_much_is_not_believed(api, settings_of):
    """Half of the works gone, from lists and singles, two nights long: nothing is removed, and the run is red."""
    server = api()
    settings = settings_of(server)
    night(settings)
    for n in range(1000, 1260, 2):
        server.remove(n)
    with Warehouse.open(settings) as warehouse:
        before = rows(warehouse, sa.select(sa.func.count()).select_from(t.work))
    for number in (1, 2):
        with pytest.raises(
            SourceError,
            match=rf"no longer lists 43 of {len(OCTOBER)} stored works .*COLLAB_MAX_VANISHED_SHARE",
        ) as caught:
            night(settings.model_copy(update={"max_vanished_share": 0.05}), TODAY + timedelta(days=number))
        assert len(server.calls) < 100  # nothing is asked for one by one
    with Warehouse.open(settings) as warehouse:
        assert rows(warehouse, sa.select(sa.func.count()).select_from(t.work)) == before
    assert "could not be fetched" in str(caught.value)
    for n in range(0, 260, 2):
        server.put(WORKS[n])
    assert counts(night(settings, TODAY + timedelta(days=3))) == {}


@pytest.mark.slow
def test_what_was_undone_is_neither_asked_for_nor_deleted_each_night_anew(api, settings_of):
    server = api(FEW)
    settings = settings_of(server)
    night(settings)
    before = proven(settings)
    server.remove(1004)
    night(settings, TODAY + timedelta(days=1))
    server.put(dated(1007, "2026-10-08", author("JP"), updated="2026-11-20"))
    night(settings, TODAY + timedelta(days=2))
    assert 1004 not in stored(settings)
    with Warehouse.open(settings) as warehouse:
        of = t.batch.c
        found = rows(warehouse, sa.select(of.batch_id).where(of.updated + of.applied > 0).order_by(of.finished_at))
        undo(warehouse, settings, found[0]["batch_id"], with_later=True)
    assert proven(settings) == before
    for days in (3, 4):
        assert counts(night(settings, TODAY + timedelta(days=days))) == {}
    server.put(dated(1007, "2026-10-08", author("KR"), updated="2026-11-21"))
    assert counts(night(settings, TODAY + timedelta(days=5)))["updated"] == 1
