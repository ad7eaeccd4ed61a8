"""Keeps the mart equal to the sum of the contributions of all stored works: by increments, or from scratch.

Both ways use the same selects (schemas/contributions.py). All sums are integers or decimals, so increment, rebuild and
ledger agree exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, FromClause, Select, Table

from schemas import tables as t
from schemas.contributions import CONTRIBUTIONS
from schemas.flows import cited_works, flow_contributions
from schemas.relations import Citations, Relations
from schemas.tables import MART, key_columns, ledger_of, measures
from tasks.warehouse import clear_scratch, scratch

WORKS_PER_SLICE = 2_000_000


@dataclass(frozen=True)
class Side:
    """What a set of works contributes from, before or after a batch; None where there is nothing."""

    works: Relations | None
    citations: Citations | None

    def contributions(self, mart: Table) -> Select[Any] | None:
        """Rows of (work_id, key, measures) for a mart table."""
        if mart is t.flow_year:
            return flow_contributions(self.citations) if self.citations else None
        return CONTRIBUTIONS[mart](self.works) if self.works else None


def apply_increment(
    conn: Connection, before: Side, after: Side, reasons: FromClause, batch_id: str
) -> dict[str, Table]:
    """Add to ledger and mart what a set of works contributes after a batch, minus what it contributed before.

    Args:
        before, after: of the changed works only.
        reasons: relation (work_id, reason) of these works.

    Returns:
        Per mart table, the temporary table of the cells that changed and by how much.
    """
    touched = {}
    for mart in MART:
        sides = [
            _signed(rows, mart, sign)
            for side, sign in ((after, 1), (before, -1))
            if (rows := side.contributions(mart)) is not None
        ]
        if not sides:
            continue
        signed = sa.union_all(*sides).subquery()
        key, sums = key_columns(mart), measures(mart)
        by_reason = scratch(
            conn,
            f"delta_{mart.name}",
            _nonzero(
                sa.select(reasons.c.reason, *(signed.c[name] for name in key), *_sums(signed, mart))
                .join_from(signed, reasons, signed.c.work_id == reasons.c.work_id)
                .group_by(reasons.c.reason, *(signed.c[name] for name in key)),
                mart,
            ),
        )
        booked = sa.select(sa.literal(batch_id), by_reason.c.reason, *(by_reason.c[name] for name in (*key, *sums)))
        conn.execute(sa.insert(ledger_of(mart)).from_select(["batch_id", "reason", *key, *sums], booked))
        touched[mart.name] = cells = scratch(
            conn,
            f"cells_{mart.name}",
            _nonzero(
                sa.select(*(by_reason.c[name] for name in key), *_sums(by_reason, mart)).group_by(
                    *(by_reason.c[name] for name in key)
                ),
                mart,
            ),
        )
        clear_scratch(conn, by_reason.name)
        _add_cells(conn, mart, cells, has_losses=before.works is not None)
    return touched


def _add_cells(conn: Connection, mart: Table, cells: Table, *, has_losses: bool) -> None:
    """Add deltas to the mart; a cell goes when all its measures are zero."""
    key, sums = key_columns(mart), measures(mart)
    same = sa.and_(*(mart.c[name] == cells.c[name] for name in key))
    conn.execute(sa.update(mart).values({name: mart.c[name] + cells.c[name] for name in sums}).where(same))
    missing = sa.select(*(cells.c[name] for name in (*key, *sums))).where(
        ~sa.exists(sa.select(1).select_from(mart).where(same))
    )
    conn.execute(sa.insert(mart).from_select([*key, *sums], missing))
    if has_losses:
        conn.execute(sa.delete(mart).where(sa.and_(*(mart.c[name] == 0 for name in sums))))


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
        children = (t.work_policy, t.work_territory, t.work_field, t.work_evidence, t.work_mention)
        every = CONTRIBUTIONS[mart](Relations(some, *children)).subquery()
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
    return Citations(from_years.subquery("edge"), t.work, t.work_territory, t.work_field, cited)


def _signed(contributions: Select[Any], mart: Table, sign: int) -> Select[Any]:
    rows = contributions.subquery()
    key, sums = key_columns(mart), measures(mart)
    values = [rows.c[name] if sign > 0 else (-rows.c[name]).label(name) for name in sums]
    return sa.select(rows.c.work_id, *(rows.c[name] for name in key), *values)


def _sums(rows: FromClause, mart: Table) -> list[sa.ColumnElement[Any]]:
    return [sa.cast(sa.func.sum(rows.c[name]), mart.c[name].type).label(name) for name in measures(mart)]


def _nonzero(summed: Select[Any], mart: Table) -> Select[Any]:
    rows = summed.subquery()
    return sa.select(*rows.c).where(sa.or_(*(rows.c[name] != 0 for name in measures(mart))))
