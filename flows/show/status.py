"""Draws the state of a warehouse: what is wrong, in the order in which to act, each with the command that goes on."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.console import Console

from flows.harmless import safe
from flows.show import tables as show
from flows.steps import BACKFILL
from schemas.settings import Settings
from schemas.words import counted
from tasks.sources.openalex_api import SOURCE, bounds_of
from tasks.sources.openalex_snapshot import SOURCE as SNAPSHOT
from tasks.sources.venue_list import SOURCE as LISTS
from tasks.upkeep.runs import BUDGET, COMPLETED, FAILED, INTERRUPTED, KILLED, RUNNING, Run
from tasks.upkeep.status import FRESH_BY, Status

LONGEST_LINE = 3_000


def status(console: Console, found: Status, settings: Settings) -> None:
    """State for a maintainer: what the last batches did, then what is wrong and the command that goes on, in the order
    in which to act."""
    if found.last_batch is None and not found.runs:
        console.print("Nothing has been loaded yet: `collab run`", style="bold red")
        return
    show.batches(console, list(reversed(found.batches)), are_named=True)
    if found.broken_rules:
        rows = [
            (row.rule, row.severity, show.end_of_id(row.batch_id), row.observed, row.expected, row.sample)
            for row in found.broken_rules
        ]
        show.table(
            console,
            "Rules broken in these batches, and in those that were stopped",
            ("rule", "severity", "batch", "observed", "expected", "sample"),
            rows,
            text_columns=6,
        )
    for line in _red(found, settings):
        console.print(safe(line, LONGEST_LINE), style="bold red", markup=False, soft_wrap=True)
    for line in _yellow(found):
        console.print(safe(line, LONGEST_LINE), style="yellow", markup=False, soft_wrap=True)
    for line in _plain(found, settings):
        console.print(safe(line, LONGEST_LINE), markup=False, highlight=False, soft_wrap=True)


def _command_that_goes_on(found: Status, of: str = "") -> str:
    """Of the newest run on the source of a batch or landing, whose id begins with it; without one, of the newest that
    brings works, lists left aside. Before version 6 no run was noted."""
    source = of.split("/", maxsplit=1)[0]
    for run in found.runs:
        if run.source == source or (not source and run.flow in FRESH_BY and run.source != LISTS):
            return f"`{run.command}`"
    is_live = found.last_batch is not None and found.last_batch.source == SOURCE
    return f"`collab run --source {SOURCE}`" if is_live else "`collab run`"


def _red(found: Status, settings: Settings) -> Iterator[str]:
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
        yield f"OLDER DEFINITIONS in {show.undecided_line(one, found.partial)}"
    if not found.is_published:
        yield "UNPUBLISHED: the newest release lacks what was counted since; `collab publish`"
    if found.is_stale:
        last = f"{found.last_success:%Y-%m-%d %H:%M} UTC" if found.last_success else "never"
        yield (
            f"STALE: no run came to its end within {settings.stale_hours} hours (last: {last});"
            f" {_command_that_goes_on(found)}"
        )


def _began(run: Run) -> str:
    return f"{run.flow} on {run.source} of {run.started_at:%Y-%m-%d %H:%M} UTC"


def _step(run: Run) -> str:
    """The step that failed, without the batch where the message names it."""
    step, message = run.step or "none", run.message or ""
    return " ".join(word for word in step.split() if "/" not in word or word not in message)


def _unless_said(run: Run) -> str:
    return "" if f"`{run.command}`" in (run.message or "") else f"; goes on with `{run.command}`"


def _yellow(found: Status) -> Iterator[str]:
    """What somebody should know and can wait."""
    for run in found.runs:
        if run.state == RUNNING:
            yield f"RUNNING {run.flow} on {run.source} since {run.started_at:%Y-%m-%d %H:%M} UTC on {run.host}"
        elif run.state == BUDGET:
            yield f"OVER BUDGET {_began(run)}: {run.message}; `{run.command}`"
    if found.unread:
        whole = re.sub(r" --until [\d-]+", "", _command_that_goes_on(found, SNAPSHOT))
        records = counted(found.unread, "record")
        yield f"NOT READ: {records} of the snapshot, of works of any year: none is complete; {whole}"
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


def _plain(found: Status, settings: Settings) -> Iterator[str]:
    if found.last_batch is not None:
        never = "" if settings.undo_days else "; COLLAB_UNDO_DAYS is 0: it cannot be undone"
        yield f"last good batch {found.last_batch.batch_id} at {found.last_batch.finished_at:%Y-%m-%d %H:%M} UTC{never}"
    if found.last_success:
        brought = f"; works last changed {found.last_change:%Y-%m-%d %H:%M} UTC" if found.last_change else ""
        yield f"last run that came to its end: {found.last_success:%Y-%m-%d %H:%M} UTC{brought}"
    release = found.release.release_id if found.release else "none"
    yield f"release {release}; {counted(found.open_quarantine, 'open record')} in quarantine"
    if found.is_good:
        yield "GOOD: what is said above can wait" if any(_yellow(found)) else "GOOD: nothing to do"
    else:
        yield "RED: see above; each line names the command that goes on"
