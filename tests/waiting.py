"""Waiting for what another process or thread does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait(ask: Callable[[], T], seconds: float, what: str, pause: float = 0.1) -> T:
    """What is asked for, once it is there (true); a failure that says what was waited for if that takes too long."""
    ends = time.monotonic() + seconds
    while not (found := ask()):
        assert time.monotonic() < ends, f"waited {seconds} s in vain for {what}"
        time.sleep(pause)
    return found
