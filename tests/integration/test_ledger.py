"""What the list of batches says of landings and of changes, on rows of a warehouse."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from schemas import tables as t
from schemas.work_ids import FIRST_OF_LISTS
from tasks.landing.land import DELETIONS
from tasks.loading.ledger import UNDO, has_changed, unfinished_landings
from tasks.loading.versions import is_blocked, remember
from tasks.storage.warehouse import scratch
from tests.factory import STARTED, add_batch


def add_change(conn, batch_id: str) -> None:
    ledger = t.ledger_of(t.world_year)
    texts = {c.name: "" for c in ledger.columns if isinstance(c.type, sa.String)}
    conn.execute(ledger.insert(), {**dict.fromkeys(ledger.columns.keys(), 1), **texts, "batch_id": batch_id})


def test_half_a_landing_is_overtaken_by_a_later_whole_one_of_its_source_and_kind(conn):
    half, whole = {"end_record": 2, "window_records": 5}, {"end_record": 5, "window_records": 5}

    def unfinished() -> set[str]:
        return set(conn.scalars(unfinished_landings()))

    add_batch(conn, 1, window="a", **half)
    add_batch(conn, 2, window="b", **half)
    add_batch(conn, 3, window="c", kind=DELETIONS, **whole)
    add_batch(conn, 4, "openalex-api", window="d", **whole)
    assert unfinished() == {"a.1", "b.2"}
    add_batch(conn, 5, window="e", **whole)
    add_batch(conn, 6, window="f", **half)
    assert unfinished() == {"f.6"}


def test_an_undo_is_a_change_to_those_who_saw_what_it_undid(conn):
    """To all others the two together are none."""
    undone = add_batch(conn, 2, undone_at=STARTED + timedelta(days=4))
    add_change(conn, undone)
    add_change(conn, add_batch(conn, 4, "warehouse", window=undone, kind=UNDO))
    saw_it, saw_nothing = STARTED + timedelta(days=3), STARTED + timedelta(days=1)
    assert has_changed(conn, saw_it)
    assert not has_changed(conn, saw_nothing)
    assert not has_changed(conn, STARTED + timedelta(days=4))


def test_of_what_never_was_in_scope_only_papers_of_lists_are_remembered(conn):
    """An older list that accepts such a paper may be loaded later."""
    works = [(1, False), (2, True), (FIRST_OF_LISTS - 1, False), (FIRST_OF_LISTS, False)]
    texts = [
        f"SELECT CAST({number} AS BIGINT) AS work_id, TIMESTAMP '2026-01-01 00:00:00' AS source_updated_at,"
        f" CAST(5 AS BIGINT) AS tie_hash, {in_scope} AS in_scope, CAST({in_scope} AS INTEGER) AS was_in_scope,"
        " true AS is_last, true AS is_newer, false AS is_known"
        for number, in_scope in works
    ]
    columns = "work_id source_updated_at tie_hash in_scope was_in_scope is_last is_newer is_known".split()
    picked = scratch(conn, "picked", sa.text(" UNION ALL ".join(texts)).columns(*map(sa.column, columns)))
    remember(conn, picked)
    of = t.seen.c
    found = conn.execute(sa.select(of.work_id, of.state).order_by(of.work_id)).tuples().all()
    assert found == [(2, "stored"), (FIRST_OF_LISTS, "out_of_scope")]


def test_another_record_of_the_same_date_is_not_kept_out(conn):
    version = {"work_id": 7, "source_updated_at": STARTED, "tie_hash": 5}
    texts = {c.name: "" for c in t.blocked.columns if isinstance(c.type, sa.String)}
    conn.execute(t.blocked.insert(), {**texts, **version})
    others = [version, version | {"tie_hash": 6}, version | {"work_id": 8}]
    others.append(version | {"source_updated_at": STARTED + timedelta(days=1)})
    named = [[sa.literal(value, t.blocked.c[name].type).label(name) for name, value in one.items()] for one in others]
    came = sa.union_all(*(sa.select(*values) for values in named)).subquery()
    kept_out = conn.execute(sa.select(came).where(is_blocked(came))).all()
    assert [row._asdict() for row in kept_out] == [version]
