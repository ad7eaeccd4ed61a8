"""Nights on a replay of the live API, and works for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import partial

from flows.progress import Lines
from flows.steps import Summary, directly, run_night
from tasks.harvest import ApiIntake
from tasks.night import Night
from tests.factory import author, work
from tests.replay import ReplayServer

TODAY = date(2026, 11, 22)
LISTED = "id,updated_date"


def dated(number: int, day: str, *authors, **more):
    return work(number, list(authors) or None, publication_date=day, publication_year=int(day[:4]), **more)


WORKS = [dated(1000 + n, f"2026-{9 + n % 3:02}-{1 + n % 28:02}") for n in range(260)] + [
    dated(11, "2026-11-03", *[author("US")] * 119, author("DE")),
    dated(12, "2027-02-01"),
    dated(13, "2024-03-01"),
]
NIGHT = {*range(1000, 1260), 11, 12}  # those whose dates a night looks at
FEW = [dated(1000 + n, f"2026-{9 + n % 3:02}-{1 + n % 28:02}") for n in range(30)]
AUTHORS = [author("US")] * 120


def night(settings, today=TODAY, summary=None, **more) -> Summary:
    summary = summary or Summary()
    days = today if callable(today) else lambda: today
    with Night(settings, partial(ApiIntake, today=days, **more)) as opened:
        run_night(opened, directly, Lines(), summary)
    return summary


def calls_of(server: ReplayServer, about: Callable[[], Summary]) -> tuple[Summary, list]:
    before = len(server.calls)
    return about(), server.calls[before:]
