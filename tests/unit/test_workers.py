"""Workers as the run uses them, without processes."""

from __future__ import annotations

from concurrent.futures import Executor, Future

import pytest

from tasks.staging.workers import Workers


class Stub(Workers):
    """Counts how often processes would start."""

    started = 0

    def prepare(self) -> None:
        pass

    def provide(self, reference: str | None) -> None:
        pass

    def _start(self) -> Executor:
        self.started += 1
        return Doing()


class Doing(Executor):
    """Does what it is asked at once."""

    def submit(self, fn, /, *args, **kwargs):
        done: Future = Future()
        done.set_result(fn(*args, **kwargs))
        return done


def test_nothing_starts_workers_again_that_were_given_up():
    workers = Stub(2)
    assert workers.submit(len, "abc").result() == 3
    workers.close()
    workers.close()
    with pytest.raises(RuntimeError, match="closed"):  # such as a batch that is derived ahead when its run ends
        workers.submit(len, "abc")
    assert workers.started == 1
