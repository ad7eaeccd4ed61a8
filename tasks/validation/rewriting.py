"""How much of what is stored a batch takes away or rewrites: the gates on mass errors of a source.

Shares of the warehouse are shares of the works of the batch's own corpus, as they were stored before it: neither corpus
hides the other, and a batch that leaves nothing behind has taken away all. A venue list is brought by somebody: what it
rewrites is warned about and does not stop it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from schemas import tables as t
from schemas.expectations import Gate, raised
from schemas.indices.time import newest_over
from schemas.rules import Severity
from schemas.settings import Settings
from tasks.loading.load import DEFINITION, Change
from tasks.loading.source_days import newest_days
from tasks.reading.parsed import CORPUS

FEWEST_REMOVED = 20  # works that may go, whatever the share of a small warehouse that they are
FEWEST_PAPERS = 1_000  # of a cell, before the batch, below which its share of change says nothing
NOT_REWRITING = ("new", "citations", DEFINITION)
NOT_REMOVED = ("deleted", *NOT_REWRITING)  # deletions are held to a limit of their own


class _Taken(NamedTuple):
    """Stored works that a batch changed."""

    rewritten: int
    """Changed other than by citations, or gone out of scope."""
    removed: int
    """Deleted, or gone out of scope."""
    stored: int
    """Works of the corpus that were stored before the batch."""


def rewriting_gates(
    conn: Connection, change: Change, settings: Settings, works: int, corpus: str, source: str, fewest: int | None
) -> list[Gate]:
    """Shares of the stored works that a batch removed and rewrote, and of the papers of a year that it moved.

    Args:
        works: of the batch, in scope.
        fewest: works in scope, or stored ones that go, that make a batch large enough to be judged by what it
            rewrites; None if there are too few batches before it. What it removes is judged without.
    """
    severity: Severity = "stop" if corpus == CORPUS else "warn"
    taken = _taken(conn, change, corpus)
    rewritten, removed = taken.rewritten / max(taken.stored, 1), taken.removed / max(taken.stored, 1)
    is_removal = taken.removed >= FEWEST_REMOVED
    is_large = fewest is not None and works + taken.removed >= fewest
    moved = _largest_move(conn, change, source)
    return [
        Gate(
            "removed_share",
            severity,
            removed,
            0,
            settings.max_removed_share,
            f"{taken.removed:,} of {taken.stored:,} stored works are deleted or gone out of scope: the list or its"
            " dates may be wrong",
            is_removal,
            "too few works that go",
            raised("max_removed_share", removed),
        ),
        Gate(
            "rewritten_share",
            severity,
            rewritten,
            0,
            settings.max_rewritten_share,
            "mass rewrites are errors of the source",  # trap T22
            is_large,
            lifted_by=raised("max_rewritten_share", rewritten),
        ),
        Gate(
            "year_change",
            severity,
            moved,
            0,
            settings.max_year_change,
            "a year that has been over for 18 months moves by corrections only, and slowly",
            is_large or is_removal,
            lifted_by=raised("max_year_change", moved, most=None),  # a year can more than double
        ),
    ]


def _taken(conn: Connection, change: Change, corpus: str) -> _Taken:
    of = change.affected.c
    counted = {
        "rewritten": of.was_stored & of.reason.not_in(NOT_REMOVED),
        "removed": of.was_stored & ~of.is_stored & (of.reason != DEFINITION),
        "gone": of.was_stored & ~of.is_stored,
        "arrived": of.is_stored & ~of.was_stored,
    }
    sums = [sa.func.count().filter(condition).label(name) for name, condition in counted.items()]
    found = conn.execute(sa.select(*sums).select_from(change.affected)).mappings().one()
    stored = conn.scalar(sa.select(sa.func.count()).select_from(t.work).where(t.work.c.corpus == corpus)) or 0
    return _Taken(found["rewritten"], found["removed"], stored - found["arrived"] + found["gone"])


def _largest_move(conn: Connection, change: Change, source: str) -> float:
    """Largest share of the papers of a complete year, as they stood before the batch, that other than new works moved:
    over all cells of the world. The ledger says what the batch added to each, so that one which it emptied, and of
    which the mart has no row any more, is a year that lost all."""
    ledger, world = t.ledger_of(t.world_year).c, t.world_year
    day = newest_days(conn).get(source) or datetime.now(UTC).date()
    keys = t.key_columns(world)
    is_rewriting = ledger.reason.not_in(NOT_REWRITING)
    deltas = (
        sa.select(
            *(ledger[name] for name in keys),
            sa.func.sum(ledger.papers).label("all"),
            sa.func.sum(ledger.papers).filter(is_rewriting).label("moved"),
        )
        .where(ledger.batch_id == change.batch_id, ledger.year <= newest_over(day))
        .group_by(*(ledger[name] for name in keys))
        .subquery()
    )
    before = sa.func.coalesce(world.c.papers, 0) - deltas.c.all
    share = sa.func.abs(deltas.c.moved) * 1.0 / before
    is_cell = sa.and_(*(deltas.c[name] == world.c[name] for name in keys))
    largest = conn.scalar(
        sa.select(sa.func.max(share)).outerjoin_from(deltas, world, is_cell).where(before >= FEWEST_PAPERS)
    )
    return float(largest or 0)
