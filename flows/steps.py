"""The order of a night, without Prefect: plan, land, parse and locate, validate, load, publish.

`flows/nightly.py` runs these steps as Prefect tasks; `directly` runs them as plain calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import date
from functools import cache, partial
from itertools import zip_longest
from typing import Any, Protocol, TypeVar

from flows.progress import Progress, progress_for_this_terminal
from flows.rerun import command_of
from schemas.errors import AccessRefused, BudgetExhausted, GateStopped, SourceError, UsageError
from schemas.settings import load_settings
from schemas.tables import COUNTS
from schemas.words import counted
from tasks.batches.batch import Batch, Outcome
from tasks.landing.harvest import ApiIntake
from tasks.landing.intake import Intake, Opening, SnapshotIntake, Window
from tasks.landing.land import DELETIONS, WORKS, Landing
from tasks.landing.list_intake import ListIntake
from tasks.night import Night
from tasks.reading.quarantine import SOURCE as QUARANTINE
from tasks.releases.publish import Release
from tasks.upkeep.runs import Begun, Record, recorded
from tasks.validation.validate import Result

T = TypeVar("T")
NIGHTLY, BACKFILL, RESCAN, RETRY = "nightly", "backfill", "rescan", "quarantine-retry"
MOST_FAILED_WINDOWS = 3  # in a row: then the source is down, and the rest of the night would be spent on waiting
SOURCES: dict[str, Callable[..., Intake]] = {
    intake.source: intake for intake in (SnapshotIntake, ApiIntake, ListIntake)
}


@dataclass(frozen=True)
class RunRequest:
    """What a run is asked to do: the flow, where works come from, and how far it goes."""

    flow: str = NIGHTLY
    source: str = SnapshotIntake.source
    snapshot: str | None = None
    """Root of a snapshot, instead of the one in the settings."""
    until: date | None = None
    """Newest partition date of a snapshot to take in."""
    venue_list: str | None = None
    """List of papers to bring, and the corpus that it belongs to, instead of those in the settings."""
    venue_corpus: str | None = None
    backfill: tuple[date, date] | None = None
    """First and last day of the months of the live API to fetch that were never seen."""
    rescan_days: int | None = None
    """Look at everything stored again that was not looked at in so many days."""

    def parameters(self) -> dict[str, Any]:
        """Parameters of the flow, as its form and its command name them."""
        if self.flow == RETRY:
            return {}
        if self.backfill:
            return {"first": self.backfill[0], "last": self.backfill[1]}
        found = {"source": self.source, "snapshot": self.snapshot}
        if self.flow == RESCAN:
            return {**found, "unseen_days": self.rescan_days}
        return {**found, "until": self.until, "venue_list": self.venue_list, "venue_corpus": self.venue_corpus}

    def opening(self) -> Opening:
        """How to open the source.

        Raises:
            UsageError: there is none of that name, or the dates belong to another.
        """
        if self.source not in SOURCES:
            raise UsageError(f"unknown source {self.source!r}", "known: " + ", ".join(SOURCES))
        if self.source == ApiIntake.source:
            if self.until:
                raise UsageError(
                    "--until belongs to a snapshot", "`collab backfill --from ... --to ...` fetches past dates"
                )
            return partial(ApiIntake, backfill=self.backfill, rescan_days=self.rescan_days)
        if self.source == ListIntake.source and self.until:
            raise UsageError("--until belongs to a snapshot", "a list is brought whole")
        if self.backfill:
            raise UsageError(
                f"source {self.source} has no past dates to be asked for", f"source {ApiIntake.source} has"
            )
        if self.source == ListIntake.source:
            return ListIntake
        return partial(SnapshotIntake, until=self.until, is_rescan=self.rescan_days is not None)


@dataclass
class Summary:
    """What a night did: committed batches, what the rules saw by batch (also of one that was stopped), release."""

    outcomes: list[Outcome] = field(default_factory=list)
    results: dict[str, list[Result]] = field(default_factory=dict)
    release: Release | None = None
    failed: dict[str, SourceError] = field(default_factory=dict)
    """Windows that could not be fetched; the others are loaded."""
    stopped: list[GateStopped] = field(default_factory=list)
    """Gates that stopped a window; the others are loaded."""
    budget: BudgetExhausted | None = None
    """Why fetching ended early; what was fetched is kept."""
    cost: str = ""

    def line(self) -> str:
        """What was done, in one line."""
        published = f"release {self.release.release_id}" if self.release else "no cell changed, so no new release"
        batches = counted(len(self.outcomes), "batch", "batches")
        return ", ".join(part for part in (batches, published, self.cost) if part)

    def causes(self) -> str:
        """Why windows failed, each cause once with the windows it kept away."""
        by_cause: dict[str, list[str]] = {}
        for name, exc in self.failed.items():
            by_cause.setdefault(exc.message, []).append(name)
        return "; ".join(f"{', '.join(names)}: {cause}" for cause, names in by_cause.items())


class Step(Protocol):
    """Runs one step of the night: `name` says what, `about` on what."""

    def __call__(self, name: str, about: str, call: Callable[..., T], *args: Any, retries: int = 0) -> T:
        """Run `call` with `args` and return what it returns."""


Steps = Callable[[Night, Step, Progress, Summary], None]


def run_night(night: Night, step: Step, progress: Progress, summary: Summary) -> None:
    """Every step of a night, in order; what was done so far is in `summary`, also when a step fails.

    A batch that fails ends the night: the batches before it are committed and count, the next run goes on from there.
    Where windows stand alone, one that cannot be fetched is left out, the others are loaded and published, and the
    night fails at its end; so it does when the source's budget is used up.
    """
    windows = step("plan", "", night.plan)
    if night.intake.windows_stand_alone:
        deletions, untried = _each_alone(night, windows, step, progress, summary)
    else:
        deletions, untried = _land(DELETIONS, night, step, progress, summary), []
        _in_order(night, windows, step, progress, summary)
    if deletions is not None:
        _take_in_alone(night, deletions, step, progress, summary)
    summary.release = step("publish", "", night.publish)
    summary.cost = night.intake.describe()
    _raise_what_failed(summary, len(windows), untried)


def _each_alone(
    night: Night, windows: Sequence[Window], step: Step, progress: Progress, summary: Summary
) -> tuple[Landing | None, list[str]]:
    """Take in windows of which each counts without the others; returns the landing of what was deleted, which is asked
    for last (what is listed tonight has not vanished), and the windows that were not tried."""
    progress.start(sum(window.records for window in windows))
    in_a_row = 0
    left = list(windows)
    while left and not summary.budget:
        window = left.pop(0)
        progress.fetching(window.name, len(windows) - len(left), len(windows), window.why)
        landing = _land(window.name, night, step, progress, summary, window)
        in_a_row = 0 if landing else in_a_row + 1
        if landing is not None:
            _take_in_alone(night, landing, step, progress, summary)
        if in_a_row >= MOST_FAILED_WINDOWS and not night.intake.is_there():
            return None, [window.name for window in left]
    deletions = _land(DELETIONS, night, step, progress, summary)
    return deletions, [window.name for window in left]


def _in_order(night: Night, windows: Sequence[Window], step: Step, progress: Progress, summary: Summary) -> None:
    """Take in windows that build on each other; the first that fails ends the night.

    The next one is landed before the last batch of one is loaded, so that its first batch can be parsed meanwhile: most
    windows of a snapshot are a single batch.
    """
    progress.start(sum(window.records for window in windows))

    @cache
    def landing(at: int) -> Future[Landing]:
        return _tried(step, "land", windows[at].name, night.land_works, windows[at], retries=night.intake.retries)

    def first_batch_after(at: int) -> Batch | None:
        following = at + 1
        if not night.derives_ahead or following == len(windows) or landing(following).exception():
            return None  # an error is for when its turn comes
        return next(iter(night.batches_left(landing(following).result())), None)

    for at in range(len(windows)):
        _take_in(night, landing(at).result(), step, progress, summary, partial(first_batch_after, at))


def _tried(step: Step, name: str, about: str, call: Callable[..., T], *args: Any, retries: int) -> Future[T]:
    """Run a step now and keep its result or error for later."""
    future: Future[T] = Future()
    try:
        future.set_result(step(name, about, call, *args, retries=retries))
    except Exception as exc:
        future.set_exception(exc)
    return future


def _raise_what_failed(summary: Summary, windows: int, untried: list[str]) -> None:
    """End a run red whose windows were not all taken in, after those that were are published.

    A gate is what somebody must look at, so it comes first; the error names all else that is missing behind it.
    """
    unfetched = _unfetched(summary, windows, untried)
    if summary.stopped:
        first, *others = summary.stopped
        rest = [*(stop.message for stop in others), unfetched, summary.budget.message if summary.budget else ""]
        message = "; ".join(filter(None, [first.message, *rest]))
        raise GateStopped(message, first.hint, first.batch_id, first.findings)
    if unfetched:
        raise SourceError(unfetched, "what came is loaded and published; run again for the rest")
    if summary.budget:
        raise summary.budget


def _unfetched(summary: Summary, windows: int, untried: list[str]) -> str:
    """How many windows could not be fetched, which and why, and which were not tried; empty if none failed."""
    if not summary.failed:
        return ""
    missing = sum(name != DELETIONS for name in summary.failed)
    what = f"{missing} of {windows} windows" if missing else "the works that were missed"
    rest = f"; not tried: {', '.join(untried)}" if untried else ""
    return f"{what} could not be fetched: {summary.causes()}{rest}"


def _land(
    name: str, night: Night, step: Step, progress: Progress, summary: Summary, window: Window | None = None
) -> Landing | None:
    """Land a window, or the deletions; None where windows stand alone and this one could not be fetched."""
    call, arguments = (night.land_works, [window]) if window else (night.land_deletions, [])
    try:
        return step("land", name, call, *arguments, retries=night.intake.retries)
    except BudgetExhausted as exc:
        summary.budget = exc
    except AccessRefused:
        raise
    except SourceError as exc:
        if not night.intake.windows_stand_alone:
            raise
        progress.say(f"{name}: {exc}")
        summary.failed[name] = exc
    return None


def _take_in_alone(night: Night, landing: Landing, step: Step, progress: Progress, summary: Summary) -> None:
    """Take in a landing; where windows stand alone, one that a gate stops leaves the others loadable."""
    try:
        _take_in(night, landing, step, progress, summary)
    except GateStopped as stop:
        if not night.intake.windows_stand_alone:
            raise
        progress.say(str(stop))
        summary.results[stop.batch_id] = list(stop.findings)
        summary.stopped.append(stop)


def run_retry(night: Night, step: Step, progress: Progress, summary: Summary) -> None:
    """Process the open records of the quarantine again."""
    landed = [step("land", f"quarantined {kind}", night.land_quarantine, kind) for kind in (WORKS, DELETIONS)]
    landings = [landing for landing in landed if landing is not None]
    progress.start(sum(landing.records for landing in landings))
    for landing in landings:
        _take_in(night, landing, step, progress, summary)
    if landings:
        summary.release = step("publish", "", night.publish)


def _take_in(
    night: Night,
    landing: Landing,
    step: Step,
    progress: Progress,
    summary: Summary,
    first_after: Callable[[], Batch | None] = lambda: None,
) -> None:
    """Take in a landing; `first_after` brings the batch that follows its last one, if there is any."""
    is_left = True
    while is_left:
        is_left = not _take_in_batches(night, night.batches_left(landing), step, progress, summary, first_after)


def _take_in_batches(
    night: Night,
    batches: list[Batch],
    step: Step,
    progress: Progress,
    summary: Summary,
    first_after: Callable[[], Batch | None],
) -> bool:
    """Whether the landing was seen to its end; another run beside this one may cut it into other batches."""
    for batch, next_one in zip_longest(batches, batches[1:]):
        following = next_one or first_after()
        is_part = batch.end - batch.first < batch.landing.records
        about = f"{batch.landing.window}, {batch.first:,} to {batch.end:,}" if is_part else batch.landing.window
        if batch.landing.records:
            progress.say(f"{about}: {batch.end - batch.first:,} of {batch.landing.records:,} records")
        folder = step("parse and locate", batch.batch_id, night.derive, batch, following)
        report = step("validate", batch.batch_id, night.validate, folder)
        outcome = step("load", batch.batch_id, night.load, batch, folder, report)
        if outcome is None:
            return False
        progress.say(f"{about}: {describe_counts(outcome.row)}")
        summary.outcomes.append(outcome)
        summary.results[batch.batch_id] = outcome.results
    return True


def describe_counts(row: dict[str, Any]) -> str:
    """Counts of a batch in one line, zeros left out."""
    return ", ".join(f"{row[name]:,} {name.replace('_', ' ')}" for name in COUNTS if row[name]) or "nothing changed"


def directly(name: str, about: str, call: Callable[..., T], *args: Any, retries: int = 0) -> T:
    """Run a step without Prefect."""
    del name, about, retries
    return call(*args)


def with_night(
    steps: Steps,
    step: Step,
    asked: RunRequest,
    *,
    show: Callable[[Summary], None] = lambda _: None,
    watcher: Progress | None = None,
    flow_run: str | None = None,
) -> str:
    """Open a night, run its steps, note in ops.run how it ended, and return one line about it.

    Args:
        show: told what the night did when it ends, well or not.
        watcher: told how far it is, beside the terminal.
        flow_run: id of the flow run in Prefect.
    """
    settings = load_settings(snapshot=asked.snapshot, venue_list=asked.venue_list, venue_corpus=asked.venue_corpus)
    opening = asked.opening()
    summary = Summary()
    command = command_of(asked.flow, asked.parameters()) or "collab run"
    begun = Begun(asked.flow, QUARANTINE if asked.flow == RETRY else asked.source, command, flow_run)
    with (
        progress_for_this_terminal(watcher) as progress,
        Night(settings, opening, on_records=progress.advance) as night,
        recorded(night.warehouse, begun, night.folder) as record,
    ):
        night.run_id, night.command = record.run_id, begun.command
        try:
            steps(night, _noting(step, record), progress, summary)
        except GateStopped as stop:
            summary.results[stop.batch_id] = list(stop.findings)
            raise
        finally:
            record.batches = len(summary.outcomes)
            show(summary)
    if asked.flow == RESCAN and not summary.outcomes:
        return _all_was_seen(asked.source, asked.rescan_days)
    return summary.line()


def _all_was_seen(source: str, days: int | None) -> str:
    """What a rescan says that found nothing to look at."""
    if source == ApiIntake.source:
        return f"nothing to do: every stored month was looked at in the last {days} days"
    return "nothing to do: every part is loaded as the manifest describes it"


def _noting(step: Step, record: Record) -> Step:
    """Runs steps as `step` does, and notes the one that failed."""

    def run(name: str, about: str, call: Callable[..., T], *args: Any, retries: int = 0) -> T:
        try:
            return step(name, about, call, *args, retries=retries)
        except BaseException:
            record.step = f"{name} {about}".strip()
            raise

    return run
