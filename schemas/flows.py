"""What one citation adds to the cells of flow_year: who cites whom (design section 6)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, and_, select

from schemas.relations import Citations, sum_type, whole


def flow_contributions(known: Citations) -> Select[Any]:
    """Every citation between counted works of one corpus, for each territory of the citing work and each of the cited
    one, `ZZ` included, under every policy and in every field of the citing work.

    `fractional` is the product of both shares, so that a citation sums to exactly 1 under every policy and field.
    """
    edge, citing, cited = known.edge, known.work.alias("citing"), known.work.alias("cited")
    source, target = known.work_territory.alias("source"), known.work_territory.alias("target")
    field = known.work_field
    rows = (
        edge.join(citing, citing.c.work_id == edge.c.citing_work_id)
        .join(cited, and_(cited.c.work_id == edge.c.cited_work_id, cited.c.corpus == citing.c.corpus))
        .join(source, source.c.work_id == edge.c.citing_work_id)
        .join(target, and_(target.c.work_id == edge.c.cited_work_id, target.c.policy == source.c.policy))
        .join(field, field.c.work_id == edge.c.citing_work_id)
    )
    return (
        select(
            edge.c.work_id,
            citing.c.corpus,
            source.c.policy,
            field.c.field,
            citing.c.year,
            source.c.territory.label("territory_citing"),
            target.c.territory.label("territory_cited"),
            whole().label("citations"),
            sum_type(source.c.share * target.c.share, 18).label("fractional"),
        )
        .select_from(rows)
        .where(citing.c.is_counted, cited.c.is_counted)
    )
