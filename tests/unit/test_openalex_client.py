"""What the client makes of every answer OpenAlex gives, recorded and replayed."""

from __future__ import annotations

import gzip
import time
from pathlib import Path
from urllib.parse import unquote

import pytest
import requests
import yaml
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from schemas.errors import BudgetExhausted, PlanRefused, SourceError, SourceUnavailable, UsageError
from schemas.settings import load_settings
from tasks.sources import openalex_client
from tasks.sources.openalex_client import Answer, OpenAlex, ask_allowance, read_key
from tests.factory import author, work
from tests.replay import KEY, Faults

QUICK_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it was built


class Purse:
    """A budget that counts, and believes what the server says is left."""

    def __init__(self, limit: int = 1_000) -> None:
        self.left, self.spent, self.seen = limit, 0, None

    def take(self, credits):
        if self.left < credits or (self.seen is not None and self.seen < credits):
            raise BudgetExhausted("empty")
        self.left -= credits

    def settle(self, taken, spent):
        self.left += taken - spent
        self.spent += spent

    def observe(self, remaining):
        self.seen = remaining


@pytest.fixture
def settings(tmp_path):
    """Settings of a client that neither waits nor is slow; by default of a server that is not there."""

    def make(url="http://127.0.0.1:1", **more):
        quick = {"openalex_wait": 0, "openalex_rate": 50, "openalex_timeout": 5}
        return load_settings(home=tmp_path, openalex_url=url, **({"openalex_api_key": KEY} | quick | more))

    return make


@pytest.fixture
def talk(api, settings):
    """A client to a replay of five works, or those given, with some faults to come."""

    def make(*script, works=(), limit=1_000, **more):
        server = api(works or [work(n) for n in range(1, 6)], faults=Faults(script=script, retry_after=0))
        purse = Purse(limit)
        return OpenAlex(settings(server.url, **more), purse), server, purse

    return make


def ask(client):
    return client.list_works("publication_year:2020", cursor="*")


def test_the_key_is_in_a_header_and_nowhere_else(talk):
    client, server, _ = talk()
    assert ask(client).meta.count == 5
    assert client.work(3)
    assert client.work(99) is None
    for call in server.calls:
        assert call.headers["authorization"] == f"Bearer {KEY}"
        assert KEY not in f"{call.path}{call.params}"


def test_netrc_does_not_replace_the_key(talk, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    client, server, _ = talk()
    ask(client)
    assert server.calls[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "fault",
    ["burst", "throttled", "html_500", "html_503", "json_504", "html_200", "invalid_json", "cut_body", "reset"],
)
def test_what_passes_is_tried_again(talk, fault):
    client, server, purse = talk(fault, fault)
    assert [len(page.results) for page in (ask(client), ask(client))] == [5, 5]
    assert len(server.calls) == 4
    assert purse.left + purse.spent == 1_000
    assert purse.spent >= 2


@pytest.mark.parametrize("fault", ["burst", "html_500", "html_200", "cut_body", "reset"])
def test_attempts_are_bounded(talk, fault):
    client, server, _ = talk(*[fault] * 9, openalex_attempts=3)
    with pytest.raises(SourceUnavailable) as caught:
        ask(client)
    assert len(server.calls) == 3
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_slow_answer_is_given_up_and_tried_again(talk):
    client, server, _ = talk("slow", openalex_timeout=0.3)
    assert ask(client).meta.count == 5
    assert len(server.calls) == 2


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("budget", BudgetExhausted, "Insufficient budget.*after midnight UTC"),
        ("plan", PlanRefused, "requires a Premium.*COLLAB_OPENALEX_SYNC=publication"),
        ("unauthorized", SourceError, "API key not found.*COLLAB_OPENALEX_API_KEY"),
    ],
)
def test_what_does_not_pass_is_never_tried_again(talk, fault, error, words):
    client, server, purse = talk(fault, fault)
    with pytest.raises(error, match=words) as caught:
        ask(client)
    assert not isinstance(caught.value, SourceUnavailable)
    assert len(server.calls) == 1
    assert purse.seen == (0 if fault == "budget" else None)


def test_a_burst_is_not_taken_for_an_empty_budget(talk):
    client, _, purse = talk("burst")  # it says that nothing remains
    ask(client)
    assert purse.seen == 9_999


def test_a_question_that_is_wrong_fails_with_the_words_of_the_server(talk):
    client, server, _ = talk()
    with pytest.raises(SourceError, match=r"refused \(400\): nonsense is not a valid field"):
        client.list_works("nonsense:1")
    assert len(server.calls) == 1


def test_nothing_is_asked_without_credits(talk):
    client, server, _ = talk(limit=1)
    ask(client)
    with pytest.raises(BudgetExhausted):
        ask(client)
    assert client.work(1)  # costs nothing
    assert len(server.calls) == 2


