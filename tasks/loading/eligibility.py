"""Why a work does not count, as far as it decides that itself: retracted, or of a type that is not counted.

Which of the works that share a DOI counts is decided in tasks/loading/duplicates.py.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from schemas import tables as t
from schemas.places.territories import work_types


def own_exclusion(work: Any) -> sa.ColumnElement[str]:
    """Why a work does not count, as far as it decides that itself; null if it counts."""
    reason = sa.case(
        (work.is_retracted, "retracted"), (work.type.not_in(sorted(work_types().counted)), "type"), else_=sa.null()
    )
    return sa.cast(reason, sa.String)


def noted_exclusion(work: Any) -> sa.ColumnElement[str]:
    """The same as it was when the work was stored; the allow-list of types may be another one now."""
    return sa.cast(sa.case((work.excluded_reason != "duplicate_doi", work.excluded_reason), else_=sa.null()), sa.String)


def counts_otherwise() -> sa.ColumnElement[bool]:
    """Whether a stored work decides otherwise than when it was stored. A duplicate of a DOI is asked too: where the
    other one does not count any more it would take its place, of whatever type it is."""
    return own_exclusion(t.work.c).is_distinct_from(noted_exclusion(t.work.c))
