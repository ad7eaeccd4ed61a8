"""Nights on a replay of the live API, and works for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import partial

from flows.progress import Lines
from flows.steps import Summary, directly, run_night
from tasks.landing.harvest import ApiIntake
from tasks.night import Night
from tests.factory import author, work
from tests.replay import Call, ReplayServer

TODAY = date(2026, 11, 22)
LISTED = "id,updated_date"  # what is selected when a month seen before is listed again


def dated(number: int, day: str, *authors, **more):
    """A work that was published on a day."""
    return work(number, list(authors) or None, publication_date=day, publication_year=int(day[:4]), **more)


WORKS = [dated(1000 + n, f"2026-{9 + n % 3:02}-{1 + n % 28:02}") for n in range(260)] + [
    dated(11, "2026-11-03", *[author("US")] * 119, author("DE")),
    dated(12, "2027-02-01"),
    dated(13, "2024-03-01"),
]
OCTOBER = {1000 + n for n in range(260) if n % 3 == 1}
NIGHT = {*range(1000, 1260), 11, 12}  # those whose dates a night looks at
# Ten in each of three months.
FEW = [dated(1000 + n, f"2026-{9 + n % 3:02}-{1 + n % 28:02}") for n in range(30)]
AUTHORS = [author("US")] * 120  # more than a list holds


def night(settings, today=TODAY, summary=None, **more) -> Summary:
    """One night on a day, or by a clock, without Prefect; keyword arguments as in ApiIntake."""
    summary = summary or Summary()
    days = today if callable(today) else lambda: today
    with Night(settings, partial(ApiIntake, today=days, **more)) as opened:
        run_night(opened, directly, Lines(), summary)
    return summary


def calls_of(server: ReplayServer, about: Callable[[], Summary]) -> tuple[Summary, list]:
    """What a night says, and the calls that it made."""
    before = len(server.calls)
    return about(), server.calls[before:]


def asks_for(call: Call, *months: str) -> bool:
    """Whether a question is about works of these months, or of a part of one."""
    return any(month in call.params.get("filter", "") for month in months)


def make_nonsense_of(call: Call) -> None:
    """Turns a question into one that is refused."""
    call.params["filter"] = "nonsense:1"
