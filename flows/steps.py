"""The order of a night, without Prefect: plan, land, parse and locate, validate, load, publish.

`flows/nightly.py` runs these steps as Prefect tasks; `directly` runs them as plain calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from itertools import zip_longest
from typing import Any, Protocol, TypeVar

from flows.progress import Progress, progress_for_this_terminal
from schemas.errors import GateStopped
from schemas.settings import load_settings
from tasks.batch import Batch, Outcome
from tasks.land import Landing
from tasks.night import Night
from tasks.publish import Release
from tasks.validate import Result

T = TypeVar("T")


COUNTS = (
    "fetched",
    "new",
    "updated",
    "unchanged",
    "superseded",
    "out_of_scope",
    "quarantined",
    "listed",
    "applied",
    "absent",
)


@dataclass
class Summary:
    """What a night did: committed batches, what the rules saw by batch (also of one that was stopped), release."""

    outcomes: list[Outcome] = field(default_factory=list)
    results: dict[str, list[Result]] = field(default_factory=dict)
    release: Release | None = None


class Step(Protocol):
    """Runs one step of the night: `name` says what, `about` on what."""

    def __call__(self, name: str, about: str, call: Callable[..., T], *args: Any, retries: int = 0) -> T:
        """Run `call` with `args` and return what it returns."""


def run_night(night: Night, step: Step, progress: Progress, summary: Summary) -> None:
    """Every step of a night, in order; what was done so far is in `summary`, also when a step fails.

    A batch that fails ends the night: the batches before it are committed and count, the next run goes on from there.
    """
    windows = step("plan", "", night.plan)
    deletions = step("land", "deletions", night.land_deletions, retries=3)
    progress.start(sum(window.records for window in windows))
    for window in windows:
        _take_in(night, step("land", window.name, night.land_works, window, retries=3), step, progress, summary)
    if deletions is not None:
        _take_in(night, deletions, step, progress, summary)
    summary.release = step("publish", "", night.publish)


def run_retry(night: Night, step: Step, progress: Progress, summary: Summary) -> None:
    """Process the open records of the quarantine again."""
    landing = step("land", "quarantine", night.land_quarantine)
    if landing is not None:
        progress.start(landing.records)
        _take_in(night, landing, step, progress, summary)
        summary.release = step("publish", "", night.publish)


def _take_in(night: Night, landing: Landing, step: Step, progress: Progress, summary: Summary) -> None:
    is_left = True
    while is_left:
        is_left = not _take_in_batches(night, night.batches(landing), step, progress, summary)


def _take_in_batches(night: Night, batches: list[Batch], step: Step, progress: Progress, summary: Summary) -> bool:
    """Whether the landing was seen to its end; another run beside this one may cut it into other batches."""
    for batch, following in zip_longest(batches, batches[1:]):
        progress.say(f"{batch.batch_id}: {batch.first:,} to {batch.end:,} of {batch.landing.records:,} records")
        folder = step("parse and locate", batch.batch_id, night.derive, batch, following)
        report = step("validate", batch.batch_id, night.validate, folder)
        outcome = step("load", batch.batch_id, night.load, batch, folder, report)
        if outcome is None:
            return False
        progress.say(f"{batch.batch_id}: {describe_counts(outcome.row)}")
        summary.outcomes.append(outcome)
        summary.results[batch.batch_id] = outcome.results
    return True


def describe_counts(row: dict[str, Any]) -> str:
    """Counts of a batch in one line, zeros left out."""
    return ", ".join(f"{row[name]:,} {name.replace('_', ' ')}" for name in COUNTS if row[name])


def directly(name: str, about: str, call: Callable[..., T], *args: Any, retries: int = 0) -> T:
    """Run a step without Prefect."""
    del name, about, retries
    return call(*args)


def with_night(
    steps: Callable[[Night, Step, Progress, Summary], None],
    step: Step,
    *,
    show: Callable[[Summary], None] = lambda _: None,
    snapshot: str | None = None,
    until: date | None = None,
) -> str:
    """Open a night, run its steps, and return one line about it.

    Args:
        show: told what the night did when it ends, well or not.
    """
    settings = load_settings(snapshot=snapshot)
    summary = Summary()
    with progress_for_this_terminal() as progress, Night(settings, until=until, on_records=progress.advance) as night:
        try:
            steps(night, step, progress, summary)
        except GateStopped as stop:
            summary.results[stop.batch_id] = list(stop.findings)
            raise
        finally:
            show(summary)
    published = f"release {summary.release.release_id}" if summary.release else "no cell changed, so no new release"
    return f"{len(summary.outcomes)} {'batch' if len(summary.outcomes) == 1 else 'batches'}, {published}"
