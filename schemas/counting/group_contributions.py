"""What one work adds to the cells of blocs, sectors and mentions. Read schemas/counting/contributions.py first."""

from __future__ import annotations

from typing import Any

from sqlalchemy import FromClause, Integer, Select, String, Values, and_, column, func, not_, select, values

from schemas import tables as t
from schemas.counting.relations import Relations, base, cell, one_if, pairs_of, same_work, sum_type, whole


def bloc_contributions(rel: Relations) -> Select[Any]:
    """Every counted work once for each bloc that one of its territories is a member of in the work's year.

    Internal: two or more members. External: a known territory outside.
    """
    of, held = rel.work_policy.c, _members(rel, at_least=1)
    return (
        select(
            *cell(rel),
            held.c.bloc,
            whole().label("papers"),
            held.c.fractional,
            one_if(held.c.members >= 2).label("papers_internal"),
            one_if(of.territories > held.c.members).label("papers_external"),
            one_if(of.unknown_share > 0).label("papers_with_unknown"),
            rel.work.c.cited_by_count.label("citations"),
        )
        .select_from(base(rel).join(held, same_work(rel, held)))
        .where(rel.work.c.is_counted)
    )


def bloc_pair_contributions(rel: Relations) -> Select[Any]:
    """Every counted work for each pair of blocs of one scheme, a before b, that two different territories of it join.

    Exclusive: a member of each that is not in the other. A territory in both blocs alone joins nothing.
    """
    held = _members(rel, at_least=2)
    first, second, both = held.alias("first"), held.alias("second"), _in_both(rel).alias("both")
    shared = func.coalesce(both.c.members, 0)
    is_pair = and_(
        second.c.work_id == first.c.work_id,
        second.c.policy == first.c.policy,
        second.c.scheme == first.c.scheme,
        first.c.bloc < second.c.bloc,
    )
    is_of_both = and_(
        both.c.work_id == first.c.work_id,
        both.c.policy == first.c.policy,
        both.c.bloc_a == first.c.bloc,
        both.c.bloc_b == second.c.bloc,
    )
    is_one_territory = and_(first.c.members == 1, second.c.members == 1, shared == 1)
    return (
        select(
            *cell(rel),
            first.c.bloc.label("bloc_a"),
            second.c.bloc.label("bloc_b"),
            whole().label("papers"),
            one_if(and_(first.c.members > shared, second.c.members > shared)).label("papers_exclusive"),
            rel.work.c.cited_by_count.label("citations"),
        )
        .select_from(base(rel).join(first, same_work(rel, first)).join(second, is_pair).outerjoin(both, is_of_both))
        .where(rel.work.c.is_counted, not_(is_one_territory))
    )


def _memberships(rel: Relations, *, at_least: int) -> tuple[FromClause, FromClause]:
    """Counted works of so many territories at least, with these and their memberships in the work's year."""
    part, member = rel.work_territory, t.bloc_member.alias("member")
    is_member = and_(
        member.c.territory == part.c.territory,
        member.c.first_year <= rel.work.c.year,
        member.c.last_year >= rel.work.c.year,
    )
    rows = (
        rel.work.join(rel.work_policy, rel.work.c.work_id == rel.work_policy.c.work_id)
        .join(part, and_(same_work(rel, part), rel.work.c.is_counted, rel.work_policy.c.territories >= at_least))
        .join(member, is_member)
    )
    return rows, member


def _members(rel: Relations, *, at_least: int) -> Any:
    """Per work, policy and bloc: how many territories of the work are members, and their share."""
    rows, member = _memberships(rel, at_least=at_least)
    part = rel.work_territory.c
    key = (part.work_id, part.policy, member.c.bloc, member.c.scheme)
    share = sum_type(func.sum(part.share)).label("fractional")
    return select(*key, func.count().label("members"), share).select_from(rows).group_by(*key).subquery("held")


def _in_both(rel: Relations) -> Any:
    """Per work, policy and pair of blocs: how many territories of the work are members of both."""
    rows, member = _memberships(rel, at_least=2)
    other, part = t.bloc_member.alias("other"), rel.work_territory.c
    is_of_both = and_(
        other.c.territory == member.c.territory,
        other.c.scheme == member.c.scheme,
        member.c.bloc < other.c.bloc,
        other.c.first_year <= rel.work.c.year,
        other.c.last_year >= rel.work.c.year,
    )
    key = (part.work_id, part.policy, member.c.bloc.label("bloc_a"), other.c.bloc.label("bloc_b"))
    return (
        select(*key, func.count().label("members"))
        .select_from(rows.join(other, is_of_both))
        .group_by(part.work_id, part.policy, member.c.bloc, other.c.bloc)
        .subquery("both")
    )


def sector_contributions(rel: Relations) -> Select[Any]:
    """Every counted work for each of its territories, `ZZ` included, and each sector that links it there."""
    part, sector = rel.work_territory, _sectors("sector")
    return (
        select(
            *cell(rel),
            part.c.territory,
            sector.c.sector,
            whole().label("papers"),
            one_if(rel.work_policy.c.territories >= 2).label("papers_international"),
            rel.work.c.cited_by_count.label("citations"),
        )
        .select_from(base(rel).join(part, same_work(rel, part)).join(sector, _has(part, sector)))
        .where(rel.work.c.is_counted)
    )


def sector_pair_contributions(rel: Relations) -> Select[Any]:
    """Every counted work for each pair of its known territories and each pair of sectors that link them."""
    pairs = pairs_of(rel)
    sector_a, sector_b = _sectors("sector_a"), _sectors("sector_b")
    rows = pairs.rows.join(sector_a, _has(pairs.first, sector_a)).join(sector_b, _has(pairs.second, sector_b))
    return (
        select(
            *cell(rel),
            pairs.first.c.territory.label("territory_a"),
            pairs.second.c.territory.label("territory_b"),
            sector_a.c.sector.label("sector_a"),
            sector_b.c.sector.label("sector_b"),
            whole().label("papers"),
            rel.work.c.cited_by_count.label("citations"),
        )
        .select_from(rows)
        .where(pairs.condition)
    )


def _sectors(name: str) -> Values:
    listed = values(column("bit", Integer), column("sector", String), name=name, literal_binds=True)
    return listed.data([(bit, sector) for sector, bit in t.SECTOR_BITS.items()])


def _has(part: FromClause, sector: Values) -> Any:
    return part.c.sectors.bitwise_and(sector.c.bit) != 0


def mention_contributions(rel: Relations) -> Select[Any]:
    """Every counted work for each building block it names and each of its territories, `ZZ` included."""
    part, named = rel.work_territory, rel.work_mention
    return (
        select(
            *cell(rel),
            named.c.mention,
            part.c.territory,
            whole().label("papers"),
            sum_type(part.c.share).label("fractional"),
            rel.work.c.cited_by_count.label("citations"),
        )
        .select_from(base(rel).join(part, same_work(rel, part)).join(named, named.c.work_id == rel.work.c.work_id))
        .where(rel.work.c.is_counted)
    )


def mention_pair_contributions(rel: Relations) -> Select[Any]:
    """Every counted work for each building block it names and each pair of its known territories."""
    pairs, named = pairs_of(rel), rel.work_mention
    return (
        select(
            *cell(rel),
            named.c.mention,
            pairs.first.c.territory.label("territory_a"),
            pairs.second.c.territory.label("territory_b"),
            whole().label("papers"),
            rel.work.c.cited_by_count.label("citations"),
        )
        .select_from(pairs.rows.join(named, named.c.work_id == rel.work.c.work_id))
        .where(pairs.condition)
    )
