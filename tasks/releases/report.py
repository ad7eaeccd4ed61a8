"""What the tables of a warehouse say: countries and pairs of the last complete year, and what changed and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Select

from schemas import tables as t
from schemas.errors import UsageError
from schemas.places.territories import UNKNOWN
from schemas.settings import Settings
from tasks.loading.ledger import changes_since, releases_in, standing_releases
from tasks.reading.parsed import CORPUS
from tasks.releases.release import COMPLETENESS

CHANGES_SHOWN = 6  # cells of countries, and of pairs
POLICY_SHOWN = "iso"
ROWS_SHOWN = 10


@dataclass(frozen=True)
class Report:
    """What the tables say."""

    batches: list[sa.Row[Any]]
    corpus: str
    year: int | None
    field: str
    world: sa.Row[Any] | None
    coverage: list[sa.Row[Any]]
    """How much of the year is located and what that rests on, all first."""
    pairs: list[sa.Row[Any]]
    countries: list[sa.Row[Any]]
    changes: list[sa.Row[Any]]
    """Cells of countries and pairs that moved most."""
    changes_counted: int
    changed_since: str
    release: Path | None
    is_complete: bool
    """Whether the year counts as complete."""


def read_report(conn: Connection, settings: Settings, field: str, corpus: str | None = None) -> Report:
    """The last batches; countries and pairs of the last complete year under policy `iso`; cells that moved most since
    the release before, with reasons. All of one corpus: if none is named OpenAlex, or the first list if there is none
    of it.

    Which year is the last complete one is told by the view `completeness`, as for `collab ask`. Without any, it is the
    newest with works.

    Raises:
        UsageError: there are no works of the corpus.
    """
    corpora = list(conn.scalars(sa.select(t.world_year.c.corpus).distinct().order_by(t.world_year.c.corpus)))
    corpus = corpus or (CORPUS if CORPUS in corpora else next(iter(corpora), CORPUS))
    if corpus not in (CORPUS, *corpora):
        raise UsageError(f"no works of corpus {corpus!r}", "known: " + ", ".join(corpora))
    year, is_complete = _year_shown(conn, corpus, field)
    cell = {"corpus": corpus, "policy": POLICY_SHOWN, "field": field, "year": year}
    country = _of_cell(t.country_year, cell).where(t.country_year.c.territory != UNKNOWN)
    coverage = _of_cell(t.coverage_year, cell)
    of = t.coverage_year.c
    releases = releases_in(conn, settings.published)
    if len(releases) < 2:  # the one before was removed already, or this home never published
        releases = standing_releases(conn, 2)
    former = releases[1] if len(releases) > 1 else None
    changes, changes_counted = _changes(conn, corpus, field, former)
    current = settings.published / "current"
    return Report(
        batches=list(reversed(conn.execute(sa.select(t.batch).order_by(t.batch.c.finished_at.desc()).limit(20)).all())),
        corpus=corpus,
        year=year,
        field=field,
        world=conn.execute(_of_cell(t.world_year, cell)).one_or_none(),
        coverage=list(conn.execute(coverage.order_by(of.evidence != t.ALL_EVIDENCE, of.authors.desc()))),
        pairs=_most_papers(conn, _of_cell(t.pair_year, cell), t.pair_year),
        countries=_most_papers(conn, country, t.country_year),
        changes=changes,
        changes_counted=changes_counted,
        changed_since=f"release {former.release_id}" if former else "the beginning",
        release=current if current.exists() else None,
        is_complete=is_complete,
    )


def _year_shown(conn: Connection, corpus: str, field: str) -> tuple[int | None, bool]:
    """The last complete year, else the newest with works, and whether it is complete; None without works."""
    done, world = COMPLETENESS.c, t.world_year.c
    is_done = sa.and_(done.corpus == corpus, done.field == field, done.papers > 0, done.is_complete)
    complete: int | None = conn.scalar(sa.select(sa.func.max(done.year)).where(is_done))
    if complete is not None:
        return complete, True
    has_works = sa.and_(world.corpus == corpus, world.field == field, world.papers > 0)
    return conn.scalar(sa.select(sa.func.max(world.year)).where(has_works)), False


def _of_cell(mart: sa.Table, cell: Mapping[str, object]) -> Select[Any]:
    """Rows of a mart table in a cell; coverage_year is the same under every policy and does not ask for one."""
    return sa.select(mart).where(*(mart.c[name] == value for name, value in cell.items() if name in mart.c))


def _most_papers(conn: Connection, rows: Select[Any], mart: sa.Table) -> list[sa.Row[Any]]:
    ends = [mart.c[name] for name in t.key_columns(mart) if name not in t.CELL]
    return list(conn.execute(rows.order_by(mart.c.papers.desc(), *ends).limit(ROWS_SHOWN)))


def _changes(conn: Connection, corpus: str, field: str, former: sa.Row[Any] | None) -> tuple[list[sa.Row[Any]], int]:
    """Cells of countries, then of pairs, that moved most since a release, and how many moved in all."""
    moved = changes_since(former.published_at if former else None).order_by(None).subquery()
    changes: list[sa.Row[Any]] = []
    counted = 0
    for aggregate in ("country_year", "pair_year"):
        is_shown = sa.and_(
            moved.c.aggregate == aggregate,
            moved.c.policy == POLICY_SHOWN,
            moved.c.corpus == corpus,
            moved.c.field == field,
            moved.c.papers != 0,
        )
        counted += conn.scalar(sa.select(sa.func.count()).select_from(moved).where(is_shown)) or 0
        most = sa.func.abs(moved.c.papers).desc()
        order = [moved.c[name] for name in ("territory_a", "territory_b", "reason")]
        shown = sa.select(moved).where(is_shown).order_by(most, moved.c.year.desc(), *order).limit(CHANGES_SHOWN)
        changes += conn.execute(shown)
    return changes, counted
