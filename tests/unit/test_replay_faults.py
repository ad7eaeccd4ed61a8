"""What goes wrong with the replay of the OpenAlex API when it is told to: bodies, statuses, broken connections."""

from __future__ import annotations

import re

import pytest
import requests

from tests.replay import ALL_KINDS, Faults
from tests.replay.client import WORKS, message


@pytest.mark.parametrize(
    ("kind", "status", "error", "retry_after"),
    [
        ("burst", 429, "Rate limit exceeded", "0"),
        ("budget", 429, "Rate limit exceeded", r"\d+"),
        ("plan", 429, "Plan upgrade required", None),
        ("throttled", 429, "Rate limit exceeded", "0"),
        ("json_504", 504, "Gateway timeout", None),
        ("unauthorized", 401, "Invalid or missing API key", None),
        ("html_500", 500, None, None),
        ("html_503", 503, None, None),
        ("html_200", 200, None, None),
    ],
)
def test_faults_that_are_answers(serve, kind, status, error, retry_after):
    server, client = serve(WORKS, faults=Faults(script=[kind, None], retry_after=0))
    answer = client.ask()
    assert answer.status_code == status
    assert (answer.headers["Content-Type"] == "application/json") is (error is not None)
    assert (answer.json()["error"] if error else None) == error
    given = answer.headers.get("Retry-After")
    assert re.fullmatch(retry_after, given) if retry_after else given is None
    assert client.ask().status_code == 200
    assert [(call.fault, call.status, call.credits) for call in server.calls] == [(kind, status, 0), (None, 200, 1)]


def test_the_body_of_a_burst_and_of_a_spent_budget(serve):
    _, client = serve(WORKS, faults=Faults(script=["burst", "budget"]))
    zeros = ("dailyRemainingUsd", "prepaidRemainingUsd", "creditsRemaining", "onetimeCreditsRemaining")
    assert client.ask().json() == {
        "error": "Rate limit exceeded",
        "message": "Rate limit exceeded: 30 requests per second. Please slow down.",
        "retryAfter": 0.03,
        "costUsd": 0.0001,
        "creditsRequired": 1,
    } | dict.fromkeys(zeros, 0)
    spent = client.ask()
    assert message(spent) == (
        "Insufficient budget. This request costs $0.0001 but you only have $0 remaining. Resets at midnight UTC. "
        "Need more? Add funds at https://openalex.org/pricing"
    )
    assert str(spent.json()["retryAfter"]) == spent.headers["Retry-After"]


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("invalid_json", requests.JSONDecodeError),
        ("cut_body", (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError)),
        ("reset", requests.ConnectionError),
    ],
)
def test_faults_on_the_way(serve, kind, error):
    server, client = serve(WORKS, faults=Faults(script=[kind] * 2))
    with pytest.raises(error):
        client.ask().json()
    with pytest.raises(error):
        client.get(f"{server.url}/works", headers={"Accept-Encoding": "identity"}).json()
    assert len(client.ask().json()["results"]) == 5
    assert [call.fault for call in server.calls] == [kind, kind, None]
    assert server.credits_used == 1


def test_a_slow_answer(serve):
    _, client = serve(WORKS, faults=Faults(script=["slow"], slow_seconds=0.3))
    with pytest.raises(requests.ReadTimeout):
        client.get(f"{client.url}/works", timeout=0.05)


def test_a_short_page_ends_a_list_that_has_more(serve):
    server, client = serve(WORKS, faults=Faults(script=["short_page"] * 4))
    page = client.ask(cursor="*", per_page=4).json()
    assert (len(page["results"]), page["meta"]["count"], page["meta"]["next_cursor"]) == (2, 5, None)
    assert client.ask("/works/W1").status_code == 200
    assert len(client.ids(filter="openalex:W1")) == 1
    assert client.ask(filter="wrong:1").status_code == 400
    assert [call.fault for call in server.calls] == ["short_page", None, None, None]
    assert server.credits_used == 3


def test_faults_drawn_at_a_rate():
    first, second = Faults(0.5, seed=7), Faults(0.5, seed=7)
    drawn = [first.next("/works") for _ in range(2000)]
    assert drawn == [second.next("/works") for _ in range(2000)]
    assert set(drawn) == {None, *ALL_KINDS}
    assert 0.4 < sum(kind is not None for kind in drawn) / 2000 < 0.5
    always = Faults(1.0, kinds=["html_500"], max_in_a_row=2, only_paths=lambda path: path == "/works")
    assert [always.next("/works") for _ in range(4)] == ["html_500", "html_500", None, "html_500"]
    assert always.next("/works/W1") is None
    with pytest.raises(ValueError, match="no such fault: html_404"):
        Faults(script=["html_404"])
