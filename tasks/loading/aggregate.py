"""Keeps the mart equal to the sum of the contributions of all stored works: by increments, or from scratch.

Both ways use the same selects (schemas/counting/contributions.py), increments on sets of fields and policies
(schemas/counting/sets.py). All sums are integers or decimals, so increment, rebuild and ledger agree exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, FromClause, Select, Table

from schemas import tables as t
from schemas.counting.contributions import CONTRIBUTIONS
from schemas.counting.flows import citations_of, cited_works, flow_contributions
from schemas.counting.relations import Citations, Relations
from schemas.counting.sets import NAMES, split
from schemas.tables import MART, key_columns, ledger_of, measures
from tasks.storage.engines import backend_of
from tasks.storage.warehouse import Recipe, clear_scratch, make_scratch, recipe, scratch

WORKS_PER_SLICE = 2_000_000
CONTRIBUTING = (t.work_policy, t.work_territory, t.work_field, t.work_evidence, t.work_mention)
"""Parts of a work that contribute to a cell: the tables that Relations stands for, in its order."""


@dataclass(frozen=True)
class Side:
    """What a set of works contributes from, before or after a batch; None where there is nothing."""

    works: Relations | None
    citations: Citations | None

    def contributing(self, mart: Table) -> Callable[[], Select[Any]] | None:
        """What selects the rows of (work_id, key, measures) for a mart table; None if there is nothing to select from.

        Making the select takes time that a batch whose steps are made already need not spend.
        """
        if mart is t.flow_year:
            return None if self.citations is None else partial(flow_contributions, self.citations)
        return None if self.works is None else partial(CONTRIBUTIONS[mart], self.works)


def apply_increment(
    conn: Connection, before: Side, after: Side, reasons: FromClause, batch_id: str
) -> dict[str, Table]:
    """Add to ledger and mart what a set of works contributes after a batch, minus what it contributed before.

    Args:
        before, after: of the changed works only.
        reasons: relation (work_id, reason) of these works.

    Returns:
        Per mart table that changed, the temporary table of its cells that changed and by how much.
    """
    made = ((mart, _steps(conn, mart, before, after, reasons)) for mart in MART)
    every = [(mart, steps) for mart, steps in made if steps is not None]
    with backend_of(conn).joining_whole(conn):
        for _, steps in every:
            make_scratch(conn, steps.by_reason)
    touched = {}
    for mart, steps in every:
        if conn.scalar(steps.size):
            conn.execute(steps.book, {"batch": batch_id})
            touched[mart.name] = make_scratch(conn, steps.cells)
            conn.execute(steps.add)
            if before.works is not None:
                conn.execute(steps.remove)
        clear_scratch(conn, steps.by_reason.table.name)
    return touched


class _Steps(NamedTuple):
    """What an increment of one mart table does, in order: sum the differences by cell and reason, book them in the
    ledger, sum them by cell, add them to the mart, and remove the cells that are all zero then.
    """

    by_reason: Recipe
    size: Select[Any]
    book: sa.Insert
    cells: Recipe
    add: sa.Executable
    remove: sa.Delete


_made: dict[tuple[str, str, tuple[int, ...]], _Steps] = {}  # compiling them takes longer than a small batch does


def _steps(conn: Connection, mart: Table, before: Side, after: Side, reasons: FromClause) -> _Steps | None:
    """Steps for a mart table; None if neither side has anything for it.

    Both sides consist of temporary tables that have the same names in every batch, so the steps are made once.
    """
    sides = {sign: select for sign, side in ((1, after), (-1, before)) if (select := side.contributing(mart))}
    if not sides:
        return None
    known = conn.dialect.name, mart.name, tuple(sides)
    if known not in _made:
        _made[known] = _make_steps(conn, mart, {sign: select() for sign, select in sides.items()}, reasons)
    return _made[known]


def _make_steps(conn: Connection, mart: Table, sides: Mapping[int, Select[Any]], reasons: FromClause) -> _Steps:
    key, sums = key_columns(mart), measures(mart)
    signed = sa.union_all(*(_signed(side, mart, sign) for sign, side in sides.items())).subquery()
    cell = ["reason", *key]
    rows: FromClause = (
        sa.select(reasons.c.reason, *(signed.c[name] for name in (*key, *sums)))
        .join_from(signed, reasons, signed.c.work_id == reasons.c.work_id)
        .subquery()
    )
    summed = _summed(rows, cell, mart)
    for name in (name for name in NAMES if name in key):
        summed = _summed(split(summed.subquery(), name), cell, mart)
    by_reason = recipe(conn, f"delta_{mart.name}", _nonzero(summed, mart))
    of = by_reason.table.c
    booked = sa.select(sa.bindparam("batch", type_=sa.String), of.reason, *(of[name] for name in (*key, *sums)))
    net = sa.select(*(of[name] for name in key), *_sums(by_reason.table, mart)).group_by(*(of[name] for name in key))
    cells = recipe(conn, f"cells_{mart.name}", _nonzero(net, mart))
    own = cells.table.c
    is_zero = (mart.c[name] == 0 for name in sums)
    is_touched = sa.exists(sa.select(1).where(*(mart.c[name] == own[name] for name in key)))
    return _Steps(
        by_reason,
        sa.select(sa.func.count()).select_from(by_reason.table),
        sa.insert(ledger_of(mart)).from_select(["batch_id", "reason", *key, *sums], booked),
        cells,
        backend_of(conn).adding(mart, cells.table),
        sa.delete(mart).where(*is_zero, is_touched),  # by key: a server reads these cells alone
    )


class Years(NamedTuple):
    """Consecutive years, both included; None: no bound."""

    first: int | None
    last: int | None

    def hold(self, year: ColumnElement[int]) -> ColumnElement[bool]:
        """Whether a year is one of them."""
        bounds = [year >= self.first] if self.first is not None else []
        return sa.and_(sa.true(), *bounds, *([year <= self.last] if self.last is not None else []))


def year_slices(conn: Connection, most: int = WORKS_PER_SLICE) -> list[Years]:
    """All years, cut so that a slice holds at most `most` stored works, or is a single year.

    Whoever counts everything anew does it slice by slice: memory stays flat, and no coordinator merges everything.
    """
    works = sa.select(t.work.c.year, sa.func.count()).group_by(t.work.c.year).order_by(t.work.c.year)
    edges: list[int] = []
    held = 0
    for year, count in conn.execute(works).tuples():
        if held and held + count > most:
            edges.append(year)
            held = 0
        held += count
    firsts, lasts = [None, *edges], [*(year - 1 for year in edges), None]
    return [Years(first, last) for first, last in zip(firsts, lasts, strict=True)]


def rebuilt(conn: Connection, mart: Table, years: Years) -> Select[Any]:
    """Some years of a mart table, from scratch; for flow_year with the help of a temporary table."""
    if mart is t.flow_year:
        every = flow_contributions(_citations_from(conn, years)).subquery()
    else:
        some = sa.select(t.work).where(years.hold(t.work.c.year)).subquery("work")
        every = CONTRIBUTIONS[mart](Relations(some, *CONTRIBUTING)).subquery()
    key = key_columns(mart)
    return sa.select(*(every.c[name] for name in key), *_sums(every, mart)).group_by(*(every.c[name] for name in key))


def _citations_from(conn: Connection, years: Years) -> Citations:
    """Citations by the works of some years.

    The cited works are collected first: where several machines hold the warehouse they lie elsewhere than the citing
    ones.
    """
    of = t.reference.c
    in_years = t.work.c.work_id == of.citing_work_id, years.hold(t.work.c.year)
    edge = sa.select(of.citing_work_id, of.cited_work_id, of.citing_work_id.label("work_id"))
    wanted = sa.select(of.cited_work_id).join_from(t.reference, t.work, in_years[0]).where(in_years[1])
    cited = scratch(conn, "cited", cited_works(t.work, t.work_territory).where(t.work.c.work_id.in_(wanted)))
    from_years = edge.join_from(t.reference, t.work, in_years[0]).where(in_years[1])
    every = citations_of(from_years.subquery("edge"), cited).subquery("citation")
    return Citations(every, t.work, t.work_territory, t.work_field, may_be_sets=False)


def _signed(contributions: Select[Any], mart: Table, sign: int) -> Select[Any]:
    rows = contributions.subquery()
    key, sums = key_columns(mart), measures(mart)
    values = [rows.c[name] if sign > 0 else (-rows.c[name]).label(name) for name in sums]
    return sa.select(rows.c.work_id, *(rows.c[name] for name in key), *values)


def _summed(rows: FromClause, cell: Sequence[str], mart: Table) -> Select[Any]:
    of = [rows.c[name] for name in cell]
    return sa.select(*of, *_sums(rows, mart)).group_by(*of)


def _sums(rows: FromClause, mart: Table) -> list[sa.ColumnElement[Any]]:
    return [sa.cast(sa.func.sum(rows.c[name]), mart.c[name].type).label(name) for name in measures(mart)]


def _nonzero(summed: Select[Any], mart: Table) -> Select[Any]:
    rows = summed.subquery()
    return sa.select(*rows.c).where(sa.or_(*(rows.c[name] != 0 for name in measures(mart))))
