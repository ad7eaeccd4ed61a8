"""Draws the page of a run in the Prefect UI. What it says is in `flows/orchestration/page.py`.

A page that cannot be drawn, because the server of Prefect is away, is a line in the log: the night counts, not its
picture. A run that was killed draws nothing itself; Prefect then calls `tell_how_it_ended` in a process of its own.
"""

from __future__ import annotations

import contextvars
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

import schemas.settings  # noqa: F401  (first: switches telemetry off before Prefect is imported)

# isort: split
from prefect import Flow, runtime
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import FlowRun, State

from flows.orchestration import page
from flows.orchestration.page import Night, Words
from flows.rerun import command_of
from flows.steps import Summary
from schemas.errors import CollabError
from schemas.settings import Settings, load_settings
from tasks.loading.ledger import Moved, batches_of_flow_run, cells_moved
from tasks.releases.report import POLICY_SHOWN
from tasks.storage.warehouse import Warehouse

ROWS_OF_AN_ARTIFACT = 200
CELLS_SHOWN = 10  # of countries, and of pairs
SECONDS_BETWEEN_UPDATES = 15
WORDS = "what-happened"
log = logging.getLogger("collab")
_drawn: set[str] = set()  # runs of this process whose page was drawn


class RunPage:
    """The page of the current run: told what the night did, it draws that when the run ends."""

    def __init__(self) -> None:
        self.progress = ArtifactProgress()
        self._summary = Summary()

    def show(self, summary: Summary) -> None:
        """Take what the night did."""
        self._summary = summary

    def draw(self, exc: Exception | None) -> None:
        """Make the artifacts."""
        settings = load_settings(warehouse_wait=0)  # a picture waits for nobody
        summary = self._summary
        batches = [outcome.row for outcome in summary.outcomes]
        night = Night(
            command=command_of(runtime.flow_run.flow_name or "", runtime.flow_run.parameters),
            batches=batches,
            release=summary.release.release_id if summary.release else None,
            current=_current(settings),
            cost=summary.cost,
            results=summary.results,
        )
        _markdown(WORDS, page.bad_end(night, exc) if exc else page.good_end(night))
        _drawn.add(str(runtime.flow_run.id))
        _table("batch-counts", page.count_line(batches), page.count_rows(batches))
        _table("gates", page.gate_line(summary.results), page.gate_rows(summary.results))
        windows = "What the source said each window holds, what it listed, what was fetched, and the cost"
        _table("windows", windows, page.window_rows(summary))
        if summary.release:
            _markdown("release", page.release_text(summary.release))
        moved = _moved(settings, [row["batch_id"] for row in batches])
        _table("what-changed", page.change_line(moved, POLICY_SHOWN), page.change_rows(moved))


class ArtifactProgress:
    """How far a run is, as a progress artifact that is renewed a few times a minute.

    Records may be counted in another thread than the run's; updates are made in the context that `start` was called
    in, so that they reach the same server.
    """

    def __init__(self) -> None:
        self._artifact: UUID | None = None
        self._context = contextvars.copy_context()
        self._total = self._done = 0
        self._spoke = 0.0

    def start(self, records: int) -> None:
        """Make the artifact, if it is known how much is to come."""
        self._context = contextvars.copy_context()
        self._total = records
        if records:
            self._say(0, f"{records:,} records to read")

    def advance(self, records: int) -> None:
        """Renew it now and then."""
        self._done += records
        if self._total:
            share = 100 * min(self._done / self._total, 1)
            self._say_now_and_then(share, f"{self._done:,} of {self._total:,} records read")

    def fetching(self, window: str, number: int, windows: int, why: str) -> None:
        """Of a source that does not say how much is to come, windows are counted."""
        del why
        if not self._total:
            share = 100 * (number - 1) / windows
            self._say_now_and_then(share, f"fetching {page.harmless(window)}, {number} of {windows} windows")

    def say(self, line: str) -> None:
        """Lines are for the log."""

    def end(self) -> None:
        """All is done."""
        if self._artifact:
            self._say(100, f"{self._done:,} records read, all done")

    def _say_now_and_then(self, share: float, text: str) -> None:
        if time.monotonic() - self._spoke >= SECONDS_BETWEEN_UPDATES:
            self._say(share, text)

    def _say(self, share: float, text: str) -> None:
        self._spoke = time.monotonic()
        with _best_effort("progress"):
            self._context.copy().run(self._put, round(share, 1), text)

    def _put(self, share: float, text: str) -> None:
        if self._artifact:
            update_progress_artifact(self._artifact, progress=share, description=text)
        else:
            self._artifact = cast(UUID, create_progress_artifact(share, key="progress", description=text))


@contextmanager
def run_page() -> Iterator[RunPage]:
    """The page of the current flow run, drawn at the end of the block, well or not."""
    drawn = RunPage()
    try:
        yield drawn
    except Exception as exc:
        with _best_effort("page"):
            drawn.draw(exc)
        raise
    drawn.progress.end()
    with _best_effort("page"):
        drawn.draw(None)


def tell_how_it_ended(flow: Flow[..., Any], flow_run: FlowRun, state: State) -> None:
    """A hook for a run that drew no page: killed, cancelled, refused before it began, or of a flow without one.

    It says what the warehouse has of it. Workers call hooks by these names of the arguments.
    """
    if str(flow_run.id) in _drawn:
        return
    night, unread = Night(command_of(flow.name, flow_run.parameters)), ""
    try:
        settings = load_settings(warehouse_wait=0)  # a picture waits for nobody
        with Warehouse.open(settings, create=False) as warehouse, warehouse.reading() as conn:
            batches = batches_of_flow_run(conn, str(flow_run.id))
        night = replace(night, batches=batches, current=_current(settings))
    except CollabError as exc:
        unread = str(exc)
    words = page.silent_end(night, state.name or state.type.value, state.message or "", unread)
    artifact = ArtifactCreate(
        key=WORDS, type="markdown", description=words.line, data=words.text, flow_run_id=flow_run.id
    )
    get_client(sync_client=True).create_artifact(artifact)


def _current(settings: Settings) -> str | None:
    current = settings.published / "current"
    return current.resolve().name if current.exists() else None


def _moved(settings: Settings, batch_ids: list[str]) -> list[Moved]:
    if not batch_ids:
        return []
    with Warehouse.open(settings, create=False) as warehouse, warehouse.reading() as conn:
        return cells_moved(conn, batch_ids, POLICY_SHOWN, settings.scope, CELLS_SHOWN)


@contextmanager
def _best_effort(what: str) -> Iterator[None]:
    """Whatever fails in here is a line in the log: it must not end a night, nor hide why one failed."""
    try:
        yield
    except Exception as exc:
        log.warning("the %s of this run could not be drawn: %s: %s", what, type(exc).__name__, exc)


def _markdown(key: str, words: Words) -> None:
    create_markdown_artifact(words.text, key=key, description=words.line)


def _table(key: str, description: str, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    if len(rows) > ROWS_OF_AN_ARTIFACT:
        description += f"; the first {ROWS_OF_AN_ARTIFACT} of {len(rows)} rows"
    create_table_artifact(rows[:ROWS_OF_AN_ARTIFACT], key=key, description=description)
