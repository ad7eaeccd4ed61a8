"""Talks to the OpenAlex API: one request at a time, in its pace, tried again where that helps, never above the budget.

Facts behind every branch: ../shared/reference/sources.md 1.1 to 1.6. The key travels in a header only, and only to the
address of the settings.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, Protocol, TypeVar
from urllib.parse import quote, urljoin, urlsplit

import msgspec
import requests
from requests.auth import AuthBase
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_base, wait_random_exponential

from schemas.errors import (
    AccessRefused,
    BudgetExhausted,
    PlanRefused,
    QuestionRefused,
    SourceError,
    SourceThrottled,
    SourceUnavailable,
    UsageError,
)
from schemas.settings import Settings
from tasks.reading.parsed import clean
from tasks.sources.openalex_api import ROWS_PER_PAGE

T = TypeVar("T")
SORT = "publication_date:asc"  # the server appends its default order, which ends with the id
LIST_COST = 1  # credits; single works cost nothing
CREDITS_PER_USD = 10_000
LARGEST_ANSWER = 512 * 2**20  # bytes, unpacked
SHOWN_MESSAGE = 300
LONGEST_PAUSE = 120.0  # seconds
SHORTEST_DAY = 3_600  # seconds; who asks to wait longer means the budget of the day
REDIRECTS = (301, 302, 303, 307, 308)
MOST_REDIRECTS = 5
CONNECT_SECONDS = 10.0
PACE_AFTER_BURST = 0.5
RUN_AGAIN = "run again later: what was fetched is kept"


class Budget(Protocol):
    """What may still be spent."""

    def take(self, credits: int) -> None:
        """Set credits aside for a request; raises BudgetExhausted if there are not so many."""

    def settle(self, taken: int, spent: int) -> None:
        """Say what the request did cost."""

    def observe(self, remaining: int) -> None:
        """Note what the server says is left of the day."""


class Meta(msgspec.Struct):
    """Envelope of a list answer; other keys are ignored."""

    count: Annotated[int, msgspec.Meta(ge=0, le=10**10)]
    next_cursor: str | None = None


class Envelope(msgspec.Struct):
    """Any list answer, also one of groups."""

    meta: Meta


class Page(msgspec.Struct):
    """One answer of a list: `meta.count` is how many works the whole list has."""

    meta: Meta
    results: list[msgspec.Raw]


class _Single(msgspec.Struct):
    id: str


class _Allowance(msgspec.Struct):
    daily_remaining_usd: float
    daily_budget_usd: float
    credits_remaining: int | None = None
    credits_limit: int | None = None


class _RateLimit(msgspec.Struct):
    rate_limit: _Allowance


class _Complaint(msgspec.Struct):
    error: str = ""
    message: str = ""


class Allowance(NamedTuple):
    """Credits of the key's day, as the server counts them."""

    limit: int
    remaining: int


class Answer(NamedTuple):
    """What came back, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Bearer(AuthBase):
    """The key as a header. An object of our own, because requests lets ~/.netrc overrule a plain header."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class _Pace:
    """Keeps requests apart; slower for a while after the server complained."""

    def __init__(self, rate: float) -> None:
        self._least = self._gap = 1 / rate
        self._last = 0.0

    def wait(self) -> None:
        """Sleep until the next request may go."""
        pause = self._last + self._gap - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        self._last = time.monotonic()
        self._gap = max(self._least, self._gap * 0.9)

    def slow_down(self) -> None:
        """Halve the pace; it recovers within some twenty requests."""
        self._gap = max(self._gap, self._least / PACE_AFTER_BURST)


class _WaitAsTold(wait_base):
    """What the server asked for, else longer each time, with jitter."""

    def __init__(self, first: float) -> None:
        self._backoff = wait_random_exponential(multiplier=first, max=LONGEST_PAUSE)

    def __call__(self, retry_state: RetryCallState) -> float:
        exc = retry_state.outcome.exception() if retry_state.outcome else None
        return exc.seconds if isinstance(exc, SourceThrottled) else self._backoff(retry_state)


