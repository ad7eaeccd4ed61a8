"""One night, in order. This is what the schedule runs, and what `collab run` calls.

plan -> land -> parse and locate -> validate -> load (one transaction a batch) -> publish
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Protocol, TypeVar

from schemas.settings import load_settings  # first: switches telemetry off before Prefect is imported

# isort: split
from prefect import flow, runtime, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from flows.progress import Progress, progress_for_this_terminal
from schemas.errors import GateStopped, SourceUnavailable
from tasks.batch import Outcome
from tasks.land import Landing
from tasks.night import Night
from tasks.publish import Release
from tasks.validate import Result

T = TypeVar("T")
LONGEST_NIGHT_SECONDS = 20 * 3600


@dataclass
class Summary:
    """What a night did."""

    outcomes: list[Outcome] = field(default_factory=list)
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
    progress.start(sum(window.records for window in windows))
    for window in windows:
        _take_in(night, step("land", window.name, night.land_works, window, retries=3), step, progress, summary)
    deletions = step("land", "deletions", night.land_deletions, retries=3)
    if deletions is not None:
        _take_in(night, deletions, step, progress, summary)
    summary.release = step("publish", "", night.publish)


def run_retry(night: Night, step: Step, progress: Progress, summary: Summary) -> None:
    """Send the open records of the quarantine the way of every record again."""
    landing = step("land", "quarantine", night.land_quarantine)
    if landing is not None:
        progress.start(landing.records)
        _take_in(night, landing, step, progress, summary)
        summary.release = step("publish", "", night.publish)


def _take_in(night: Night, landing: Landing, step: Step, progress: Progress, summary: Summary) -> None:
    for batch in night.batches(landing):
        progress.say(f"{batch.batch_id}: {batch.end - batch.first:,} records")
        folder = step("parse and locate", batch.batch_id, night.derive, batch)
        report = step("validate", batch.batch_id, night.validate, folder)
        outcome = step("load", batch.batch_id, night.load, batch, folder, report)
        progress.say(f"{batch.batch_id}: {describe_counts(outcome.row)}")
        summary.outcomes.append(outcome)


def describe_counts(row: dict[str, Any]) -> str:
    """Counts of a batch in one line, zeros left out."""
    names = (
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
    return ", ".join(f"{row[name]:,} {name.replace('_', ' ')}" for name in names if row[name])


def directly(name: str, about: str, call: Callable[..., T], *args: Any, retries: int = 0) -> T:
    """Run a step without Prefect."""
    del name, about, retries
    return call(*args)


def as_task(name: str, about: str, call: Callable[..., T], *args: Any, retries: int = 0) -> T:
    """Run a step as a Prefect task named after it.

    Only steps that fetch are retried, and only when the source did not answer.
    """

    def run() -> T:
        return call(*args)

    wrapped: Callable[[], T] = task(
        name=name,
        task_run_name=f"{name} {about}".strip(),
        retries=retries,
        retry_delay_seconds=exponential_backoff(2),
        retry_jitter_factor=0.5,
        retry_condition_fn=_is_unavailable,
        cache_policy=NO_CACHE,
        persist_result=False,
    )(run)
    return wrapped()


def _is_unavailable(task: Any, task_run: Any, state: Any) -> bool:
    del task, task_run
    return isinstance(state.result(raise_on_failure=False), SourceUnavailable)


def _run_name() -> str:
    started = runtime.flow_run.scheduled_start_time or datetime.now(UTC)
    source = runtime.flow_run.parameters.get("source", "")
    return f"{runtime.flow_run.flow_name} {started.astimezone(UTC):%Y-%m-%d} {source}".strip()


@flow(name="nightly", flow_run_name=_run_name, timeout_seconds=LONGEST_NIGHT_SECONDS, persist_result=False)
def nightly(source: str = "openalex-snapshot", snapshot: str | None = None, until: date | None = None) -> str:
    """Take in what is new at the source and publish it. Safe to run again at any time.

    Args:
        source: where works come from; openalex-snapshot.
        snapshot: root of the snapshot: folder, s3://bucket or https://; default COLLAB_SNAPSHOT.
        until: newest partition date to take in; default all.
    """
    del source  # one so far; named in the run so that later ones read the same
    return with_night(run_night, as_task, snapshot=snapshot, until=until)


@flow(name="quarantine-retry", flow_run_name=_run_name, timeout_seconds=LONGEST_NIGHT_SECONDS, persist_result=False)
def quarantine_retry() -> str:
    """Send the open records of the quarantine the way of every record again, after a fix."""
    return with_night(run_retry, as_task)


def with_night(
    steps: Callable[[Night, Step, Progress, Summary], None],
    step: Step,
    *,
    snapshot: str | None = None,
    until: date | None = None,
) -> str:
    """Open a night, run its steps, show the artifacts if Prefect runs them, and return one line about it."""
    settings = load_settings(snapshot=snapshot)
    summary = Summary()
    with progress_for_this_terminal() as progress, Night(settings, until=until, on_records=progress.advance) as night:
        try:
            steps(night, step, progress, summary)
        except GateStopped as stop:
            if step is as_task:
                _show_gates(list(stop.findings))
            raise
        finally:
            if step is as_task:
                _show_counts(summary)
        if step is as_task and summary.outcomes:
            _show_gates(summary.outcomes[-1].results)
    published = f"release {summary.release.release_id}" if summary.release else "nothing to publish"
    return f"{len(summary.outcomes)} {'batch' if len(summary.outcomes) == 1 else 'batches'}, {published}"


def _show_counts(summary: Summary) -> None:
    rows = [outcome.row for outcome in summary.outcomes]
    names = (
        "batch_id",
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
    table = [{name: row[name] for name in names} for row in rows[-100:]] or [{"batch_id": "none", "fetched": 0}]
    create_table_artifact(
        table,
        key="batch-counts",
        description="fetched = new + updated + unchanged + superseded + out_of_scope + quarantined",
    )


def _show_gates(results: list[Result]) -> None:
    order = {False: 0, None: 1, True: 2}
    shown = [
        {
            "rule": result.rule,
            "severity": result.severity,
            "result": {True: "holds", False: "BROKEN", None: "not evaluated"}[result.success],
            "observed": result.observed,
            "limit": result.expected,
            "sample": result.sample or "",
        }
        for result in sorted(results, key=lambda r: order[r.success])
    ]
    create_table_artifact(
        shown or [{"rule": "none"}], key="gates", description="rules of the last batch, broken ones first"
    )
