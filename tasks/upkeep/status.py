"""How a warehouse is: how fresh, what its last batches did, what is wrong with it and who has to act."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from schemas import tables as t
from schemas.settings import Settings
from tasks.countries.registry import is_located_anew
from tasks.landing.sightings import stored_months, sweeps
from tasks.landing.undecided import Undecided, read_undecided
from tasks.loading.ledger import UNDO, has_changed, releases_in, standing_releases, unfinished_landings
from tasks.reading.quarantine import count_open
from tasks.sources.openalex_api import gaps_between
from tasks.sources.venue_list import SOURCE as LISTS
from tasks.storage.definitions import PARTIAL, read_definitions
from tasks.upkeep.runs import CLOCKS_DIFFER_BY, Run, last_runs, last_success
from tasks.upkeep.stops import open_stops
from tasks.validation.volume import snapshot_left

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
        """Whether nothing waits for a maintainer."""
        is_fresh = self.last_batch is not None and not self.is_stale and self.is_published
        is_whole = not self.stopped and not self.unfinished and not self.undecided
        return is_fresh and is_whole and not any(run.is_wrong for run in self.runs)


def read_status(conn: Connection, settings: Settings, now: datetime) -> Status:
    """Freshness, the last batches, rules they broke, batches that were stopped or are unfinished.

    Args:
        now: UTC.
    """
    of = t.batch.c
    batches = list(conn.execute(sa.select(t.batch).order_by(of.finished_at.desc()).limit(10)))
    stopped = open_stops(conn)
    good = sa.select(t.batch).where(of.undone_at.is_(None), of.kind != UNDO)
    last = conn.execute(good.order_by(of.source == LISTS, of.finished_at.desc()).limit(1)).one_or_none()
    runs = last_runs(conn, settings, now)
    success, goes_stale = _freshness(conn, runs, last, now)
    swept = sweeps(conn)
    begun = sorted({entry.name.split(".")[0] for entry in settings.harvest.glob("*/")})
    here = releases_in(conn, settings.published)
    release = next(iter(here or standing_releases(conn)), None)  # a home that never published asks for them all
    return Status(
        last_batch=last,
        batches=batches,
        broken_rules=_broken_rules(conn, [row.batch_id for row in (*batches, *stopped)]),
        stopped=[f"{row.batch_id}: {row.rule} is {row.observed}, limit {row.expected}" for row in stopped],
        open_quarantine=count_open(conn),
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


def _freshness(
    conn: Connection, runs: list[Run], last: sa.Row[Any] | None, now: datetime
) -> tuple[datetime | None, bool]:
    """When a run that brings works last came to its end, and whether the warehouse goes stale without one."""
    success = last_success(conn, FRESH_BY, now)
    if last is None or last.source == LISTS:
        return success, any(run.flow in FRESH_BY and run.source != LISTS for run in runs)
    if success is None and last.finished_at <= now + CLOCKS_DIFFER_BY:
        success = last.finished_at  # before version 6 no run was noted
    return success, True


def _broken_rules(conn: Connection, batch_ids: list[str]) -> list[sa.Row[Any]]:
    of = t.validation_result.c
    broken = sa.select(t.validation_result).where(of.batch_id.in_(batch_ids), of.success.is_(False))
    return list(conn.execute(broken.order_by(of.severity, of.rule)))


def _is_left_behind(settings: Settings, here: list[sa.Row[Any]]) -> bool:
    """Whether readers are led to a release that was withdrawn: `collab undo` was killed, or called in another home."""
    current = settings.published / "current"
    return current.exists() and (not here or current.resolve().name != here[0].release_id)


def _still_out(conn: Connection) -> list[sa.Row[Any]]:
    of = t.blocked.c
    counts = sa.select(of.batch_id, sa.func.count().label("versions")).group_by(of.batch_id).order_by(of.batch_id)
    return list(conn.execute(counts))
