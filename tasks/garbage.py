"""When Python looks for cycles of garbage. Its default, a look for every 700 new containers, suits small programs: it
took a quarter of the time of parse and locate, and half a second of a small night."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

ALLOCATIONS = 50_000  # more new containers than freed ones, between two looks


@contextmanager
def no_collections() -> Iterator[None]:
    """For a piece of work that makes millions of containers, none of them in a cycle, and frees them at its end."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def few_collections() -> Iterator[None]:
    """For long work among many lasting objects, such as the modules of large libraries."""
    before = gc.get_threshold()
    gc.set_threshold(ALLOCATIONS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
