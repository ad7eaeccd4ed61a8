"""What was seen of a batch, kept beside its works: results of the rules, repairs, figures, and parts that are in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy import Connection, FromClause

from schemas import tables as t
from tasks.landing.land import Landing
from tasks.loading.load import Change
from tasks.validation.validate import Result


def store_results(conn: Connection, batch_id: str, results: Sequence[Result]) -> None:
    """Keep what the rules saw of a batch, in place of what they saw of an attempt that was stopped."""
    conn.execute(sa.delete(t.validation_result).where(t.validation_result.c.batch_id == batch_id))
    if results:
        conn.execute(t.validation_result.insert(), [{"batch_id": batch_id, **r._asdict()} for r in results])


def read_results(conn: Connection, batch_id: str) -> list[Result]:
    """What `store_results` kept."""
    of = t.validation_result.c
    columns = [of[name] for name in Result._fields]
    return [Result(*values) for values in conn.execute(sa.select(*columns).where(of.batch_id == batch_id))]


def store_repairs(conn: Connection, repair: FromClause, change: Change) -> None:
    """Keep repairs of the versions that are stored now; those of unchanged versions are known already.

    Args:
        repair: readable staged table.
    """
    values = [sa.literal(change.batch_id) if c.name == "batch_id" else repair.c[c.name] for c in t.repair.columns]
    rows = sa.select(*values).distinct().where(repair.c.stage_id.in_(sa.select(change.arriving.c.stage_id)))
    conn.execute(sa.insert(t.repair).from_select(t.repair.columns.keys(), rows))


def store_metrics(conn: Connection, batch_id: str, metrics: Mapping[str, float], works: int) -> None:
    """Keep the figures that later batches are held against.

    Args:
        works: staged ones, that the figures were measured on.
    """
    rows = [{"batch_id": batch_id, "name": name, "value": value, "works": works} for name, value in metrics.items()]
    if rows:
        conn.execute(t.metric.insert(), rows)


def store_parts(conn: Connection, batch_id: str, landing: Landing) -> None:
    """Keep which parts of a source a landing held, once its last batch is in."""
    if not landing.parts:
        return
    paths = [part.path for part in landing.parts]
    conn.execute(sa.delete(t.part).where(t.part.c.source == landing.source, t.part.c.path.in_(paths)))
    rows = [
        {
            "source": landing.source,
            "path": part.path,
            "records": part.records,
            "bytes": part.bytes,
            "sha256": part.sha256,
            "batch_id": batch_id,
        }
        for part in landing.parts
    ]
    conn.execute(t.part.insert(), rows)
