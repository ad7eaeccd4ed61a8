"""How often Python looks for garbage while much is made, and what is handed back."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.memory import ALLOCATIONS, few_collections, no_collections
from tasks.staging.derive import Line, Reading, derive_lines
from tasks.staging.readers import OpenAlexReader
from tests.factory import author, line, work

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def collections():
    """Generations that were looked at."""
    seen = []

    def note(phase, info):
        if phase == "start":
            seen.append(info["generation"])

    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)


def test_no_collection_meets_the_rows_of_a_chunk(collections):
    lines = [Line(n, f"x:{n}", line(work(n + 1, [author("DE"), author("FR")]))) for n in range(250)]
    gc.collect()
    collections.clear()
    derive_lines(lines, Reading(OpenAlexReader(), "all", 1_000_000))
    assert len(collections) <= 1  # what is left is looked at when it ends


def test_collections_are_as_before_after_a_failure():
    before = gc.get_threshold()
    with pytest.raises(ZeroDivisionError), few_collections():
        assert gc.get_threshold()[0] == ALLOCATIONS
        with no_collections():
            assert not gc.isenabled()
            raise ZeroDivisionError
    assert gc.isenabled()
    assert gc.get_threshold() == before


# In a process of its own: what other tests left in the heap would be handed back too, or taken again.
FRAGMENTED = """
import psutil
from tasks.memory import give_back
kept = [(bytes(100_000), [object() for _ in range(100)]) for _ in range(1_000)]
kept = [small for _, small in kept]
before = psutil.Process().memory_info().rss
give_back()
print(before - psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries keep less")
def test_freed_memory_goes_back_to_the_system():
    """Large objects that died between small ones that live on: the heap cannot shrink by itself."""
    done = subprocess.run([sys.executable, "-c", FRAGMENTED], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 50_000_000
