"""What contributions are derived from, and the parts that their selects have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, FromClause, Numeric, and_, case, cast, literal
from sqlalchemy.sql.selectable import NamedFromClause

from schemas.places.territories import UNKNOWN


@dataclass(frozen=True)
class Relations:
    """Rows that contributions are derived from: the core tables, or the rows of the changed works before or after a
    batch, whose policies and fields may be sets (schemas/counting/sets.py)."""

    work: FromClause
    work_policy: FromClause
    work_territory: FromClause
    work_field: FromClause
    work_evidence: FromClause
    work_mention: FromClause


@dataclass(frozen=True)
class Citations:
    """Citations of counted works, and the works that cite, of which some may be missing."""

    cited: FromClause
    """One row for each citation, policy and territory of the cited work: citing_work_id, corpus, policy, territory,
    share, and work_id: the work whose change the citation is booked under."""
    work: FromClause
    work_territory: FromClause
    work_field: FromClause
    may_be_sets: bool
    """Whether a policy or field may stand for several (schemas/counting/sets.py)."""


def one_if(condition: ColumnElement[bool]) -> ColumnElement[int]:
    """1 where a condition holds, else 0."""
    return cast(case((condition, 1), else_=0), BigInteger)


def whole() -> ColumnElement[int]:
    """1: whole counting."""
    return cast(literal(1), BigInteger)


def sum_type(value: ColumnElement[Any], decimals: int = 9) -> ColumnElement[Any]:
    """A decimal in the type of the sums over it."""
    return cast(value, Numeric(38, decimals))


def cell(rel: Relations) -> tuple[ColumnElement[Any], ...]:
    """Work and cell of the mart: corpus, policy, field, year."""
    return rel.work.c.work_id, rel.work.c.corpus, rel.work_policy.c.policy, rel.work_field.c.field, rel.work.c.year


def base(rel: Relations) -> FromClause:
    """Every work under every policy in every one of its fields."""
    return rel.work.join(rel.work_policy, rel.work.c.work_id == rel.work_policy.c.work_id).join(
        rel.work_field, rel.work.c.work_id == rel.work_field.c.work_id
    )


def same_work(rel: Relations, territory: FromClause) -> ColumnElement[bool]:
    """Whether a territory is one of the work under the policy."""
    return and_(territory.c.work_id == rel.work_policy.c.work_id, territory.c.policy == rel.work_policy.c.policy)


@dataclass(frozen=True)
class Pairs:
    """Pairs of the known territories of counted works, a before b."""

    rows: FromClause
    first: NamedFromClause
    second: NamedFromClause
    condition: ColumnElement[bool]


def pairs_of(rel: Relations) -> Pairs:
    """Join works with themselves on their territories; use `rows` where `condition` holds."""
    first, second = rel.work_territory.alias("first"), rel.work_territory.alias("second")
    is_later = and_(
        second.c.work_id == first.c.work_id,
        second.c.policy == first.c.policy,
        first.c.territory < second.c.territory,
    )
    is_known = and_(first.c.territory != UNKNOWN, second.c.territory != UNKNOWN)
    return Pairs(
        base(rel).join(first, same_work(rel, first)).join(second, is_later),
        first,
        second,
        and_(rel.work.c.is_counted, rel.work_policy.c.territories >= 2, is_known),
    )
