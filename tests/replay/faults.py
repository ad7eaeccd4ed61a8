"""Faults the replay answers with: planned one by one, or drawn at a rate from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from tests.replay.answers import (
    HTML,
    Answer,
    budget,
    burst,
    gateway_timeout,
    plan_required,
    server_error,
    throttled,
    unauthorized,
)

ALL_KINDS = (  # those that pass; drawn at random
    "burst",
    "html_500",
    "html_503",
    "json_504",
    "html_200",
    "invalid_json",
    "cut_body",
    "reset",
    "short_page",
)
PLANNED = ("budget", "plan", "throttled", "slow", "unauthorized")
FREE_PER_SECOND = 30  # the cap of a free key, named in the message
OUTAGE = b"<!DOCTYPE html>\n<html><head><title>Application Error</title></head><body>Application error</body></html>\n"


class Faults:
    """Which fault the next request gets.

    `script` goes first, one entry a request (None: answer rightly); then each request fails at `rate`, at most
    `max_in_a_row` times in a row. Only requests whose path `only_paths` takes are counted.
    """

    def __init__(
        self,
        rate: float = 0.0,
        seed: int = 0,
        kinds: Sequence[str] = ALL_KINDS,
        script: Sequence[str | None] = (),
        only_paths: Callable[[str], bool] | None = None,
        *,
        max_in_a_row: int = 3,
        retry_after: int = 1,
        slow_seconds: float = 2.0,
    ) -> None:
        unknown = {*kinds, *script} - {*ALL_KINDS, *PLANNED, None}
        if unknown:
            raise ValueError(f"no such fault: {', '.join(sorted(map(str, unknown)))}")
        self.retry_after = retry_after
        self.slow_seconds = slow_seconds
        self._rate = rate
        self._kinds = tuple(kinds)
        self._script = list(script)
        self._only = only_paths
        self._most = max_in_a_row
        self._in_a_row = 0
        self._random = random.Random(seed)

    def next(self, path: str) -> str | None:
        """The fault of a request. The server calls this in order of arrival, under its lock."""
        if self._only is not None and not self._only(path):
            return None
        if self._script:
            return self._script.pop(0)
        # Both numbers are drawn for every request, so that a fault left out does not shift those after it.
        drawn, kind = self._random.random() < self._rate, self._random.choice(self._kinds)
        self._in_a_row = self._in_a_row + 1 if drawn and self._in_a_row < self._most else 0
        return kind if self._in_a_row else None

    def answer(self, kind: str | None, cost: int, limit: int) -> Answer | None:
        """The answer that stands in for the right one; None for kinds that change or delay the right one."""
        match kind:
            case "burst":
                return burst(cost, limit, FREE_PER_SECOND, self.retry_after)
            case "budget":
                return budget(cost, limit)
            case "plan":
                return plan_required('The "from_updated_date:2026-07-30" filter')
            case "throttled":
                return throttled(self.retry_after)
            case "html_500":
                return server_error()
            case "html_503":
                return Answer(503, OUTAGE, HTML)
            case "html_200":
                return Answer(200, OUTAGE, HTML)
            case "json_504":
                return gateway_timeout()
            case "unauthorized":
                return unauthorized()
        return None
