"""The signed ledger: what changed, and why, in one long table over all aggregates."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Select

from schemas import tables as t


def changes_since(since: datetime | None) -> Select[Any]:
    """Changes of cells by batches committed after `since` (all, if None), summed per cell and reason, as one table over
    all aggregates.

    Columns: aggregate, corpus, policy, field, year, territory_a, territory_b (null where the aggregate has none),
    reason, papers, citations.
    """
    recent = sa.select(t.batch.c.batch_id)
    if since is not None:
        recent = recent.where(t.batch.c.finished_at > since)
    null = sa.cast(sa.null(), sa.String)
    parts = []
    for mart in t.MART:
        ledger = t.ledger_of(mart)
        columns = ledger.c
        first = (
            columns.territory if "territory" in columns else columns.territory_a if "territory_a" in columns else null
        )
        second = columns.territory_b if "territory_b" in columns else null
        keys = (columns.corpus, columns.policy, columns.field, columns.year)
        named = (first.label("territory_a"), second.label("territory_b"))
        parts.append(
            sa.select(
                sa.literal(str(mart.name)).label("aggregate"),
                *keys,
                *named,
                columns.reason,
                columns.papers,
                columns.citations,
            ).where(columns.batch_id.in_(recent))
        )
    every = sa.union_all(*parts).subquery()
    groups = [
        every.c[name]
        for name in ("aggregate", "corpus", "policy", "field", "year", "territory_a", "territory_b", "reason")
    ]
    sums = [sa.cast(sa.func.sum(every.c[name]), sa.BigInteger).label(name) for name in ("papers", "citations")]
    return sa.select(*groups, *sums).group_by(*groups).order_by(*groups)
