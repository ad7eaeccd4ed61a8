"""Whom the replay of the OpenAlex API answers, and at what price: keys, credits, headers, many clients at once."""

from __future__ import annotations

import gzip
import re
import threading
import time

from tests.factory import URL, work
from tests.replay import KEY
from tests.replay.client import WORKS, Client, message


def test_who_has_a_wrong_key_or_none_gets_little(serve):
    server, client = serve(WORKS, key=None)
    for given in ({"params": {"api_key": KEY}}, {"headers": {"api_key": KEY}}, {"headers": {"api-key": KEY}}):
        assert client.get(f"{server.url}/works", **given).headers["X-RateLimit-Limit"] == "10000"
    for given in (
        {"params": {"api_key": " "}},
        {"params": {"api_key": ""}},
        {"headers": {"api_key": "wrong"}},
        {"headers": {"Authorization": "Bearer wrong"}},
    ):
        for path in ("/works", "/works/W1", "/rate-limit"):
            refused = client.get(server.url + path, **given)
            assert refused.status_code == 401
            assert refused.json() == {"error": "Invalid or missing API key", "message": "API key not found"}
    assert client.ask().headers["X-RateLimit-Limit"] == "1000"
    assert client.ask("/works/W1").status_code == 200
    assert client.ask(cursor="*").status_code == client.ask("/rate-limit").status_code == 401
    _, keyless = serve(WORKS, key=None, keyless_cursor_is_refused=False)
    assert keyless.ask(cursor="*").status_code == 200


def test_the_credits_of_a_day_end_and_come_back(serve):
    server, client = serve(WORKS, daily_credits=3)
    headers = client.ask().headers
    reset = int(headers["X-RateLimit-Reset"])
    assert 0 < reset <= 86_400
    assert {
        name: value for name, value in headers.items() if name.startswith("X-RateLimit") and "Reset" not in name
    } == {
        "X-RateLimit-Limit-USD": "0.0003",
        "X-RateLimit-Remaining-USD": "0.0002",
        "X-RateLimit-Prepaid-Remaining-USD": "0",
        "X-RateLimit-Cost-USD": "0.0001",
        "X-RateLimit-Limit": "3",
        "X-RateLimit-Remaining": "2",
        "X-RateLimit-Onetime-Remaining": "0",
        "X-RateLimit-Credits-Used": "1",
    }
    assert message(client.ask(search="maps")).startswith(
        "Insufficient budget. This request costs $0.001 but you only have $0.0002 remaining. Resets at midnight UTC."
    )
    client.ask()
    client.ask()
    refused = client.ask()
    assert refused.status_code == 429
    assert refused.headers["X-RateLimit-Credits-Required"] == "1"
    assert "X-RateLimit-Credits-Used" not in refused.headers
    assert abs(int(refused.headers["Retry-After"]) - reset) < 60
    assert client.ask("/works/W1").status_code == 200  # free, so it goes on
    limits = client.ask("/rate-limit").json()
    assert limits["api_key"] == "sec...est"
    assert limits["rate_limit"].items() >= {"credits_limit": 3, "credits_used": 3, "credits_remaining": 0}.items()
    assert limits["rate_limit"]["endpoint_costs_usd"]["search"] == 0.001
    server.new_day()
    assert (server.credits_used, client.ask().status_code) == (0, 200)


def test_a_cap_on_requests_per_second(serve):
    _, client = serve(WORKS, per_second=5)
    answers = [client.ask("/works/W1") for _ in range(20)]
    assert [answer.status_code for answer in answers[:5]] == [200] * 5
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.headers["Retry-After"] == "1"
    assert message(refused) == "Rate limit exceeded: 5 requests per second. Please slow down."
    time.sleep(0.3)
    assert client.ask("/works/W1").status_code == 200


def test_errors_and_headers_are_those_recorded(shared, serve):
    def recorded(name):
        text = gzip.decompress((shared / "openalex" / "http" / f"{name}.yml.gz").read_bytes()).decode()
        return re.search(r'\{"error".*\}', text)[0], set(
            re.findall(r"^ {6}(x-ratelimit-[a-z-]+|access-control-[a-z-]+):", text, re.M)
        )

    _, client = serve()
    _, stranger = serve(key="wrong")
    for name, answer in {
        "opt_select_fields": client.ask("/works/W1775749144", select="DOESNTEXIST"),
        "pro_rate_limit_status_401": stranger.ask("/rate-limit"),
    }.items():
        body, headers = recorded(name)
        assert answer.text == body
        assert headers == {key.lower() for key in answer.headers if key.lower().startswith(("x-rate", "access-"))}


def test_bodies_are_packed_for_who_can_unpack(serve):
    _, client = serve(WORKS)
    assert client.ask().headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in client.ask(select="id").headers
    plain = client.get(f"{client.url}/works", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    assert plain.json()["results"] == client.ask().json()["results"]
    head = client.head(f"{client.url}/works")
    assert (head.status_code, head.content, "Content-Length" in head.headers) == (200, b"", False)


def test_many_clients_at_once(serve):
    server, _ = serve([work(n) for n in range(1, 101)])
    found = []

    def harvest():
        with Client(server) as client:
            found.append([row["id"] for page in client.pages(per_page=10) for row in page["results"]])

    threads = [threading.Thread(target=harvest) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert {tuple(ids) for ids in found} == {tuple(sorted(f"{URL}W{n}" for n in range(1, 101)))}
    assert server.credits_used == len(server.calls) == 8 * 11
