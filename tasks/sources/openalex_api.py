"""What to ask the OpenAlex API for: filters from the reviewed definitions, windows of publication dates, and which of
them a night looks at.

Pure functions. Free keys may not filter by date of change, so a night looks at the newest publication dates and, in
rotation, at some older months; a window that was seen before is listed by id and date of change first.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise
from typing import NamedTuple

from schemas.errors import UsageError
from schemas.fields import Definitions

SOURCE = "openalex-api"
VALUES_PER_FILTER = 100  # more are refused
ROWS_PER_PAGE = 100  # more is deprecated
OLDEST = date(1800, 1, 1)  # nothing is asked for that was published before
JOINED = " to "
FUTURE, UNDATED, UPDATED = "future", "undated", "updated"
# What halves a single day: filters that every work either passes or not.
HALVES = ("has_doi", "has_references", "has_abstract")
_FILTERS = {"subfield": "primary_topic.subfield.id", "topic": "primary_topic.id"}
_OPEN_END = timedelta(days=400)  # where an open range of dates is cut first


class Query(NamedTuple):
    """A filter that admits works to the scope; the queries of a scope admit every work once."""

    name: str
    filter: str


@dataclass(frozen=True)
class Slice:
    """Part of a window that is paged through as one list: a query, dates of publication (None: open), other filters."""

    query: Query
    first: date | None = None
    last: date | None = None
    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((f"{self.query.name} {self.first or ''}..{self.last or ''}", *self.others))

    @property
    def filter(self) -> str:
        """Value of `filter`."""
        dates = (
            f"from_publication_date:{self.first}" if self.first else "",
            f"to_publication_date:{self.last}" if self.last else "",
        )
        return ",".join(part for part in (self.query.filter, *dates, *self.others) if part)

    def halves(self) -> tuple[Slice, Slice] | None:
        """The same works as two slices; None if there is nothing left to tell them apart by."""
        if self.first is None or self.last is None or self.first < self.last:
            middle = self._middle()
            return replace(self, last=middle), replace(self, first=middle + timedelta(days=1))
        for name in HALVES:
            if not any(other.startswith(f"{name}:") for other in self.others):
                yes, no = (replace(self, others=(*self.others, f"{name}:{value}")) for value in ("true", "false"))
                return yes, no
        return None

    def _middle(self) -> date:
        first = self.first or (self.last or date(2020, 1, 1)) - _OPEN_END
        last = self.last or first + _OPEN_END
        return first + (last - first) // 2


@dataclass(frozen=True)
class Window:
    """What is fetched, landed and reconciled as one."""

    name: str
    why: str
    first: date | None = None
    last: date | None = None
    updated_since: date | None = None
    was_seen: bool = False
    is_undecided: bool = False
    """Whether it was last fetched before the definitions in force."""
    expected: int | None = None
    """Works it held when it was last seen."""

    @property
    def records(self) -> int:
        """Records to be expected for sure: what changed is not known yet."""
        return 0

    @property
    def lists_first(self) -> bool:
        """Whether to list ids and dates of change first, and fetch only what changed."""
        return self.was_seen and not self.is_undecided

    @property
    def is_undated(self) -> bool:
        """Whether it holds the stored works without a date of publication, which no list of dates names."""
        return self.name == UNDATED

    def covers(self, other: Window) -> bool:
        """Whether the dates of another window lie within."""
        starts = self.first or date.min, other.first or date.min
        ends = self.last or date.max, other.last or date.max
        return starts[0] <= starts[1] and ends[1] <= ends[0]

    def slices(self, queries: Sequence[Query]) -> list[Slice]:
        """One slice for each query."""
        since = (f"from_updated_date:{self.updated_since}",) if self.updated_since else ()
        return [Slice(query, self.first, self.last, since) for query in queries]


class Sweep(NamedTuple):
    """When a window was last seen whole, and how many works it held."""

    day: date
    works: int


def queries_of(definitions: Definitions, scope: str) -> list[Query]:
    """Filters that admit the works of a scope, each with at most 100 values: topics and subfields of the admitting
    rules, without the excluded topics; one without conditions for scope `all`."""
    if scope == "all":
        return [Query("all", "")]
    found = []
    for field in definitions.fields:
        if not field.admits:
            continue
        excluded = [f"primary_topic.id:!{topic}" for topic in sorted(field.exclude_topics)]
        for kind, name in _FILTERS.items():
            values = sorted({value for rule in field.rules if rule.kind == kind for value in rule.values})
            for number, at in enumerate(range(0, len(values), VALUES_PER_FILTER)):
                chosen = "|".join(values[at : at + VALUES_PER_FILTER])
                found.append(Query(f"{field.id}-{kind}-{number}", ",".join([f"{name}:{chosen}", *excluded])))
    return found


def month_of(day: date) -> str:
    """Name of a month, such as 2026-11."""
    return f"{day:%Y-%m}"


def bounds_of(month: str) -> tuple[date, date]:
    """First and last day of a month."""
    first = date.fromisoformat(f"{month}-01")
    return first, first.replace(day=monthrange(first.year, first.month)[1])


def months_between(first: date, last: date) -> list[str]:
    """Months that hold a day of the range, in order."""
    found, day = [], first.replace(day=1)
    while day <= last:
        found.append(month_of(day))
        day = bounds_of(month_of(day))[1] + timedelta(days=1)
    return found


def plan_night(
    today: date,
    stored: Mapping[str, int],
    swept: Mapping[str, Sweep],
    begun: frozenset[str],
    *,
    window_days: int,
    rescan_nights: int,
) -> list[Window]:
    """Windows of a night on a free key: the newest publication dates and the future, whatever was begun and not
    finished first, then that longest ago; after them the older months whose turn it is. A window is looked at once in
    a UTC day, so a night that was killed goes on with what is left of it.

    Args:
        today: UTC.
        stored: stored works by month, or `undated`.
        swept: when each window was last seen.
        begun: windows of which pages are kept.
        window_days: publication dates looked at every night reach so many days back.
        rescan_nights: every older month is looked at again within so many nights.
    """
    newest = months_between(today - timedelta(days=window_days), today)
    windows = [_month(name, "newest dates", swept) for name in newest]
    windows.append(_future(newest[-1], swept))
    windows += [_month(name, "missed nights", swept) for name in _missed(newest[0], swept)]
    windows = [window for window in windows if _last_seen(window.name, swept) < today]
    windows.sort(key=lambda window: (window.name not in begun, _last_seen(window.name, swept), window.name))
    planned = {window.name for window in windows} | {FUTURE, UPDATED}
    older = {name for name in (*stored, *swept, *begun) if name == UNDATED or name < newest[0]} - planned
    return windows + plan_rescan(today, older, swept, begun, rescan_nights)


def plan_rescan(
    today: date, months: set[str], swept: Mapping[str, Sweep], begun: frozenset[str], nights: int
) -> list[Window]:
    """The months whose turn it is, longest unseen first: so many that all are seen within `nights` nights, and those
    that nights left out have made overdue. What was seen today already counts."""
    turn = sorted(months, key=lambda name: (name not in begun, _last_seen(name, swept), name))
    share = -(-len(turn) // nights)
    done_today = sum(_last_seen(name, swept) == today for name in turn)
    overdue = sum(name in swept and swept[name].day <= today - timedelta(days=nights) for name in turn)
    chosen = turn[: max(share - done_today, overdue, 0)]
    return [_month(name, "older dates", swept) for name in chosen if _last_seen(name, swept) < today]


def plan_all(
    today: date,
    months: set[str],
    swept: Mapping[str, Sweep],
    begun: frozenset[str],
    days: int,
    undecided: Collection[str] = (),
) -> list[Window]:
    """All months that were not looked at in the last `days` days, and those that the definitions in force did not
    decide, those begun first, then longest unseen first."""
    unseen_since = today - timedelta(days=days)
    left = [name for name in months if name in undecided or _last_seen(name, swept) <= unseen_since]
    left.sort(key=lambda name: (name not in begun, _last_seen(name, swept), name))
    return [_month(name, "seen again", swept) for name in left]


def plan_updated(
    today: date, since: date, months: set[str], swept: Mapping[str, Sweep], begun: frozenset[str], nights: int
) -> list[Window]:
    """Windows of a night on a plan that may ask by date of change: all changes since a date, then the months whose turn
    it is, because deletions are no change."""
    changed = Window(UPDATED, f"changed since {since}", updated_since=since)
    rotation = plan_rescan(today, months - {FUTURE, UPDATED}, swept, begun, nights)
    return [changed, *rotation] if _last_seen(UPDATED, swept) < today else rotation


def refuse_unless_past(first: date, last: date, today: date) -> None:
    """Raise UsageError unless a backfill can ask for these dates; the command and the flow take the same ones."""
    if not OLDEST <= first <= last <= today:
        raise UsageError(
            f"{first} to {last} is no range of past dates",
            f"the first day comes first, both from {OLDEST} to {today}",
        )


def plan_backfill(first: date, last: date, swept: Mapping[str, Sweep], begun: frozenset[str]) -> list[Window]:
    """Months of a range that were never seen, those begun first, then newest first."""
    left = [name for name in reversed(months_between(first, last)) if name not in swept]
    return [_month(name, "backfill", swept) for name in sorted(left, key=lambda name: name not in begun)]


def calls_for(works: int, queries: int) -> int:
    """List calls for a window of so many works: the last page of each query is a short one."""
    return works // ROWS_PER_PAGE + queries


def join_months(windows: Sequence[Window]) -> list[Window]:
    """Windows without gaps between them as one each, to be counted with one call for each query."""
    found: list[Window] = []
    for window in sorted(windows, key=lambda window: (window.first or date.min, window.name)):
        former = found[-1] if found else None
        if former and former.last and window.first == former.last + timedelta(days=1):
            first_name = former.name.split(JOINED)[0]
            found[-1] = replace(former, name=first_name + JOINED + window.name, last=window.last)
        else:
            found.append(window)
    return found


def gaps_between(months: Collection[str], newest: str) -> list[tuple[str, str]]:
    """Ranges of months, first and last, that lie between some months and the newest and are none of them."""
    known = sorted(name for name in months if name not in (FUTURE, UNDATED, UPDATED) and name < newest)
    found = []
    for name, following in pairwise([*known, newest]):
        first = bounds_of(name)[1] + timedelta(days=1)
        last = bounds_of(following)[0] - timedelta(days=1)
        if first < last:
            found.append((month_of(first), month_of(last)))
    return found


def _missed(newest: str, swept: Mapping[str, Sweep]) -> list[str]:
    """Months that came to be old while there were no nights: those since the last time that the future was looked at,
    which every night does."""
    if FUTURE not in swept:
        return []
    last_night = swept[FUTURE].day
    since = months_between(last_night, bounds_of(newest)[0])[:-1]
    return [name for name in since if _last_seen(name, swept) <= last_night]


def _month(month: str, why: str, swept: Mapping[str, Sweep]) -> Window:
    first, last = (None, None) if month == UNDATED else bounds_of(month)
    return _seen(Window(month, why, first, last), swept)


def _future(month: str, swept: Mapping[str, Sweep]) -> Window:
    """All dates after a month."""
    return _seen(Window(FUTURE, "newest dates", bounds_of(month)[1] + timedelta(days=1)), swept)


def _seen(window: Window, swept: Mapping[str, Sweep]) -> Window:
    known = swept.get(window.name)
    return replace(window, was_seen=True, expected=known.works) if known else window


def _last_seen(name: str, swept: Mapping[str, Sweep]) -> date:
    return swept[name].day if name in swept else date.min
