"""What one citation adds to the cells of flow_year: who cites whom."""

from __future__ import annotations

from typing import Any

from sqlalchemy import FromClause, Select, and_, select

from schemas.counting.relations import Citations, sum_type, whole
from schemas.counting.sets import meet


def flow_contributions(known: Citations) -> Select[Any]:
    """Every citation between counted works of one corpus, for each territory of the citing work and each of the cited
    one, `ZZ` included, under every policy and in every field of the citing work.

    `fractional` is the product of both shares, so that a citation sums to exactly 1 under every policy and field.
    """
    target, work, source, field = known.cited, known.work, known.work_territory.alias("source"), known.work_field
    citing = target.c.citing_work_id
    own, other = source.c.policy, target.c.policy
    policy, is_same = meet(own, other) if known.may_be_sets else (own, own == other)
    rows = (
        target.join(work, and_(work.c.work_id == citing, work.c.corpus == target.c.corpus))
        .join(source, and_(source.c.work_id == citing, is_same))
        .join(field, field.c.work_id == citing)
    )
    return (
        select(
            target.c.work_id,
            work.c.corpus,
            policy.label("policy"),
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


def citations_of(edge: FromClause, cited: FromClause) -> Select[Any]:
    """`Citations.cited`: edges (citing_work_id, cited_work_id, work_id) with the works that they lead to."""
    of = cited.c
    return select(edge.c.citing_work_id, edge.c.work_id, of.corpus, of.policy, of.territory, of.share).join_from(
        edge, cited, of.work_id == edge.c.cited_work_id
    )