class OpenAlex:
    """A client with a key.

    Every method raises SourceUnavailable when attempts are used up, BudgetExhausted when credits are, PlanRefused when
    the plan does not allow the question, and SourceError with the server's words when it refuses.
    """

    def __init__(self, settings: Settings, budget: Budget, session: requests.Session | None = None) -> None:
        """Nothing is sent yet.

        Raises:
            UsageError: the settings hold no key.
        """
        self._key, self._base, self._budget = read_key(settings), settings.openalex_url, budget
        self._timeout = settings.openalex_timeout
        self._pace = _Pace(settings.openalex_rate)
        self._session = session or requests.Session()
        self._session.auth = _Bearer(self._key)
        self._session.headers["User-Agent"] = "collab-atlas"
        self._retrying = Retrying(
            retry=retry_if_exception_type(SourceUnavailable),
            stop=stop_after_attempt(settings.openalex_attempts),
            wait=_WaitAsTold(settings.openalex_wait),
            sleep=time.sleep,
            reraise=True,
        )

    def close(self) -> None:
        """Let the connection go."""
        self._session.close()

    def list_works(self, query: str, *, cursor: str | None = None, select: str | None = None) -> Page:
        """Up to 100 works that a filter admits.

        Args:
            query: value of `filter`.
            cursor: `*` for the first page of several, then each page's `next_cursor`; None if one page holds all.
            select: root-level fields to send, comma between them; default all.
        """
        params = {"filter": query, "sort": SORT, "per_page": str(ROWS_PER_PAGE), "cursor": cursor, "select": select}
        given = {name: value for name, value in params.items() if value}
        return self._ask("/works", given, LIST_COST, lambda answer: _decode(answer, Page))

    def count(self, query: str) -> int:
        """How many works a filter admits."""
        params = {"filter": query, "per_page": "1", "select": "id"}
        return self._ask("/works", params, LIST_COST, lambda answer: _decode(answer, Envelope)).meta.count

    def work(self, work_id: int) -> bytes | None:
        """One work with all its authors; None if there is none any more. A merged work comes under its new id."""
        return self._ask(f"/works/W{work_id}", {}, 0, _read_single)

    def allowance(self) -> Allowance:
        """What is left of the key's day."""

        def read(answer: Answer) -> Allowance:
            found = _decode(answer, _RateLimit).rate_limit
            limit, remaining = found.credits_limit, found.credits_remaining
            return Allowance(
                round(found.daily_budget_usd * CREDITS_PER_USD) if limit is None else limit,
                round(found.daily_remaining_usd * CREDITS_PER_USD) if remaining is None else remaining,
            )

        told = self._ask("/rate-limit", {}, 0, read)
        self._budget.observe(told.remaining)
        return told

    def _ask(self, path: str, params: Mapping[str, str], cost: int, read: Callable[[Answer], T]) -> T:
        found: T = self._retrying(self._attempt, path, params, cost, read)
        return found

    def _attempt(self, path: str, params: Mapping[str, str], cost: int, read: Callable[[Answer], T]) -> T:
        self._budget.take(cost)
        spent = cost  # if no answer comes, the server may have charged for it
        try:
            self._pace.wait()
            answer = self._get(f"{self._base}{path}", params)
            for _ in range(MOST_REDIRECTS):
                if answer.status not in REDIRECTS:
                    break
                answer = self._get(self._beside(answer), {})
            told = _number(answer.headers.get("X-RateLimit-Credits-Used"))
            is_free = answer.status in (401, 403, 429)  # turned away before anything was asked of the index
            spent = told if told is not None else 0 if is_free else cost
            left = _number(answer.headers.get("X-RateLimit-Remaining"))
            if left is not None and answer.status != 429:  # a burst is told with 0, whatever is left
                self._budget.observe(left)
            if answer.status not in (200, 404):
                self._refuse(answer)
            return read(answer)
        finally:
            self._budget.settle(cost, spent)

    def _get(self, url: str, params: Mapping[str, str]) -> Answer:
        began = time.monotonic()
        try:
            with self._session.get(
                url,
                params=params,
                timeout=(min(CONNECT_SECONDS, self._timeout), self._timeout),
                stream=True,
                allow_redirects=False,
            ) as response:
                blocks, size = [], 0
                for block in response.iter_content(1 << 16):
                    blocks.append(block)
                    size += len(block)
                    if size > LARGEST_ANSWER:
                        raise SourceUnavailable(f"an answer of OpenAlex is larger than {LARGEST_ANSWER:,} bytes")
                    if time.monotonic() - began > 10 * self._timeout:
                        raise SourceUnavailable("OpenAlex sends its answer too slowly", RUN_AGAIN)
                return Answer(response.status_code, response.headers, b"".join(blocks))
        except (requests.RequestException, ValueError) as exc:  # some damage surfaces as a plain ValueError
            raise SourceUnavailable(f"no whole answer from {self._base}: {_root(exc)}", RUN_AGAIN) from None

    def _beside(self, answer: Answer) -> str:
        """Target of a redirect, which must lie at the same address: the key goes nowhere else."""
        target = urljoin(self._base + "/", answer.headers.get("Location", ""))
        if urlsplit(target)[:2] != urlsplit(self._base)[:2]:
            where = clean("://".join(urlsplit(target)[:2]), SHOWN_MESSAGE)
            raise AccessRefused(f"OpenAlex sent us on to {where}", "check COLLAB_OPENALEX_URL")
        return target

    def _refuse(self, answer: Answer) -> None:
        """Raise the error that an answer is."""
        said = self._message(answer)
        seconds = _number(answer.headers.get("Retry-After"))
        if answer.status == 429:
            complaint = _complaint(answer)
            if complaint.error == "Plan upgrade required" or (seconds is None and "requires" in complaint.message):
                raise PlanRefused(
                    f"the plan of the OpenAlex key does not allow it: {said}",
                    "set COLLAB_OPENALEX_SYNC=publication, which free keys may",
                )
            if complaint.message.startswith("Insufficient budget") or (seconds or 0) > SHORTEST_DAY:
                self._budget.observe(0)
                raise BudgetExhausted(f"OpenAlex: {said}", "run again after midnight UTC; it goes on from there")
            self._pace.slow_down()
            pause = 1.0 if seconds is None else min(seconds, LONGEST_PAUSE)
            raise SourceThrottled(f"OpenAlex asks for a slower pace: {said}", RUN_AGAIN, pause)
        if answer.status >= 500 or answer.status == 408:
            problem = f"OpenAlex answered {answer.status}: {said}"
            if seconds is not None and seconds <= LONGEST_PAUSE:
                raise SourceThrottled(problem, RUN_AGAIN, seconds)
            raise SourceUnavailable(problem, RUN_AGAIN)
        if answer.status in REDIRECTS:
            raise SourceUnavailable("OpenAlex sends us on without end", RUN_AGAIN)
        kind = AccessRefused if answer.status in (401, 403) else QuestionRefused
        hint = "check COLLAB_OPENALEX_API_KEY" if kind is AccessRefused else "check COLLAB_OPENALEX_URL, then report it"
        raise kind(f"OpenAlex refused ({answer.status}): {said}", hint)

    def _message(self, answer: Answer) -> str:
        """The server's words in one line, without our key should it repeat it."""
        complaint = _complaint(answer)
        text = complaint.message or complaint.error or "no reason given"
        for key in (self._key, quote(self._key, safe="")):
            text = text.replace(key, "***")
        return clean(" ".join(text.split()), SHOWN_MESSAGE)


