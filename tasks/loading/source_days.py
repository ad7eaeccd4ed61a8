"""The newest day that each source told of, as the view `completeness` counts days."""

from __future__ import annotations

from datetime import date

import sqlalchemy as sa
from sqlalchemy import Connection

from schemas import tables as t
from schemas.indices.time import IS_FETCHED, SOURCE_DAY


def newest_days(conn: Connection) -> dict[str, date]:
    """By source, the last date of what it brought: of a snapshot its newest partition, else the day (UTC) of its last
    batch. Undone batches are left out."""
    batch = t.batch.alias("b")
    newest = sa.func.max(sa.literal_column(SOURCE_DAY, sa.Date()))
    query = sa.select(batch.c.source, newest).where(sa.text(IS_FETCHED)).group_by(batch.c.source)
    return dict(conn.execute(query.order_by(batch.c.source)).tuples().all())
