"""Answers that do not depend on what is in the index: error bodies, HTML pages and headers, worded as the service
words them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

JSON, HTML = "application/json", "text/html; charset=utf-8"
EXPOSED = (
    "Cache-Control, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Onetime-Remaining, "
    "X-RateLimit-Credits-Used, X-RateLimit-Credits-Required, X-RateLimit-Reset, X-RateLimit-Limit-USD, "
    "X-RateLimit-Remaining-USD, X-RateLimit-Prepaid-Remaining-USD, X-RateLimit-Cost-USD, "
    "X-RateLimit-Cost-Required-USD, Retry-After"
)
EDGE = {  # the edge adds these to whatever it sends
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, POST, OPTIONS",
    "Access-Control-Allow-Headers": "Accept, Accept-Language, Accept-Encoding, Authorization, Content-Type",
    "Access-Control-Expose-Headers": EXPOSED,
}
ORIGIN = {"cf-cache-status": "DYNAMIC", "Via": "1.1 heroku-router"}  # only answers that came from behind the edge
PRICING = "See https://openalex.org/pricing for details."


@dataclass
class Answer:
    status: int
    body: bytes
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    cut_short: bool = False  # a list with fewer rows than it should have


class Refused(Exception):
    """The request ends here, with this answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.status} {answer.body[:200]!r}")
        self.answer = answer


def to_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def json_answer(status: int, value: Any, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, to_json(value), headers=dict(headers or {}))


def html_answer(status: int, name: str, text: str, headers: dict[str, str] | None = None) -> Answer:
    """A page as Flask makes it."""
    page = f"<!doctype html>\n<html lang=en>\n<title>{status} {name}</title>\n<h1>{name}</h1>\n<p>{text}</p>\n"
    return Answer(status, page.encode(), HTML, dict(headers or {}))


def usd(credits: int) -> float | int:
    """One credit is $0.0001; whole dollars carry no point, as in JavaScript."""
    value = round(credits * 0.0001, 4)
    return int(value) if value == int(value) else value


def midnight() -> datetime:
    """The next midnight in UTC, when credits are reset."""
    now = datetime.now(UTC)
    return now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def seconds_to_midnight() -> int:
    return int((midnight() - datetime.now(UTC)).total_seconds()) + 1


def query_error(message: str) -> Refused:
    return Refused(json_answer(400, {"error": "Invalid query parameters error.", "message": message}))


def paging_error(message: str) -> Refused:
    return Refused(json_answer(400, {"error": "Pagination error.", "message": message}))


def edge_error(reason: str, message: str) -> Refused:
    body = {
        "error": "Invalid request rejected at the API edge",
        "error_source": "openalex-api-proxy",
        "message": message,
    }
    return Refused(json_answer(400, body, {"x-openalex-edge-reject": f"f1:{reason}"}))


def too_long(size: int) -> Refused:
    message = (
        f"Your request URL is {size} bytes, over the 8190-byte limit (roughly 8 KB, mostly the 'search' value). "
        "Split a large Boolean query into smaller chunks, request each separately, and combine the returned IDs "
        "client-side. See https://docs.openalex.org/guides/searching#large-boolean-queries"
    )
    return Refused(json_answer(400, {"error": "Request URL too long", "message": message}))


def not_replayed(what: str) -> Refused:
    """The service can do this and the replay cannot: better a status nobody expects than a wrong answer."""
    return Refused(json_answer(501, {"error": "Not replayed", "message": f"The replay does not know {what}."}))


def unauthorized(error: str = "Invalid or missing API key", message: str = "API key not found") -> Answer:
    return json_answer(401, {"error": error, "message": message}, {"Cache-Control": "no-store"})


def plan_required(message: str) -> Answer:
    body = {
        "error": "Plan upgrade required",
        "message": f"{message} requires a Premium, Institutional, or Partner plan. ",
    }
    body["message"] += PRICING
    return json_answer(429, body, {"Cache-Control": "no-store"})


def throttled(retry_after: int) -> Answer:
    message = (
        "Your access is temporarily throttled while we investigate unsustainable usage patterns. "
        "Please contact support@openalex.org for details."
    )
    body = {"error": "Rate limit exceeded", "message": message, "retryAfter": retry_after}
    return json_answer(429, body, {"Retry-After": str(retry_after)})


def _limited(message: str, cost: int, limit: int, remaining: int, wait: float, retry_after: int) -> Answer:
    body = {
        "error": "Rate limit exceeded",
        "message": message,
        "retryAfter": wait,
        "costUsd": usd(cost),
        "dailyRemainingUsd": usd(remaining),
        "prepaidRemainingUsd": 0,
        "creditsRequired": cost,
        "creditsRemaining": remaining,
        "onetimeCreditsRemaining": 0,
    }
    required = {
        "X-RateLimit-Cost-Required-USD": str(usd(cost)),
        "X-RateLimit-Credits-Required": str(cost),
        "Retry-After": str(retry_after),
    }
    return json_answer(429, body, pool(limit, remaining) | required)


def burst(cost: int, limit: int, per_second: int, retry_after: int = 1) -> Answer:
    """Too many requests in a second. Nothing is said to remain, whatever remains."""
    message = f"Rate limit exceeded: {per_second} requests per second. Please slow down."
    return _limited(message, cost, limit, 0, round(1 / per_second, 2), retry_after)


def budget(cost: int, limit: int, remaining: int = 0) -> Answer:
    """The credits of the day do not suffice."""
    message = (
        f"Insufficient budget. This request costs ${usd(cost)} but you only have ${usd(remaining)} remaining. "
        "Resets at midnight UTC. Need more? Add funds at https://openalex.org/pricing"
    )
    wait = seconds_to_midnight()
    return _limited(message, cost, limit, remaining, wait, wait)


def pool(limit: int, remaining: int) -> dict[str, str]:
    """Headers on what the key may use and has left."""
    return {
        "X-RateLimit-Limit-USD": str(usd(limit)),
        "X-RateLimit-Remaining-USD": str(usd(remaining)),
        "X-RateLimit-Prepaid-Remaining-USD": "0",
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Onetime-Remaining": "0",
        "X-RateLimit-Reset": str(seconds_to_midnight()),
    }


def gateway_timeout() -> Answer:
    message = (
        "Your query took too long and was stopped before completing. This usually means a very broad search "
        "(e.g. many OR/AND/NOT terms). Please narrow the query and try again. You were not charged for this request."
    )
    return json_answer(504, {"error": "Gateway timeout", "message": message, "reason": "query_timeout"})


def server_error() -> Answer:
    return html_answer(
        500,
        "Internal Server Error",
        "The server encountered an internal error and was unable to complete your request. Either the server is "
        "overloaded or there is an error in the application.",
    )


def not_found() -> Refused:
    return Refused(
        html_answer(
            404,
            "Not Found",
            "The requested URL was not found on the server. If you entered the URL manually please check your "
            "spelling and try again.",
        )
    )


def redirect(location: str) -> Refused:
    text = f'You should be redirected automatically to the target URL: <a href="{location}">{location}</a>.'
    return Refused(html_answer(302, "Redirecting...", text, {"Location": location}))
