"""Any history of nights, some of which are taken back, released, or pruned: the tables are what its batches that count
would have made alone, and in the end, when everything was released and sent again, those of a run never undone.

COLLAB_TEST_HISTORIES says how many histories are played on each engine (100).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tasks.landing.land import DELETIONS, WORKS
from tests.arrivals import MALFORMED, deletions, versions
from tests.factory import line, work
from tests.undo_model import Again, Arrive, Play, Prune, Release, Retry, Step, Undo, together

HISTORIES = int(os.environ.get("COLLAB_TEST_HISTORIES", "100"))
nights = st.one_of(
    st.builds(
        Arrive,
        st.just(WORKS),
        st.lists(st.one_of(versions, versions, versions, st.sampled_from(MALFORMED)), min_size=1, max_size=4).map(
            tuple
        ),
    ),
    st.builds(Arrive, st.just(DELETIONS), st.lists(deletions, min_size=1, max_size=2).map(tuple)),
)
small = st.integers(0, 3)
steps = st.one_of(
    nights,
    nights,
    nights,
    st.builds(Again, small),
    st.builds(Retry, st.booleans()),
    st.builds(Undo, st.sampled_from((0, 0, 1, 2)), st.booleans()),
    st.builds(Undo, st.sampled_from((0, 0, 1, 2)), st.just(True)),
    st.builds(Release, small),
    st.builds(Prune, st.sampled_from((14, 14, 0)), st.sampled_from((0, 99))),
)
histories = st.tuples(st.lists(nights, min_size=1, max_size=2), st.lists(steps, min_size=2, max_size=9)).map(
    lambda both: [*both[0], *both[1]]
)


def versions_of(day: int, *numbers: int) -> Arrive:
    """Works as they are on a day."""
    updated = f"2026-01-{day:02}"
    return Arrive(WORKS, tuple(line(work(number, updated=updated, cited_by_count=day)) for number in numbers))


# A release brings less than was kept out, because something newer stands before it, and is taken back with that.
OVERTAKEN = [versions_of(1, 11, 12), Undo(0, False), versions_of(2, 11), Release(0), Undo(0, False), Undo(0, False)]
# The same, after what the newer version overtook was pruned, so that nothing of a landing is left to be released.
PRUNED = [versions_of(1, 11), Undo(0, False), versions_of(2, 11), Prune(14, 0), Undo(0, False), Release(1), Again(0)]
# A release whose landed records are gone is not forgotten when what came after its batch is taken back.
NOTED = [
    *(versions_of(1, 11), Undo(0, False), versions_of(2, 11), Prune(14, 0), Undo(0, False)),
    *(versions_of(3, 11), Release(1), Undo(0, False), Again(0)),
]


@pytest.fixture
def play(tmp_path: Path, give_back: Callable[[Path], None]) -> Callable[[Sequence[Step]], Play]:
    """Plays a history in a new warehouse, and gives the one before back."""

    @contextmanager
    def played(history: Sequence[Step]) -> Iterator[Play]:
        home = tmp_path / uuid4().hex
        home.mkdir()
        one = Play(home)
        with one.warehouse:
            for step in history:
                one.take(step)
            yield one
        give_back(home)
        shutil.rmtree(home)

    return played


@pytest.mark.slow
@hypothesis_settings(
    max_examples=HISTORIES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(history=histories)
@example(history=OVERTAKEN)
@example(history=PRUNED)
@example(history=NOTED)
def test_what_is_taken_back_was_never_there_until_it_is_released(history, play):
    with play(history) as one:
        one.is_right()
        with play(together(batch.could for batch in one.stack)) as counted:
            assert counted.now == one.now
        one.release_all()
        one.is_right()
        with play(together(replace(arrival, is_strict=False) for arrival in one.sent)) as never_undone:
            assert never_undone.now == one.now
