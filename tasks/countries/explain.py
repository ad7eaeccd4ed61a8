"""Why a work counts for its countries: per author and affiliation the string, the institution, the country
and the proof, and what each territory policy makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from schemas import tables as t
from schemas.errors import UsageError
from schemas.work_ids import read_id, shown_id
from tasks.countries.registry import is_located_anew


@dataclass(frozen=True)
class Explanation:
    """A stored work with its evidence. Rows of affiliations carry the institution's name as `institution_name`."""

    work: sa.Row[Any]
    authors: list[sa.Row[Any]]
    affiliations: list[sa.Row[Any]]
    territories: list[sa.Row[Any]]
    is_up_to_date: bool
    """Whether every stored work was decided by the rules and reference data in force."""


def read_explanation(conn: Connection, identifier: str) -> Explanation:
    """Explain a stored work.

    Args:
        identifier: W2741809807, L5764607523034234880, the number alone, or the address of the work at OpenAlex.

    Raises:
        UsageError: it is no such id, or the work is not stored.
    """
    work_id = _work_id(identifier)
    work = conn.execute(sa.select(t.work).where(t.work.c.work_id == work_id)).one_or_none()
    if work is None:
        raise UsageError(f"work {shown_id(work_id)} is not stored", _why_not(conn, work_id))
    of, held = t.affiliation, t.institution
    evidence = (
        sa.select(of, held.c.name.label("institution_name"))
        .outerjoin_from(of, held, held.c.institution_id == of.c.institution_id)
        .where(of.c.work_id == work_id)
        .order_by(of.c.position, of.c.seq)
    )
    people = sa.select(t.authorship).where(t.authorship.c.work_id == work_id).order_by(t.authorship.c.position)
    parts = t.work_territory.c
    territories = sa.select(t.work_territory).where(parts.work_id == work_id).order_by(parts.policy, parts.share.desc())
    return Explanation(
        work=work,
        authors=list(conn.execute(people)),
        affiliations=list(conn.execute(evidence)),
        territories=list(conn.execute(territories)),
        is_up_to_date=is_located_anew(conn),
    )


def _work_id(identifier: str) -> int:
    try:
        return read_id(identifier)
    except ValueError as exc:
        raise UsageError(str(exc), "write it as W2741809807, or L and the number of a paper of a list") from None


def _why_not(conn: Connection, work_id: int) -> str:
    state = conn.scalar(sa.select(t.seen.c.state).where(t.seen.c.work_id == work_id))
    if state is not None:
        return f"its newest version is {state.replace('_', ' ')}"
    held = conn.scalar(
        sa.select(t.quarantine.c.rule).where(
            t.quarantine.c.source_key == shown_id(work_id), t.quarantine.c.resolved_at.is_(None)
        )
    )
    if held:
        return f"it is in quarantine: {held}; see `collab quarantine show {shown_id(work_id)}`"
    return "no run has met it, or only versions outside the scope: those leave no trace"
