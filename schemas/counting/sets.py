"""Rows that stand for several fields or policies of a work at once.

A work adds the same to a cell in each of its fields, and under every policy unless one of its territories counts as
another under some policy. Increments therefore sum what works add by *sets* of fields and policies, and split the sums:
of full-size works with three fields that is about a tenth of the rows. Rebuilds do without, so that whoever compares
both compares two ways of counting; so do increments while stored works are of other definitions, whose policies are
unknown.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, case, func, literal, or_, select
from sqlalchemy.dialects.postgresql import aggregate_order_by

from schemas.places.territories import policies

SEPARATOR = ","
ISO = policies()[0].id
EVERY = "*"
"""Set of all policies: a short text is quicker to group by than their names."""
NAMES = ("field", "policy")
"""Columns of a cell that may hold a set, those that are to be split first in front."""


def by_fields(work_field: FromClause) -> Select[Any]:
    """core.work_field with one row for each work: all of its fields."""
    of = work_field.c
    fields = func.string_agg(of.field, aggregate_order_by(literal(SEPARATOR), of.field))
    return select(of.work_id, fields.label("field")).group_by(of.work_id)


def by_policies(rows: FromClause, territory: FromClause) -> Select[Any]:
    """Rows of works under policies, those that are the same under every policy once.

    Args:
        rows: core.work_policy, core.work_territory, or some columns and works of them.
        territory: core.work_territory of the same works at least.
    """
    folded = {code for policy in policies() for code in policy.counts_as}
    part = territory.c
    differing = select(part.work_id).where(part.policy == ISO, part.territory.in_(sorted(folded))).distinct().subquery()
    is_same = differing.c.work_id.is_(None)
    values = [case((is_same, EVERY), else_=c).label(c.name) if c.name == "policy" else c for c in rows.c]
    return (
        select(*values)
        .outerjoin_from(rows, differing, differing.c.work_id == rows.c.work_id)
        .where(or_(rows.c.policy == ISO, ~is_same))
    )


def is_iso(policy: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a row holds under the policy iso, alone or among others: true of one row of each work."""
    return policy.in_([ISO, EVERY])


def meet(a: ColumnElement[str], b: ColumnElement[str]) -> tuple[ColumnElement[str], ColumnElement[bool]]:
    """The policies of both of two sets, and whether there are any."""
    return case((a == EVERY, b), else_=a), or_(a == b, a == EVERY, b == EVERY)


def split(rows: FromClause, name: str) -> FromClause:
    """Rows with each set of policies or fields, in the column of that name, replaced by its members, a row for each."""
    all_policies = SEPARATOR.join(policy.id for policy in policies())
    listed = case((rows.c[name] == EVERY, all_policies), else_=rows.c[name])
    members = func.unnest(func.string_to_array(listed, SEPARATOR)).label(name)
    return select(*(members if c.name == name else c for c in rows.c)).subquery()
