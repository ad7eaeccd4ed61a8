"""The counting rules: what one work adds to each cell of each aggregate, defined once.

Each function takes relations and returns a select with `work_id`, the key of the cell and its measures, one row for
each work and cell. Over the full tables, summed, it is the full rebuild; over the rows of the changed works only, it is
the increment. Restrict the relations
*before* calling: a filter on top of the grouped result was measured not to be pushed down.

Notation: T = known territories of a counted work under a policy; a work is located if its unknown share is 0. Blocs,
sectors and mentions are in schemas/counting/group_contributions.py, citations in schemas/counting/flows.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import BigInteger, Select, and_, case, cast, func, literal, select, union_all
from sqlalchemy import Table as SqlTable

from schemas import tables as t
from schemas.counting import group_contributions as groups
from schemas.counting.relations import Relations, base, cell, one_if, pairs_of, same_work, sum_type, whole
from schemas.counting.sets import is_iso
from schemas.places.territories import UNKNOWN


def world_contributions(rel: Relations) -> Select[Any]:
    """Every stored work once per policy and field: as counted with its kind, or as excluded with its reason.

    International |T| >= 2; domestic |T| = 1 and located; undetermined |T| <= 1 and not located. Unknown is never
    counted as domestic.
    """
    work, of = rel.work.c, rel.work_policy.c
    counted, located = work.is_counted, of.unknown_share == 0
    links = of.territories * (of.territories - 1) / literal(2, BigInteger)
    return select(
        *cell(rel),
        one_if(counted).label("papers"),
        one_if(and_(counted, of.territories >= 2)).label("papers_international"),
        one_if(and_(counted, of.territories == 1, located)).label("papers_domestic"),
        one_if(and_(counted, of.territories <= 1, ~located)).label("papers_undetermined"),
        one_if(and_(counted, ~located)).label("papers_with_unknown"),
        one_if(and_(counted, of.territories == 0)).label("papers_without_country"),
        sum_type(case((counted, of.unknown_share), else_=0)).label("fractional_unknown"),
        cast(case((counted, links), else_=0), BigInteger).label("links"),
        cast(case((counted, work.cited_by_count), else_=0), BigInteger).label("citations"),
        cast(case((counted, work.references_count), else_=0), BigInteger).label("references_listed"),
        *(one_if(work.excluded_reason == reason).label(f"excluded_{reason}") for reason in t.EXCLUDED_REASONS),
    ).select_from(base(rel))


def country_contributions(rel: Relations) -> Select[Any]:
    """Every counted work for each of its territories, `ZZ` included.

    `papers` is whole counting, `fractional` the share. The row `ZZ` counts works with an unknown part: never domestic,
    no links.
    """
    of, part = rel.work_policy.c, rel.work_territory.c
    known, located = part.territory != UNKNOWN, of.unknown_share == 0
    return (
        select(
            *cell(rel),
            part.territory,
            whole().label("papers"),
            sum_type(part.share).label("fractional"),
            one_if(of.territories >= 2).label("papers_international"),
            one_if(and_(known, of.territories == 1, located)).label("papers_domestic"),
            one_if(and_(of.territories <= 1, ~located)).label("papers_undetermined"),
            cast(case((known, of.territories - 1), else_=0), BigInteger).label("links"),
            rel.work.c.cited_by_count.label("citations"),
            one_if(part.is_first).label("papers_first"),
            one_if(and_(part.is_first, of.territories >= 2)).label("papers_first_international"),
            one_if(part.is_corresponding).label("papers_corresponding"),
        )
        .select_from(base(rel).join(rel.work_territory, same_work(rel, rel.work_territory)))
        .where(rel.work.c.is_counted)
    )


def pair_contributions(rel: Relations) -> Select[Any]:
    """Every counted work for each pair of its known territories, a before b.

    `score` = share_a + share_b (Nature Index bilateral collaboration score). `papers_dual_only`: one and the same
    author links both.
    """
    of, pairs = rel.work_policy.c, pairs_of(rel)
    first, second = pairs.first.c, pairs.second.c
    is_dual = and_(first.only_author.is_not(None), first.only_author == second.only_author)
    return (
        select(
            *cell(rel),
            first.territory.label("territory_a"),
            second.territory.label("territory_b"),
            whole().label("papers"),
            one_if(of.unknown_share > 0).label("papers_with_unknown"),
            one_if(of.territories == 2).label("papers_bilateral"),
            one_if(of.territories > 2).label("papers_multilateral"),
            one_if(is_dual).label("papers_dual_only"),
            sum_type(first.share + second.share).label("score"),
            rel.work.c.cited_by_count.label("citations"),
            one_if(first.is_first).label("papers_first_a"),
            one_if(second.is_first).label("papers_first_b"),
        )
        .select_from(pairs.rows)
        .where(pairs.condition)
    )


def coverage_contributions(rel: Relations) -> Select[Any]:
    """Every counted work once per field, and once for each source that the country of one of its authors rests on.

    All located: the work has no unknown part, as in `world_contributions`. None located: no territory of it is known.
    Both are the same under every policy, so `iso` is asked.
    """
    work, of, whole_work = rel.work.c, rel.work_evidence.c, rel.work_policy.c
    is_all, is_none = whole_work.unknown_share == 0, whole_work.territories == 0
    located = (
        one_if(is_all).label("papers_all_located"),
        one_if(and_(~is_all, ~is_none)).label("papers_some_located"),
        one_if(is_none).label("papers_none_located"),
    )
    place = (work.work_id, work.corpus, rel.work_field.c.field, work.year)
    one = whole().label("papers")
    fields = rel.work.join(rel.work_field, work.work_id == rel.work_field.c.work_id).join(
        rel.work_policy, and_(whole_work.work_id == work.work_id, is_iso(whole_work.policy))
    )
    held = select(of.work_id, func.sum(of.conflicts).label("conflicts")).group_by(of.work_id).subquery("held")
    every = (
        select(
            *place,
            literal(t.ALL_EVIDENCE).label("evidence"),
            one,
            *located,
            cast(work.authors_count, BigInteger).label("authors"),
            cast(work.authors_located, BigInteger).label("authors_located"),
            cast(func.coalesce(held.c.conflicts, 0), BigInteger).label("conflicts"),
        )
        .select_from(fields.outerjoin(held, held.c.work_id == work.work_id))
        .where(work.is_counted)
    )
    is_known = of.country_source != "none"
    by_source = (
        select(
            *place,
            of.country_source.label("evidence"),
            one,
            *located,
            cast(of.authors, BigInteger).label("authors"),
            cast(case((is_known, of.authors), else_=0), BigInteger).label("authors_located"),
            cast(of.conflicts, BigInteger).label("conflicts"),
        )
        .select_from(fields.join(rel.work_evidence, of.work_id == work.work_id))
        .where(work.is_counted)
    )
    both = union_all(every, by_source).subquery("coverage")
    return select(*both.c)


CONTRIBUTIONS: dict[SqlTable, Callable[[Relations], Select[Any]]] = {
    t.world_year: world_contributions,
    t.country_year: country_contributions,
    t.pair_year: pair_contributions,
    t.coverage_year: coverage_contributions,
    t.bloc_year: groups.bloc_contributions,
    t.bloc_pair_year: groups.bloc_pair_contributions,
    t.sector_year: groups.sector_contributions,
    t.sector_pair_year: groups.sector_pair_contributions,
    t.mention_year: groups.mention_contributions,
    t.mention_pair_year: groups.mention_pair_contributions,
}
