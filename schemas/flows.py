"""What one citation adds to the cells of flow_year: who cites whom (design section 6)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import FromClause, Select, and_, select

from schemas.relations import Citations, sum_type, whole


def flow_contributions(known: Citations) -> Select[Any]:
    """Every citation between counted works of one corpus, for each territory of the citing work and each of the cited
    one, `ZZ` included, under every policy and in every field of the citing work.

    `fractional` is the product of both shares, so that a citation sums to exactly 1 under every policy and field.
    """
    edge, work, source, target = known.edge, known.work, known.work_territory.alias("source"), known.cited
    field = known.work_field
    rows = (
        edge.join(work, work.c.work_id == edge.c.citing_work_id)
        .join(source, source.c.work_id == edge.c.citing_work_id)
        .join(field, field.c.work_id == edge.c.citing_work_id)
        .join(
            target,
            and_(
                target.c.work_id == edge.c.cited_work_id,
                target.c.corpus == work.c.corpus,
                target.c.policy == source.c.policy,
            ),
        )
    )
    return (
        select(
            edge.c.work_id,
            work.c.corpus,
            source.c.policy,
            field.c.field,
            work.c.year,
            source.c.territory.label("territory_citing"),
            target.c.territory.label("territory_cited"),
            whole().label("citations"),
            sum_type(source.c.share * target.c.share, 18).label("fractional"),
        )
        .select_from(rows)
        .where(work.c.is_counted)
    )


def cited_works(work: FromClause, work_territory: FromClause) -> Select[Any]:
    """The side of flow_contributions that is cited: counted works with their territories."""
    part = work_territory.c
    return (
        select(work.c.work_id, work.c.corpus, part.policy, part.territory, part.share)
        .join_from(work, work_territory, part.work_id == work.c.work_id)
        .where(work.c.is_counted)
    )
