"""Progress as a log tells it, and as a page of Prefect does."""

from __future__ import annotations

import logging

import pytest

from flows.orchestration.artifacts import ArtifactProgress
from flows.progress import Lines


def test_progress_lines_say_rate_and_remaining_time(caplog, monkeypatch):
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr("flows.progress.time.monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO, logger="collab"):
        logging.getLogger("collab").propagate = True
        lines = Lines()
        lines.start(100)
        lines.advance(50)
    assert "50 of 100 records, 2/s, about 20 s left" in caplog.text


@pytest.fixture
def drawn(monkeypatch) -> list[tuple]:
    """What is drawn on a page instead of sent to a server."""
    made: list[tuple] = []
    create, update = "create_progress_artifact", "update_progress_artifact"
    monkeypatch.setattr(
        f"flows.orchestration.artifacts.{create}", lambda share, **more: made.append((share, more)) or 1
    )
    monkeypatch.setattr(
        f"flows.orchestration.artifacts.{update}",
        lambda artifact, progress, description: made.append((progress, description)),
    )
    return made


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time that progress goes by."""
    now = [0.0]
    monkeypatch.setattr("flows.orchestration.artifacts.time.monotonic", lambda: now[0])
    return now


def test_a_page_is_renewed_a_few_times_a_minute(drawn, clock):
    progress = ArtifactProgress()
    progress.start(1000)
    for _ in range(100):
        clock[0] += 1
        progress.advance(10)
    progress.end()
    assert drawn[0] == (0, {"key": "progress", "description": "1,000 records to read"})
    assert [share for share, _ in drawn[1:]] == [15, 30, 45, 60, 75, 90, 100]


def test_progress_of_a_source_that_does_not_say_how_much_is_to_come_is_told_in_windows(drawn, clock):
    progress = ArtifactProgress()
    progress.start(0)
    for number in range(1, 5):
        clock[0] += 20
        progress.fetching("2024-01", number, 4, "due")
    assert [share for share, _ in drawn] == [0, 25, 50, 75]