class _NoBudget:
    """For what costs nothing."""

    def take(self, credits: int) -> None:
        """Nothing is counted."""

    def settle(self, taken: int, spent: int) -> None:
        """Nothing is counted."""

    def observe(self, remaining: int) -> None:
        """Nothing is counted."""


def read_key(settings: Settings) -> str:
    """The key of the settings.

    Raises:
        UsageError: there is none, or it is not one.
    """
    key = settings.openalex_api_key.get_secret_value().strip() if settings.openalex_api_key else ""
    if not key:
        raise UsageError(
            "harvesting the OpenAlex API needs a key",
            "get a free one from openalex.org and set COLLAB_OPENALEX_API_KEY; without one,"
            " `collab run --source openalex-snapshot` takes works from a snapshot",
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError("COLLAB_OPENALEX_API_KEY is not a key", "copy it again, without quotes or line breaks")
    return key


def ask_allowance(settings: Settings) -> Allowance:
    """What is left of the key's day; costs nothing. Raises like OpenAlex."""
    client = OpenAlex(settings, _NoBudget())
    try:
        return client.allowance()
    finally:
        client.close()


def _complaint(answer: Answer) -> _Complaint:
    try:
        return msgspec.json.decode(answer.body, type=_Complaint)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Complaint()  # an HTML page of something between us and the API


def _number(text: str | None) -> int | None:
    """A count in a header; None for anything else."""
    return int(text) if text is not None and re.fullmatch("[0-9]{1,9}", text, re.ASCII) else None


def _decode(answer: Answer, type_: type[T]) -> T:
    if answer.status == 404:
        raise SourceError("OpenAlex does not know what was asked for (404)", "check COLLAB_OPENALEX_URL")
    try:
        return msgspec.json.decode(answer.body, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise SourceUnavailable(f"the answer of OpenAlex is not what it should be: {exc}", RUN_AGAIN) from None


def _read_single(answer: Answer) -> bytes | None:
    if answer.status == 404:
        return None
    _decode(answer, _Single)
    return answer.body


def _root(exc: BaseException) -> str:
    """The cause at the bottom in a few words: the messages above it repeat the whole address."""
    below: Any = exc
    while (deeper := below.__cause__ or below.__context__) is not None:
        below = deeper
    return getattr(below, "strerror", None) or type(below).__name__
