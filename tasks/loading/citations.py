"""Which citations a batch touches: those from or to a work that changes, with what is at their other ends.

A citation counts while both works are stored. When a work changes, all citations from it and to it are taken back with
the old ends and counted with the new ones; the works at the other ends stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import CompoundSelect, Connection, Select, Table

from schemas import tables as t
from schemas.counting.flows import citations_of, cited_works
from schemas.counting.relations import Citations, Relations
from schemas.counting.sets import by_fields, by_policies
from tasks.storage.warehouse import scratch

_WORK = ("work_id", "corpus", "year", "is_counted")
_TERRITORY = ("work_id", "policy", "territory", "share")
_FIELD = ("work_id", "field")


@dataclass(frozen=True)
class Citing:
    """Citations that a batch touches, and the works at their ends that it does not change."""

    touched: Table
    """Stored before the batch: citing_work_id, cited_work_id, and work_id, whose change it is booked under."""
    arrived: Table
    """From works whose references change: the same of the new ones."""
    rewritten: Select[Any]
    """Works whose references change."""
    ends: tuple[Table, Table, Table]
    """Works that do not change, with their territories and, where they cite, fields."""

    @classmethod
    def find(cls, conn: Connection, affected: Table, arrivals: Select[Any], *, in_sets: bool) -> Citing:
        """Look up what a batch touches, before core is rewritten.

        Args:
            affected: works of the batch (tasks/loading/load.py).
            arrivals: citing_work_id and cited_work_id as the works that arrive list them.
            in_sets: by sets of policies and fields (schemas/counting/sets.py).
        """
        of, edge = affected.c, t.reference.c
        is_same = sa.and_(of.was_stored, of.is_stored, of.reason == "citations", ~of.reference_changed)
        moving = sa.select(of.work_id).where(~is_same)
        rewritten = sa.select(of.work_id).where(of.reference_changed)
        columns = (edge.citing_work_id, edge.cited_work_id)
        from_moving = sa.select(*columns, edge.citing_work_id.label("work_id")).where(edge.citing_work_id.in_(moving))
        to_moving = sa.select(*columns, edge.cited_work_id.label("work_id")).where(
            edge.cited_work_id.in_(moving), edge.citing_work_id.not_in(moving)
        )
        touched = scratch(conn, "touched_edge", sa.union_all(from_moving, to_moving))
        listed = arrivals.subquery()
        new = sa.select(*listed.c, listed.c.citing_work_id.label("work_id"))
        arrived = scratch(conn, "arrived_edge", new.where(listed.c.citing_work_id.in_(rewritten)))
        return cls(touched, arrived, rewritten, cls._ends(conn, affected, touched, arrived, in_sets=in_sets))

    @staticmethod
    def _ends(
        conn: Connection, affected: Table, touched: Table, arrived: Table, *, in_sets: bool
    ) -> tuple[Table, Table, Table]:
        every = sa.union(
            sa.select(touched.c.cited_work_id.label("work_id")),
            sa.select(touched.c.citing_work_id),
            sa.select(arrived.c.cited_work_id),
        ).subquery()
        other = sa.select(every.c.work_id).where(every.c.work_id.not_in(sa.select(affected.c.work_id)))
        ids = scratch(conn, "edge_end", other)
        work, territory, field = t.work.c, t.work_territory.c, t.work_field.c
        is_end = sa.and_(work.work_id.in_(sa.select(ids.c.work_id)), work.is_counted)
        works = scratch(conn, "end_work", sa.select(*(work[name] for name in _WORK)).where(is_end))
        stored = sa.select(works.c.work_id)
        of_stored = sa.select(*(territory[name] for name in _TERRITORY)).where(territory.work_id.in_(stored))
        parts = of_stored.cte("parts").prefix_with("MATERIALIZED")  # it is read twice
        citing = sa.select(touched.c.citing_work_id).where(touched.c.citing_work_id.in_(stored))
        fields = sa.select(*(field[name] for name in _FIELD)).where(field.work_id.in_(citing))
        return (
            works,
            scratch(conn, "end_territory", by_policies(parts, parts) if in_sets else of_stored),
            scratch(conn, "end_field", by_fields(fields.subquery()) if in_sets else fields),
        )

    def before(self, conn: Connection, changed: Relations | None) -> Citations | None:
        """The citations as they were; `changed`: the changed works as they were."""
        if changed is None:  # a work that was not stored had no citations that count
            return None
        return self._between(conn, sa.select(self.touched), changed, "old")

    def after(self, conn: Connection, changed: Relations | None) -> Citations | None:
        """The citations as they are now; `changed`: the changed works as they are now."""
        if changed is None:
            return None
        kept = sa.select(self.touched).where(self.touched.c.citing_work_id.not_in(self.rewritten))
        return self._between(conn, sa.union_all(kept, sa.select(self.arrived)), changed, "new")

    def _between(
        self, conn: Connection, edges: Select[Any] | CompoundSelect[Any], changed: Relations, side: str
    ) -> Citations:
        """Citations and what is at their ends, in tables of their own: planners know nothing of the values of a union.
        DuckDB began with every pair of works that have a corpus and a policy in common, 47 s instead of 0.1 for 4,000
        works that cite each other; PostgreSQL expected 10^11 rows and sorted on disk, 9 s instead of 3 for 20,000."""
        of_changed = (changed.work, changed.work_territory, changed.work_field)
        work, territory, field = (
            scratch(
                conn, f"{side}_{end.name}", sa.union_all(sa.select(end), sa.select(*(some.c[name] for name in names)))
            )
            for end, some, names in zip(self.ends, of_changed, (_WORK, _TERRITORY, _FIELD), strict=True)
        )
        cited = citations_of(edges.subquery("edge"), cited_works(work, territory).subquery("cited"))
        return Citations(scratch(conn, f"{side}_citation", cited), work, territory, field, may_be_sets=True)
