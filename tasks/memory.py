"""When memory is looked through for garbage, and when what was freed goes back to the system.

Python's default, a look for cycles at every 700 new containers, suits small programs: it took a quarter of the time of
parse and locate, and half a second of a small night.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

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
    """For long work among many lasting objects, such as the modules of large libraries.

    The process that does it ends without a look through them: one of Great Expectations' modules alone takes a second.
    """
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
    before = gc.get_threshold()
    gc.set_threshold(ALLOCATIONS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def give_back() -> None:
    """Hand freed memory to the system: what Arrow keeps, and what lies between the blocks of glibc's heap.

    After the validation of 50,000 works that is 100 MB, which the load is about to need. Other C libraries keep less.
    """
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
