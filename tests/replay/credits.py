"""Who asks, what a request costs, and what is left of the day's credits."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from typing import Any

from tests.replay.answers import (
    Answer,
    Refused,
    budget,
    burst,
    json_answer,
    midnight,
    plan_required,
    pool,
    seconds_to_midnight,
    usd,
)

KEYLESS_CREDITS = 1_000
LIST, SEARCH = 1, 10
PAID_FILTER = re.compile(r"(?:from_|to_)?(?:updated|created)_date:[><]?\d{4}-\d{2}-\d{2}")
PAID_SORT = re.compile(r"(?:from_|to_)?(?:updated|created)_date(?::(?:asc|desc))?")


class Ledger:
    """Credits of one key (or of all without a key), and its bucket of requests per second."""

    def __init__(self, limit: int, per_second: int | None) -> None:
        self.limit = limit
        self.used = 0
        self._per_second = per_second
        self._tokens = float(per_second or 0)
        self._filled = time.monotonic()
        self._lock = threading.Lock()

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used)

    def charge(self, cost: int) -> None:
        """Book the cost, or refuse: first by the second, then by the day."""
        with self._lock:
            if self._per_second is not None:
                now = time.monotonic()
                self._tokens = min(self._per_second, self._tokens + (now - self._filled) * self._per_second)
                self._filled = now
                if self._tokens < 1:
                    raise Refused(burst(cost, self.limit, self._per_second))
                self._tokens -= 1
            if cost > self.limit - self.used:
                raise Refused(budget(cost, self.limit, self.remaining))
            self.used += cost

    def refund(self, cost: int) -> None:
        with self._lock:
            self.used -= cost

    def reset(self) -> None:
        with self._lock:
            self.used = 0

    def headers(self, cost: int) -> dict[str, str]:
        used = {"X-RateLimit-Cost-USD": str(usd(cost)), "X-RateLimit-Credits-Used": str(cost)}
        return pool(self.limit, self.remaining) | used

    def status(self, key: str) -> Answer:
        """What /rate-limit says."""
        costs = {"singleton": 0, "list": LIST, "search": SEARCH, "content": 100, "semantic": 10, "text": 100}
        limits: dict[str, Any] = {
            "daily_budget_usd": usd(self.limit),
            "daily_used_usd": usd(self.used),
            "daily_remaining_usd": usd(self.remaining),
            "prepaid_balance_usd": 0,
            "prepaid_remaining_usd": 0,
            "prepaid_expires_at": None,
            "resets_at": midnight().strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "resets_in_seconds": seconds_to_midnight(),
            "endpoint_costs_usd": {name: usd(cost) for name, cost in costs.items()},
            "credits_limit": self.limit,
            "credits_used": self.used,
            "credits_remaining": self.remaining,
            "onetime_credits_balance": 0,
            "onetime_credits_remaining": 0,
            "onetime_credits_expires_at": None,
            "credit_costs": costs,
        }
        masked = "***" if len(key) <= 6 else f"{key[:3]}...{key[-3:]}"
        body = {"api_key": masked, "is_grandfathered": False, "rate_limit": limits}
        return json_answer(200, body, {"Cache-Control": "no-store"})


def key_of(headers: Mapping[str, str], params: Mapping[str, str]) -> str | None:
    """The key a request carries: None without one, "" or blanks for one left empty."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    for given in (params, headers):
        for name in ("api_key", "api-key"):
            if name in given:
                return given[name]
    return None


def cost_of(path: str, params: Mapping[str, str]) -> int:
    """Credits of a right answer. A single work is free; group_by costs a list even with a search."""
    if path.startswith("/works/"):
        return 0
    if "group_by" in params or "group-by" in params:
        return LIST
    searched = any(name == "search" or name.startswith("search.") for name in params)
    return SEARCH if searched or ".search:" in params.get("filter", "") else LIST


def check_plan(params: Mapping[str, str]) -> None:
    """Dates of update and creation are for paying plans: refused with 429 and no Retry-After."""
    if found := PAID_FILTER.search(params.get("filter", "")):
        raise Refused(plan_required(f'The "{found[0]}" filter'))
    if found := PAID_SORT.search(params.get("sort", "")):
        raise Refused(plan_required(f'Sorting by "{found[0]}"'))
