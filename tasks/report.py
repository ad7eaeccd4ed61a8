"""What a person wants to know of a warehouse: how fresh it is, what the last batches did, what the tables say, what
changed and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from schemas import tables as t
from schemas.errors import UsageError
from schemas.settings import Settings
from tasks.definitions import PARTIAL, read_definitions
from tasks.ledger import UNDO, changes_since, has_changed, releases_in, unfinished_landings
from tasks.parse import CORPUS
from tasks.registry import is_located_anew
from tasks.releases import COMPLETENESS
from tasks.runs import CLOCKS_DIFFER_BY, Run, last_runs, last_success
from tasks.sightings import stored_months, sweeps
from tasks.sources.openalex_api import gaps_between
from tasks.sources.venue_list import SOURCE as LISTS
from tasks.stops import open_stops
from tasks.undecided import Undecided, read_undecided
from tasks.volume import snapshot_left

CHANGES_SHOWN = 6  # cells of countries, and of pairs
POLICY_SHOWN = "iso"
FRESH_BY = ("nightly", "backfill", "rescan")  # flows whose success says that the tables are as fresh as the source


@dataclass(frozen=True)
class Status:
    """State of a warehouse for a maintainer."""

    last_batch: sa.Row[Any] | None
    """The newest batch that was not undone."""
    runs: list[Run]
    """The newest run of each flow and source, newest first."""
    last_success: datetime | None
    """When a run that brings works last came to its end, lists left aside."""
    last_change: datetime | None
    """When a batch last brought anything new."""
    undone: list[sa.Row[Any]]
    """Batches that were undone and of which versions still stay out, with how many."""
    batches: list[sa.Row[Any]]
    broken_rules: list[sa.Row[Any]]
    stopped: list[str]
    open_quarantine: int
    unfinished: list[str]
    fetching: list[tuple[str, bool]]
    """Windows of which pages are kept, since a fault or an empty budget ended their fetching, and whether they were
    ever seen whole: a backfill takes only months that were not."""
    gaps: list[tuple[str, str]]
    """Months, first and last, between those a live source was asked for, that nobody ever asked for."""
    unread: int
    """Records of the snapshot in parts that were left out, by `--until` or by a run that ended early."""
    release: sa.Row[Any] | None
    is_stale: bool
    """Whether no run came to its end lately; somebody brings lists, so that a warehouse of lists alone never is."""
    is_located_anew: bool
    """Whether every stored work was decided by the rules, corrections and ROR in force."""
    partial: int
    """Works that kept an older classification, because their landed records were gone when definitions changed."""
    undecided: list[Undecided]
    """Corpora of which records are still to be decided by the definitions in force."""
    is_published: bool
    """Whether the newest release holds everything that was counted."""

    @property
    def is_good(self) -> bool:
        """Whether a tired maintainer may go back to bed."""
        is_fresh = self.last_batch is not None and not self.is_stale and self.is_published
        is_whole = not self.stopped and not self.unfinished and not self.undecided
        return is_fresh and is_whole and not any(run.is_wrong for run in self.runs)


def read_status(conn: Connection, settings: Settings, now: datetime) -> Status:
    """Freshness, the last batches, rules they broke, batches that were stopped or are unfinished."""
    of = t.batch.c
    batches = list(conn.execute(sa.select(t.batch).order_by(of.finished_at.desc()).limit(10)))
    stopped = open_stops(conn)
    ids = [row.batch_id for row in (*batches, *stopped)]
    result = t.validation_result.c
    broken = list(
        conn.execute(
            sa.select(t.validation_result)
            .where(result.batch_id.in_(ids), result.success.is_(False))
            .order_by(result.severity, result.rule)
        )
    )
    good = sa.select(t.batch).where(of.undone_at.is_(None), of.kind != UNDO)
    last = conn.execute(good.order_by(of.source == LISTS, of.finished_at.desc()).limit(1)).one_or_none()
    runs = last_runs(conn, settings, now)
    success = last_success(conn, FRESH_BY, now)
    goes_stale = any(run.flow in FRESH_BY and run.source != LISTS for run in runs)
    if last is not None and last.source != LISTS:
        goes_stale = True
        if success is None and last.finished_at <= now + CLOCKS_DIFFER_BY:
            success = last.finished_at  # before version 6 no run was noted
    swept = sweeps(conn)
    begun = sorted({entry.name.split(".")[0] for entry in settings.harvest.glob("*/")})
    here = releases_in(conn, settings.published)
    release = next(iter(here or _releases(conn)), None)  # a home that never published asks for them all
    return Status(
        last_batch=last,
        batches=batches,
        broken_rules=broken,
        stopped=[f"{row.batch_id}: {row.rule} is {row.observed}, limit {row.expected}" for row in stopped],
        open_quarantine=conn.scalar(
            sa.select(sa.func.count()).select_from(t.quarantine).where(t.quarantine.c.resolved_at.is_(None))
        )
        or 0,
        unfinished=[f"{row.source}/{row.landing_id}" for row in conn.execute(unfinished_landings())],
        fetching=[(name, name in swept) for name in begun],
        gaps=gaps_between({*swept, *stored_months(conn)}, now.strftime("%Y-%m")) if swept else [],
        unread=snapshot_left(conn),
        release=release,
        is_published=release is not None
        and not has_changed(conn, release.published_at)
        and not _is_left_behind(settings, here),
        is_located_anew=is_located_anew(conn),
        partial=int(read_definitions(conn).get(PARTIAL, 0)),
        undecided=read_undecided(conn),
        is_stale=goes_stale and (success is None or now - success > timedelta(hours=settings.stale_hours)),
        runs=runs,
        last_success=success,
        last_change=conn.scalar(sa.select(sa.func.max(of.finished_at)).where(of.new + of.updated + of.applied > 0)),
        undone=_still_out(conn),
    )


def _is_left_behind(settings: Settings, here: list[sa.Row[Any]]) -> bool:
    """Whether readers are led to a release that was withdrawn: `collab undo` was killed, or called in another home."""
    current = settings.published / "current"
    return current.exists() and (not here or current.resolve().name != here[0].release_id)


def _still_out(conn: Connection) -> list[sa.Row[Any]]:
    of = t.blocked.c
    counts = sa.select(of.batch_id, sa.func.count().label("versions")).group_by(of.batch_id).order_by(of.batch_id)
    return list(conn.execute(counts))


def _releases(conn: Connection) -> list[sa.Row[Any]]:
    of = t.release.c
    return list(
        conn.execute(sa.select(t.release).where(of.withdrawn_at.is_(None)).order_by(of.published_at.desc()).limit(2))
    )


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
    world, country, pair = t.world_year, t.country_year, t.pair_year
    corpora = list(conn.scalars(sa.select(world.c.corpus).distinct().order_by(world.c.corpus)))
    corpus = corpus or (CORPUS if CORPUS in corpora else next(iter(corpora), CORPUS))
    if corpus not in (CORPUS, *corpora):
        raise UsageError(f"no works of corpus {corpus!r}", "known: " + ", ".join(corpora))
    done = COMPLETENESS.c
    is_done = sa.and_(done.corpus == corpus, done.field == field, done.papers > 0, done.is_complete)
    has_works = sa.and_(world.c.corpus == corpus, world.c.field == field, world.c.papers > 0)
    complete = conn.scalar(sa.select(sa.func.max(done.year)).where(is_done))
    year = complete if complete is not None else conn.scalar(sa.select(sa.func.max(world.c.year)).where(has_works))

    def in_cell(mart: sa.Table) -> sa.ColumnElement[bool]:
        return sa.and_(
            mart.c.field == field, mart.c.year == year, mart.c.policy == POLICY_SHOWN, mart.c.corpus == corpus
        )

    releases = releases_in(conn, settings.published)
    if len(releases) < 2:  # the one before was removed already, or this home never published
        releases = _releases(conn)
    former = releases[1] if len(releases) > 1 else None
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
    current = settings.published / "current"
    return Report(
        batches=list(reversed(list(conn.execute(sa.select(t.batch).order_by(t.batch.c.finished_at.desc()).limit(20))))),
        corpus=corpus,
        year=year,
        field=field,
        world=conn.execute(sa.select(world).where(in_cell(world))).one_or_none(),
        coverage=list(
            conn.execute(
                sa.select(t.coverage_year)
                .where(
                    t.coverage_year.c.corpus == corpus,
                    t.coverage_year.c.field == field,
                    t.coverage_year.c.year == year,
                )
                .order_by(t.coverage_year.c.evidence != t.ALL_EVIDENCE, t.coverage_year.c.authors.desc())
            )
        ),
        pairs=list(
            conn.execute(
                sa.select(pair)
                .where(in_cell(pair))
                .order_by(pair.c.papers.desc(), pair.c.territory_a, pair.c.territory_b)
                .limit(10)
            )
        ),
        countries=list(
            conn.execute(
                sa.select(country)
                .where(in_cell(country), country.c.territory != "ZZ")
                .order_by(country.c.papers.desc(), country.c.territory)
                .limit(10)
            )
        ),
        changes=changes,
        changes_counted=counted,
        changed_since=f"release {former.release_id}" if former else "the beginning",
        release=current if current.exists() else None,
        is_complete=complete is not None,
    )
