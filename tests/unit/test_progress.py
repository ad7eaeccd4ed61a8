"""Progress as a log tells it."""

from __future__ import annotations

import logging

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
