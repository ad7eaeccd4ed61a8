"""The counting rules (design section 6): what one work adds to each cell of each aggregate, defined once.

Each function takes relations and returns a select with `work_id`, the key of the cell and its measures, one row for
each work and cell. Over the full tables, summed, it is the full rebuild; over the rows of the changed works only, it is
the increment. Restrict the relations
*before* calling: a filter on top of the grouped result was measured not to be pushed down.

Notation: T = known territories of a counted work under a policy; a work is located if its unknown share is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Numeric,
    Select,
    and_,
    case,
    cast,
    func,
    literal,
    select,
    union_all,
)
from sqlalchemy import Table as SqlTable

from schemas import tables as t
from schemas.territories import UNKNOWN


@dataclass(frozen=True)
class Relations:
    """Rows that contributions are derived from: the core tables, or the rows of the changed works before or after a
    batch."""

    work: FromClause
    work_policy: FromClause
    work_territory: FromClause
    work_field: FromClause
    work_evidence: FromClause


def _one_if(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return cast(case((condition, 1), else_=0), BigInteger)


def _sum_type(value: ColumnElement[Any]) -> ColumnElement[Any]:
    return cast(value, Numeric(38, 9))


def _cell(rel: Relations) -> tuple[ColumnElement[Any], ...]:
    return rel.work.c.work_id, rel.work.c.corpus, rel.work_policy.c.policy, rel.work_field.c.field, rel.work.c.year


def _base(rel: Relations) -> FromClause:
    return rel.work.join(rel.work_policy, rel.work.c.work_id == rel.work_policy.c.work_id).join(
        rel.work_field, rel.work.c.work_id == rel.work_field.c.work_id
    )


def _same_work(rel: Relations, territory: FromClause) -> ColumnElement[bool]:
    return and_(territory.c.work_id == rel.work_policy.c.work_id, territory.c.policy == rel.work_policy.c.policy)


def world_contributions(rel: Relations) -> Select[Any]:
    """Every stored work once per policy and field: as counted with its kind, or as excluded with its reason.

    International |T| >= 2; domestic |T| = 1 and located; undetermined |T| <= 1 and not located. Unknown is never
    counted as domestic.
    """
    work, of = rel.work.c, rel.work_policy.c
    counted, located = work.is_counted, of.unknown_share == 0
    links = of.territories * (of.territories - 1) / literal(2, BigInteger)
    return select(
        *_cell(rel),
        _one_if(counted).label("papers"),
        _one_if(and_(counted, of.territories >= 2)).label("papers_international"),
        _one_if(and_(counted, of.territories == 1, located)).label("papers_domestic"),
        _one_if(and_(counted, of.territories <= 1, ~located)).label("papers_undetermined"),
        _one_if(and_(counted, ~located)).label("papers_with_unknown"),
        _one_if(and_(counted, of.territories == 0)).label("papers_without_country"),
        _sum_type(case((counted, of.unknown_share), else_=0)).label("fractional_unknown"),
        cast(case((counted, links), else_=0), BigInteger).label("links"),
        cast(case((counted, work.cited_by_count), else_=0), BigInteger).label("citations"),
        *(_one_if(work.excluded_reason == reason).label(f"excluded_{reason}") for reason in t.EXCLUDED_REASONS),
    ).select_from(_base(rel))


def country_contributions(rel: Relations) -> Select[Any]:
    """Every counted work for each of its territories, `ZZ` included.

    `papers` is whole counting, `fractional` the share. The row `ZZ` counts works with an unknown part: never domestic,
    no links.
    """
    of, part = rel.work_policy.c, rel.work_territory.c
    known, located = part.territory != UNKNOWN, of.unknown_share == 0
    return (
        select(
            *_cell(rel),
            part.territory,
            cast(literal(1), BigInteger).label("papers"),
            _sum_type(part.share).label("fractional"),
            _one_if(of.territories >= 2).label("papers_international"),
            _one_if(and_(known, of.territories == 1, located)).label("papers_domestic"),
            _one_if(and_(of.territories <= 1, ~located)).label("papers_undetermined"),
            cast(case((known, of.territories - 1), else_=0), BigInteger).label("links"),
            rel.work.c.cited_by_count.label("citations"),
        )
        .select_from(_base(rel).join(rel.work_territory, _same_work(rel, rel.work_territory)))
        .where(rel.work.c.is_counted)
    )


def pair_contributions(rel: Relations) -> Select[Any]:
    """Every counted work for each pair of its known territories, a before b.

    `score` = share_a + share_b (Nature Index bilateral collaboration score). `papers_dual_only`: one and the same
    author links both.
    """
    of = rel.work_policy.c
    first, second = rel.work_territory.alias("first"), rel.work_territory.alias("second")
    pairs = (
        _base(rel)
        .join(first, _same_work(rel, first))
        .join(
            second,
            and_(
                second.c.work_id == first.c.work_id,
                second.c.policy == first.c.policy,
                first.c.territory < second.c.territory,
            ),
        )
    )
    return (
        select(
            *_cell(rel),
            first.c.territory.label("territory_a"),
            second.c.territory.label("territory_b"),
            cast(literal(1), BigInteger).label("papers"),
            _one_if(of.unknown_share > 0).label("papers_with_unknown"),
            _one_if(of.territories == 2).label("papers_bilateral"),
            _one_if(of.territories > 2).label("papers_multilateral"),
            _one_if(and_(first.c.only_author.is_not(None), first.c.only_author == second.c.only_author)).label(
                "papers_dual_only"
            ),
            _sum_type(first.c.share + second.c.share).label("score"),
            rel.work.c.cited_by_count.label("citations"),
        )
        .select_from(pairs)
        .where(rel.work.c.is_counted, of.territories >= 2, first.c.territory != UNKNOWN, second.c.territory != UNKNOWN)
    )


def coverage_contributions(rel: Relations) -> Select[Any]:
    """Every counted work once per field, and once for each source that the country of one of its authors rests on.

    All located: the work has no unknown part, as in `world_contributions`. None located: no territory of it is known.
    Both are the same under every policy, so `iso` is asked.
    """
    work, of, whole_work = rel.work.c, rel.work_evidence.c, rel.work_policy.c
    is_all, is_none = whole_work.unknown_share == 0, whole_work.territories == 0
    located = (
        _one_if(is_all).label("papers_all_located"),
        _one_if(and_(~is_all, ~is_none)).label("papers_some_located"),
        _one_if(is_none).label("papers_none_located"),
    )
    cell = (work.work_id, work.corpus, rel.work_field.c.field, work.year)
    one = cast(literal(1), BigInteger).label("papers")
    fields = rel.work.join(rel.work_field, work.work_id == rel.work_field.c.work_id).join(
        rel.work_policy, and_(whole_work.work_id == work.work_id, whole_work.policy == "iso")
    )
    held = select(of.work_id, func.sum(of.conflicts).label("conflicts")).group_by(of.work_id).subquery("held")
    whole = (
        select(
            *cell,
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
            *cell,
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
    both = union_all(whole, by_source).subquery("coverage")
    return select(*both.c)


CONTRIBUTIONS: dict[SqlTable, Callable[[Relations], Select[Any]]] = {
    t.world_year: world_contributions,
    t.country_year: country_contributions,
    t.pair_year: pair_contributions,
    t.coverage_year: coverage_contributions,
}
