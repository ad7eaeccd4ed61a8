"""Settings of homes that faults strike, and the nights that bring their works."""

from __future__ import annotations

from tests.factory import author, work
from tests.replay import KEY, ReplayServer

DAYS = {  # works of two countries each, of which one is cited more every night; on the last night another is corrected
    f"2026-01-{day:02}": [
        work(100 * day + n, [author("US"), author(("CN", "DE", "FR")[n % 3])], updated=f"2026-01-{day:02}")
        for n in range(12)
    ]
    + [work(101, cited_by_count=day, updated=f"2026-01-{day:02}")]
    + ([work(202, [author("IN"), author()], updated="2026-01-04")] if day == 4 else [])
    for day in range(1, 5)
}
DELETED = {104: "2026-01-03"}


def of_api(server: ReplayServer) -> dict[str, object]:
    """Settings for a replay of the live API."""
    quick = {"openalex_rate": 50, "openalex_wait": 0, "openalex_timeout": 5, "openalex_attempts": 12}
    return {**quick, "openalex_url": server.url, "openalex_api_key": KEY, "scope": "ai"}