def test_a_single_has_all_its_authors_and_a_merged_work_comes_under_its_new_id(talk):
    client, server, _ = talk(works=[work(1, [author("US")] * 120), work(2)])
    assert ask(client).results[0] != client.work(1)
    assert client.work(1).count(b'"author_position"') == 120
    server.merge(1, 2)
    assert b"openalex.org/W2" in client.work(1)


def test_the_allowance_costs_nothing(talk, settings):
    client, server, _ = talk()
    ask(client)
    told = client.allowance()
    assert (told.limit, told.remaining) == (10_000, 9_999)
    assert ask_allowance(settings(server.url)) == told


def test_requests_keep_their_distance(talk):
    client, _, _ = talk(openalex_rate=20)
    began = time.monotonic()
    for _ in range(5):
        client.work(1)
    assert time.monotonic() - began >= 4 / 20  # a lower bound: no slow machine breaks it


@pytest.mark.parametrize("key", [None, "", "  ", "two words", "ключ", "line\nbreak"])
def test_no_key_and_what_is_none_are_said(settings, key):
    values = settings().model_dump() | {"openalex_api_key": key}
    with pytest.raises(UsageError, match="COLLAB_OPENALEX_API_KEY"):
        read_key(load_settings(**values))


@pytest.mark.parametrize(
    "url",
    ["http://api.openalex.org", "https://a@b/", "ftp://x", "https://x/?api_key=1", "nonsense", "https://x/#y"],
)
def test_addresses_that_would_show_the_key_are_refused(settings, url):
    with pytest.raises(UsageError, match="COLLAB_OPENALEX_URL"):
        settings(url)


