"""What `collab status` says of a warehouse, line by line: what is wrong and the command that goes on, what can wait,
how things stand."""

from __future__ import annotations

import re
from collections.abc import Iterator

from flows.steps import BACKFILL
from schemas.settings import Settings
from tasks.report import FRESH_BY, Status
from tasks.runs import BUDGET, COMPLETED, FAILED, INTERRUPTED, KILLED, RUNNING, Run
from tasks.sources.openalex_api import SOURCE, bounds_of
from tasks.sources.openalex_snapshot import SOURCE as SNAPSHOT
from tasks.sources.venue_list import SOURCE as LISTS
from tasks.undecided import Undecided


def _command_that_goes_on(found: Status, of: str = "") -> str:
    """Of the newest run on the source of a batch or landing, whose id begins with it; without one, of the newest that
    brings works, lists left aside. Before version 6 no run was noted."""
    source = of.split("/", maxsplit=1)[0]
    for run in found.runs:
        if run.source == source or (not source and run.flow in FRESH_BY and run.source != LISTS):
            return f"`{run.command}`"
    is_live = found.last_batch is not None and found.last_batch.source == SOURCE
    return f"`collab run --source {SOURCE}`" if is_live else "`collab run`"


def red(found: Status, settings: Settings) -> Iterator[str]:
    """What makes the exit code 1."""
    for run in found.runs:
        began = _began(run)
        if run.state == KILLED:
            yield f"KILLED {began} on {run.host}: it never came to its end; what was committed stays; `{run.command}`"
        elif run.state == INTERRUPTED:
            yield f"INTERRUPTED {began}, in step {run.step or 'none'}; what was committed stays; `{run.command}`"
        elif run.state == FAILED:
            yield f"FAILED {began}, in step {_step(run)}: {run.message}{_unless_said(run)}"
    if found.last_batch is None and found.batches:
        yield "EMPTY: every batch was undone; `collab undo BATCH --release` lets the versions of one in again"
    for line in found.stopped:
        again = _command_that_goes_on(found, line)
        yield f"STOPPED {line}; the rules above say which records; mend the cause or the limit, then {again}"
    for landing in found.unfinished:
        yield f"UNFINISHED {landing}; {_command_that_goes_on(found, landing)} goes on from there"
    for one in found.undecided:
        yield f"OLDER DEFINITIONS in {undecided(one, found.partial)}"
    if not found.is_published:
        yield "UNPUBLISHED: the newest release lacks what was counted since; `collab publish`"
    if found.is_stale:
        last = f"{found.last_success:%Y-%m-%d %H:%M} UTC" if found.last_success else "never"
        yield (
            f"STALE: no run came to its end within {settings.stale_hours} hours (last: {last});"
            f" {_command_that_goes_on(found)}"
        )


def undecided(one: Undecided, partial: int) -> str:
    """What is left of a corpus that the definitions in force did not decide whole."""
    return (
        f"{one.corpus}: the records loaded before {one.since:%Y-%m-%d %H:%M} UTC were not all on disk any more when"
        f" definitions changed; at most {partial:,} works keep older fields and mentions, and works that are admitted"
        f" now may be missing; `{one.command}` reads {one.left or 'them'} again"
    )


def _began(run: Run) -> str:
    return f"{run.flow} on {run.source} of {run.started_at:%Y-%m-%d %H:%M} UTC"


def _step(run: Run) -> str:
    """The step that failed, without the batch where the message names it."""
    step, message = run.step or "none", run.message or ""
    return " ".join(word for word in step.split() if "/" not in word or word not in message)


def _unless_said(run: Run) -> str:
    return "" if f"`{run.command}`" in (run.message or "") else f"; goes on with `{run.command}`"


def yellow(found: Status) -> Iterator[str]:
    """What somebody should know and can wait."""
    for run in found.runs:
        if run.state == RUNNING:
            yield f"RUNNING {run.flow} on {run.source} since {run.started_at:%Y-%m-%d %H:%M} UTC on {run.host}"
        elif run.state == BUDGET:
            yield f"OVER BUDGET {_began(run)}: {run.message}; `{run.command}`"
    if found.unread:
        whole = re.sub(r" --until [\d-]+", "", _command_that_goes_on(found, SNAPSHOT))
        yield f"NOT READ: {found.unread:,} records of the snapshot, of works of any year: none is complete; {whole}"
    ended_early = {run.flow: run.command for run in found.runs if run.state not in (COMPLETED, RUNNING)}
    for window, was_seen in found.fetching:
        is_new = window[:1].isdigit() and not was_seen
        # Its first day for both ends: its last one may be in the future.
        alone = f"collab backfill --from {window}-01 --to {window}-01"
        how = ended_early.get(BACKFILL, alone) if is_new else f"collab run --source {SOURCE}"
        yield f"PARTLY FETCHED {window}; the next night or `{how}` goes on from there"
    for first, last in found.gaps:
        yield f"NEVER FETCHED {first} to {last}; `collab backfill --from {first}-01 --to {bounds_of(last)[1]}`"
    if not found.is_located_anew:
        yield "OLDER RULES: stored works were decided by other rules, corrections or ROR; `collab relocate`"
    for row in found.undone:
        yield f"UNDONE {row.batch_id}: {row.versions:,} versions stay out; `collab undo {row.batch_id} --release`"


def plain(found: Status, settings: Settings) -> Iterator[str]:
    """How things stand, and whether anybody has to act."""
    if found.last_batch is not None:
        never = "" if settings.undo_days else "; COLLAB_UNDO_DAYS is 0: it cannot be undone"
        yield f"last good batch {found.last_batch.batch_id} at {found.last_batch.finished_at:%Y-%m-%d %H:%M} UTC{never}"
    if found.last_success:
        brought = f"; works last changed {found.last_change:%Y-%m-%d %H:%M} UTC" if found.last_change else ""
        yield f"last run that came to its end: {found.last_success:%Y-%m-%d %H:%M} UTC{brought}"
    release = found.release.release_id if found.release else "none"
    yield f"release {release}; {found.open_quarantine} open records in quarantine"
    if found.is_good:
        yield "GOOD: what is said above can wait" if any(yellow(found)) else "GOOD: nothing to do"
    else:
        yield "RED: see above; each line names the command that goes on"
