"""Runs that are killed with SIGKILL. A fork server imports everything once, so that a killed run costs seconds.

COLLAB_TEST_KILLS says how many kills the tests share, COLLAB_TEST_SEED at which moments they come.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

KILLS, SEED = int(os.environ.get("COLLAB_TEST_KILLS", "200")), int(os.environ.get("COLLAB_TEST_SEED", "2"))
REST_OF_A_NIGHT = 0.25  # chance that a run is left alone after a kill: then everything is looked at
LOOK_EVERY = 0.005  # seconds
START = multiprocessing.get_context("forkserver")
START.set_forkserver_preload(["great_expectations", "flows.cli", "tests.factory"])


def was_killed(run: Callable[..., None], *args: Any, after: float | Callable[[], bool] | None) -> bool:
    """Start a run in a process of its own and kill it after so many seconds, or when something has come to pass;
    whether it was still running then."""
    child = START.Process(target=run, args=args)
    child.start()
    if callable(after):
        while child.exitcode is None and not after():
            child.join(LOOK_EVERY)
    else:
        child.join(after)
    if child.exitcode is not None:
        assert child.exitcode == 0
        return False
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    return True
