"""Shows how far a run is: a bar with rate and remaining time on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.text import Text

from schemas.words import printable

SECONDS_BETWEEN_LINES = 15
log = logging.getLogger("collab")


class _Rate(ProgressColumn):
    """Records a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f}/s")


class Progress(Protocol):
    """What a run tells its watcher."""

    def start(self, records: int) -> None:
        """So many records are to come."""

    def advance(self, records: int) -> None:
        """So many more are parsed and located."""

    def fetching(self, window: str, number: int, windows: int, why: str) -> None:
        """A window is fetched: the `number`-th of so many."""

    def say(self, line: str) -> None:
        """Something worth a line."""


class Bar:
    """A bar on a terminal."""

    def __init__(self, bar: RichProgress) -> None:
        self._bar = bar
        self._task: TaskID | None = None

    def start(self, records: int) -> None:
        """Draw the bar."""
        if records:
            self._task = self._bar.add_task("records", total=records)

    def advance(self, records: int) -> None:
        """Move it."""
        if self._task is not None:
            self._bar.advance(self._task, records)

    def fetching(self, window: str, number: int, windows: int, why: str) -> None:
        """Print which."""
        self.say(_fetching(window, number, windows, why))

    def say(self, line: str) -> None:
        """Print above it."""
        self._bar.console.print(printable(line), highlight=False, markup=False)


class Lines:
    """Log lines, at most one about progress every few seconds."""

    def __init__(self) -> None:
        self._total = self._done = 0
        self._began = self._spoke = time.monotonic()

    def start(self, records: int) -> None:
        """Say how much is to come."""
        self._total, self._began = records, time.monotonic()
        if records:
            log.info("records to read: %s", f"{records:,}")

    def advance(self, records: int) -> None:
        """Say how far it is, now and then."""
        self._done += records
        now = time.monotonic()
        if now - self._spoke >= SECONDS_BETWEEN_LINES:
            rate = self._done / max(now - self._began, 1e-9)
            left = max(self._total - self._done, 0) / rate if rate else 0
            if self._total:
                log.info(
                    "%s of %s records, %.0f/s, about %.0f s left", f"{self._done:,}", f"{self._total:,}", rate, left
                )
            else:  # a live source does not say how much is to come
                log.info("%s records, %.0f/s", f"{self._done:,}", rate)
            self._spoke = now

    def fetching(self, window: str, number: int, windows: int, why: str) -> None:
        """Log which."""
        self.say(_fetching(window, number, windows, why))

    def say(self, line: str) -> None:
        """Log it."""
        log.info("%s", printable(line))


class Both:
    """Two watchers of one run."""

    def __init__(self, first: Progress, second: Progress) -> None:
        self._watchers = first, second

    def start(self, records: int) -> None:
        """Tell both."""
        for watcher in self._watchers:
            watcher.start(records)

    def advance(self, records: int) -> None:
        """Tell both."""
        for watcher in self._watchers:
            watcher.advance(records)

    def fetching(self, window: str, number: int, windows: int, why: str) -> None:
        """Tell both."""
        for watcher in self._watchers:
            watcher.fetching(window, number, windows, why)

    def say(self, line: str) -> None:
        """Tell both."""
        for watcher in self._watchers:
            watcher.say(line)


def _fetching(window: str, number: int, windows: int, why: str) -> str:
    return f"fetching {window} ({number} of {windows}: {why})"


@contextmanager
def progress_for_this_terminal(watcher: Progress | None = None) -> Iterator[Progress]:
    """A bar where a person looks on, lines elsewhere; a further watcher is told the same."""
    if not sys.stderr.isatty():
        yield Both(Lines(), watcher) if watcher else Lines()
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate())
    with RichProgress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True, emoji=False)
    ) as bar:
        yield Both(Bar(bar), watcher) if watcher else Bar(bar)