class Transport(BaseAdapter):
    """Answers with what was recorded or made up, and remembers what was asked."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__()
        self.answers, self.asked = list(answers), []

    def send(self, request, **_):
        self.asked.append(request)
        given = self.answers.pop(0)
        if isinstance(given, Exception):
            raise given
        response = requests.Response()
        response.status_code, response.request, response.url = given.status, request, request.url
        response.headers = CaseInsensitiveDict(given.headers)
        response._content = given.body
        response._content_consumed = True
        return response

    def close(self):
        pass


def client_of(settings, *answers, **more):
    session, transport = requests.Session(), Transport(*answers)
    session.mount("http://", transport)
    return OpenAlex(settings(**more), Purse(), session), transport


class Clock:
    """Stands in for the module `time`: sleeping takes no time, and is remembered."""

    def __init__(self) -> None:
        self.now, self.slept = 1_000.0, []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.slept.append(round(seconds, 3))


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(openalex_client, "time", made)
    return made


GOOD = Answer(200, {}, b'{"id": "https://openalex.org/W1"}')
TOO_FAST = b'{"error": "Too many requests", "message": "it requires patience"}'


def test_the_pace_is_halved_after_a_complaint_and_recovers(settings, clock):
    client, _ = client_of(settings, Answer(429, {"Retry-After": "0"}, TOO_FAST), *[GOOD] * 30, openalex_rate=10)
    for _ in range(30):
        client.work(1)
    paces = [pause for pause in clock.slept if pause]
    assert paces[0] == 0.2
    assert paces == sorted(paces, reverse=True)
    assert paces[-1] == 0.1


@pytest.mark.parametrize(
    ("status", "asked_for", "pause"), [(429, "7", 7), (429, "600", 120), (503, "7", 7), (503, "600", 0), (408, "7", 7)]
)
def test_the_server_says_how_long_to_wait_within_bounds(settings, clock, status, asked_for, pause):
    client, _ = client_of(settings, Answer(status, {"Retry-After": asked_for}, TOO_FAST), GOOD, openalex_rate=50)
    client.work(1)
    assert max(clock.slept) == pytest.approx(pause, abs=0.05)


def test_who_is_to_wait_for_hours_has_used_up_the_day(settings):
    client, transport = client_of(settings, Answer(429, {"Retry-After": "7200"}, b"{}"))
    with pytest.raises(BudgetExhausted):
        client.work(1)
    assert len(transport.asked) == 1


@pytest.mark.parametrize(
    ("answer", "spent"),
    [
        (Answer(500, {}, b""), 1),
        (Answer(500, {"X-RateLimit-Credits-Used": "3"}, b""), 3),
        (Answer(403, {}, b""), 0),
        (Answer(302, {"Location": "https://["}, b""), 1),  # which surfaces as a plain ValueError
        (requests.ConnectionError("reset"), 1),  # it may have been charged all the same
    ],
)
def test_what_may_have_been_charged_counts_as_spent(settings, answer, spent):
    client, _ = client_of(settings, answer, openalex_attempts=1)
    with pytest.raises(SourceError):
        ask(client)
    assert client._budget.spent == spent


@pytest.mark.parametrize("body", [b"<html>", b'{"message": "busy"}', b""])
def test_a_good_answer_that_is_no_work_is_neither_a_work_nor_a_sign_that_it_is_gone(settings, body):
    client, _ = client_of(settings, Answer(200, {}, body), GOOD)
    assert client.work(1) == GOOD.body


def test_an_answer_without_end_or_too_slow_is_given_up(settings, clock, monkeypatch):
    client, _ = client_of(settings, GOOD, openalex_attempts=1)
    with monkeypatch.context() as patched, pytest.raises(SourceUnavailable, match="larger than 10 bytes"):
        patched.setattr(openalex_client, "LARGEST_ANSWER", 10)
        client.work(1)
    client, transport = client_of(settings, GOOD, openalex_attempts=1)
    monkeypatch.setattr(clock, "monotonic", lambda: len(transport.asked) * 51.0)  # a timeout is 5 s
    with pytest.raises(SourceUnavailable, match="too slowly"):
        client.work(1)


def test_a_redirect_at_the_same_address_is_followed(settings):
    client, transport = client_of(settings, Answer(301, {"Location": "/works/W2"}, b""), GOOD)
    assert client.work(1) == GOOD.body
    assert [request.path_url for request in transport.asked] == ["/works/W1", "/works/W2"]
    assert "Authorization" in transport.asked[1].headers


@pytest.mark.parametrize(
    "location",
    ["https://elsewhere.example/works/W1", "//elsewhere.example/", "file:///etc/x", "https://127.0.0.1:1/works/W1"],
)
def test_the_key_follows_no_redirect_to_elsewhere(settings, location):
    client, transport = client_of(settings, Answer(302, {"Location": location}, b""))
    with pytest.raises(SourceError, match="COLLAB_OPENALEX_URL"):
        client.work(1)
    assert len(transport.asked) == 1


@pytest.mark.parametrize("shown", [KEY, "se/cret+key", "se%2Fcret%2Bkey"])
def test_a_key_that_the_server_repeats_is_masked(settings, shown):
    said = f'{{"error":"x","message":"key {shown} is \\u001b[31m bad\\nsecond line {"x" * 900}"}}'.encode()
    client, _ = client_of(settings, Answer(403, {}, said), openalex_api_key=unquote(shown))
    with pytest.raises(SourceError) as caught:
        ask(client)
    text = str(caught.value)
    assert shown not in text
    assert "***" in text
    assert text.isprintable()
    assert len(text) < 500


def recorded(shared: Path) -> list[tuple[str, str, Answer]]:
    """(file, address asked, answer) of every recorded conversation."""
    found = []
    for file in sorted((shared / "openalex" / "http").glob("*.yml.gz")):
        cassette = yaml.load(gzip.decompress(file.read_bytes()), Loader=QUICK_YAML)
        for spoken in cassette["http_interactions"]:
            answer = spoken["response"]
            headers = {name: value if isinstance(value, str) else value[0] for name, value in answer["headers"].items()}
            status = answer["status"]["code"] if isinstance(answer["status"], dict) else answer["status"]
            body = answer["body"]["string"]
            body = body if isinstance(body, bytes) else body.encode()
            found.append((file.name, spoken["request"]["uri"], Answer(int(status), headers, body)))
    return found


def test_every_recorded_conversation_is_understood(settings, shared):
    """Lists, counts, groups, singles, allowances and refusals as api.openalex.org gave them in 2026."""
    kinds = set()
    for file, uri, answer in recorded(shared):
        client, transport = client_of(settings, answer)
        path = uri.split("api.openalex.org", 1)[-1].split("?")[0]
        if answer.status != 200:
            with pytest.raises(SourceError) as caught:
                ask(client)
            assert not isinstance(caught.value, SourceUnavailable), file
            words = answer.body.decode().split('"message":"')[1][:40]
            assert words.split('"')[0] in str(caught.value)
            kinds.add(answer.status)
        elif path == "/rate-limit":
            assert client.allowance() == (10_000, 9_980)
            kinds.add("allowance")
        elif path.startswith("/works/"):
            assert client.work(1) == answer.body
            kinds.add("single")
        elif "group_by" in uri:
            assert client.count("") > 0
            kinds.add("groups")
        else:
            page = ask(client)
            assert page.meta.count >= len(page.results)
            remaining = CaseInsensitiveDict(answer.headers).get("x-ratelimit-remaining")
            assert client._budget.seen == (None if remaining is None else int(remaining))
            kinds.add("list")
        assert transport.asked[0].headers["Authorization"] == f"Bearer {KEY}"
    assert kinds == {"list", "groups", "single", "allowance", 400, 401}
