"""Which of the works that share a DOI counts."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from schemas import tables as t
from tasks.storage.warehouse import scratch


def settle_dois(conn: Connection, old_work: Table, new_work: Table) -> int:
    """Decide which work of each DOI counts; add stored works whose standing flips to both sides, and say how many.

    Of the works of a corpus that share a DOI the one with most located authors counts, then the lowest id; the others
    get `duplicate_doi`.

    Args:
        old_work, new_work: temporary tables with the changed works before and after the batch, in the same columns.
    """
    compared = new_work.columns.keys()
    is_candidate = [sa.or_(w.c.is_counted, w.c.excluded_reason == "duplicate_doi") for w in (t.work, new_work)]
    dois = sa.union(*(sa.select(w.c.doi).where(w.c.doi.is_not(None)) for w in (old_work, new_work)))
    mates = scratch(
        conn,
        "mates",
        sa.select(*(t.work.c[name] for name in compared)).where(
            t.work.c.doi.in_(dois), is_candidate[0], t.work.c.work_id.not_in(sa.select(old_work.c.work_id))
        ),
    )
    columns = ("work_id", "corpus", "doi", "authors_located")
    rivals = sa.union_all(
        sa.select(*(new_work.c[n] for n in columns)).where(is_candidate[1], new_work.c.doi.is_not(None)),
        sa.select(*(mates.c[n] for n in columns)),
    ).subquery()
    order = (rivals.c.authors_located.desc(), rivals.c.work_id)
    rank = sa.func.row_number().over(partition_by=(rivals.c.corpus, rivals.c.doi), order_by=order)
    losers = scratch(
        conn,
        "losers",
        sa.select(sa.select(rivals.c.work_id, rank.label("rank")).subquery()).where(sa.literal_column("rank") > 1),
    )
    lost = sa.select(losers.c.work_id)
    conn.execute(
        sa.update(new_work)
        .values(is_counted=False, excluded_reason="duplicate_doi")
        .where(new_work.c.work_id.in_(lost))
    )
    does_flip = mates.c.is_counted == mates.c.work_id.in_(lost)
    flips = conn.scalar(sa.select(sa.func.count()).select_from(mates).where(does_flip)) or 0
    if flips:
        conn.execute(sa.insert(old_work).from_select(compared, sa.select(mates).where(does_flip)))
        flipped = {
            "is_counted": ~mates.c.is_counted,
            "excluded_reason": sa.case((mates.c.is_counted, "duplicate_doi"), else_=None),
        }
        rows = sa.select(*(flipped.get(c.name, c) for c in mates.columns)).where(does_flip)
        conn.execute(sa.insert(new_work).from_select(compared, rows))
    return flips
