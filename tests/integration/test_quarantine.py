"""What is held, overtaken, and opened again, on rows of a warehouse."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from schemas import tables as t
from schemas.errors import UsageError
from tasks.landing.land import DELETIONS
from tasks.reading.quarantine import (
    close_overtaken,
    count_open,
    find_record,
    hold,
    open_records,
    raw_of_open_records,
    reopen,
)
from tests.factory import STARTED, add_batch

DAY = timedelta(days=1)


def record(work_id: int, day: int, tie: int, raw: bytes | None = b"{}") -> dict:
    """A refused version of a work."""
    texts = {c.name: "" for c in t.quarantine.columns if isinstance(c.type, sa.String)}
    version = {"work_id": work_id, "source_updated_at": STARTED + day * DAY, "version": tie}
    return texts | {"source_key": f"W{work_id}", "raw": raw, "landed_at": "", **version}


def see(conn, work_id: int, day: int, tie: int, state: str = "stored") -> None:
    seen = {"work_id": work_id, "source_updated_at": STARTED + day * DAY, "tie_hash": tie, "state": state}
    conn.execute(t.seen.insert(), seen)


def held(conn) -> dict[tuple[int, int], str | None]:
    """How each version was resolved."""
    of = t.quarantine.c
    found = conn.execute(sa.select(of.work_id, of.version, of.resolution, of.resolved_at)).all()
    assert all((row.resolution is None) == (row.resolved_at is None) for row in found)
    return {(row.work_id, row.version): row.resolution for row in found}


def test_a_version_is_overtaken_by_one_of_its_own_work_that_is_as_new_or_newer(conn):
    see(conn, 1, 2, 5)
    see(conn, 2, 2, 5, "deleted")
    refused = [record(1, 1, 9), record(1, 2, 4), record(1, 2, 5), record(1, 2, 6), record(1, 3, 1)]
    assert hold(conn, [*refused, record(2, 1, 1), record(3, 1, 1)], "b/1", STARTED) == 7
    close_overtaken(conn, STARTED)
    assert held(conn) == {
        (1, 9): "superseded",
        (1, 4): "superseded",
        (1, 5): "retried",
        (1, 6): None,
        (1, 1): None,
        (2, 1): "deleted",
        (3, 1): None,
    }
    assert count_open(conn) == len(open_records(conn)) == 3
    see_again = t.seen.update().where(t.seen.c.work_id == 1).values(source_updated_at=STARTED + DAY, tie_hash=9)
    conn.execute(see_again)  # what had overtaken them was undone
    reopen(conn, sa.select(sa.literal(1)), t.seen)
    assert [key for key, resolution in held(conn).items() if resolution] == [(1, 9), (2, 1)]


def test_a_record_is_listed_once_and_shown_and_given_back_while_it_is_open(conn):
    hold(conn, [record(1, 1, 1, b"first"), record(2, 1, 1, None)], "b/1", STARTED)
    assert hold(conn, [record(1, 1, 1, b"again")], "b/2", STARTED + DAY) == 1
    hold(conn, [record(1, 2, 2, b"newer"), record(1, 2, 2, b"newer")], "b/2", STARTED + DAY)
    assert count_open(conn) == 3
    assert raw_of_open_records(conn) == [(None, b"first"), (None, b"newer")]
    assert find_record(conn, "W1").raw == b"newer"
    see(conn, 1, 1, 1)
    hold(conn, [record(3, 1, 1, b"other")], "b/3", STARTED + 2 * DAY)
    close_overtaken(conn, STARTED + 2 * DAY)
    assert raw_of_open_records(conn) == [(None, b"newer"), (None, b"other")]
    hold(conn, [record(4, 1, 1, b"W4,2026-01-01")], add_batch(conn, 1, kind=DELETIONS), STARTED)
    assert raw_of_open_records(conn) == [(None, b"newer"), (None, b"other"), (DELETIONS, b"W4,2026-01-01")]
    with pytest.raises(UsageError, match="no record W9"):
        find_record(conn, "W9")
