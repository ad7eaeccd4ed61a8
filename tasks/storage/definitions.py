"""The definitions that a warehouse is counted by, as it notes them in ops.meta and core.bloc_member."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from schemas import tables as t
from schemas.places.blocs import blocs, members_by_year
from schemas.reviewed import classifying_digest, counting_digest

COUNTED_BY, CLASSIFIED_BY, PARTIAL = "definitions", "classified_by", "definition_partial"


def put_definitions(conn: Connection, partial: int = 0) -> None:
    """Note that every stored work is counted by the definitions of this package.

    Args:
        partial: works that keep an older classification, because their landed records are gone.
    """
    values = {COUNTED_BY: counting_digest(), CLASSIFIED_BY: classifying_digest(), PARTIAL: str(partial)}
    conn.execute(sa.delete(t.meta).where(t.meta.c.name.in_(values)))
    conn.execute(t.meta.insert(), [{"name": name, "value": value} for name, value in values.items()])
    put_blocs(conn)


def begin_definitions(conn: Connection, noted: dict[str, str]) -> None:
    """Note that works are being decided again, so that until it is done no definitions fit, neither those before nor
    ours."""
    values = {COUNTED_BY: f"{counting_digest()}, not on all works yet"}
    if noted.get(CLASSIFIED_BY) != classifying_digest():
        values[CLASSIFIED_BY] = ""
    conn.execute(sa.delete(t.meta).where(t.meta.c.name.in_(values)))
    conn.execute(t.meta.insert(), [{"name": name, "value": value} for name, value in values.items()])


def put_blocs(conn: Connection) -> None:
    """Make the memberships of the package the ones that blocs are counted by."""
    schemes = {bloc.id: bloc.scheme for bloc in blocs()}
    conn.execute(sa.delete(t.bloc_member))
    rows = [{**member._asdict(), "scheme": schemes[member.bloc]} for member in members_by_year()]
    conn.execute(t.bloc_member.insert(), rows)


def read_definitions(conn: Connection) -> dict[str, str]:
    """What the stored works are counted and classified by, and how many keep an older classification."""
    noted = sa.select(t.meta.c.name, t.meta.c.value).where(t.meta.c.name.in_((COUNTED_BY, CLASSIFIED_BY, PARTIAL)))
    return dict(conn.execute(noted).tuples().all())


def is_outdated(conn: Connection) -> bool:
    """Whether stored works were counted by other definitions than those of this package."""
    return read_definitions(conn).get(COUNTED_BY) != counting_digest()
