"""The replay of the OpenAlex API answers as the service does: held to its public client and its recorded bodies."""

from __future__ import annotations

import base64
import gzip
import json
import re
import threading
import time
from collections import Counter
from urllib.parse import urlunparse

import pyalex
import pytest
import requests

from tests.factory import URL, author, work
from tests.replay import ALL_KINDS, Faults, ReplayServer

KEY = "secret-key-of-a-test"
EMBL = [author("DE") for _ in range(120)]


class Client(requests.Session):
    def __init__(self, server, key=KEY):
        super().__init__()
        self.url = server.url
        if key is not None:
            self.headers["Authorization"] = f"Bearer {key}"

    def ask(self, path="/works", **params):
        return self.get(self.url + path, params=params, allow_redirects=False)

    def ids(self, **params):
        answer = self.ask(**{"per-page": 200} | params)
        assert answer.status_code == 200, answer.text
        return [int(row["id"].rsplit("/W")[1]) for row in answer.json()["results"]]

    def pages(self, **params):
        cursor = "*"
        while cursor:
            body = self.ask(**params, cursor=cursor).json()
            cursor = body["meta"]["next_cursor"]
            yield body


@pytest.fixture
def serve():
    """Makes servers with clients; all are closed afterwards."""
    opened = []

    def make(works=(), key=KEY, **more):
        server = ReplayServer(works, **more).__enter__()
        opened.append((server, client := Client(server, key)))
        return server, client

    yield make
    for server, client in opened:
        client.close()
        server.__exit__(None, None, None)


@pytest.fixture
def openalex(serve, monkeypatch):
    """pyalex against a server: it has the service's host written into it."""

    def make(works, **more):
        server, _ = serve(works, **more)
        host = server.url.removeprefix("http://")
        monkeypatch.setattr(pyalex.api, "urlunparse", lambda parts: urlunparse(("http", host, *parts[2:])))
        monkeypatch.setitem(pyalex.config, "api_key", KEY)
        return server

    return make


def message(answer):
    return answer.json()["message"]


# The public client


def test_pyalex_pages_filters_selects_and_gets(openalex):
    server = openalex([work(n, publication_year=2020 + n % 2, doi=f"https://doi.org/10.1/{n}") for n in range(1, 26)])
    pages = list(pyalex.Works().filter(publication_year=2020).paginate(per_page=5))
    assert [len(page) for page in pages] == [5, 5, 2]
    assert {row["id"] for page in pages for row in page} == {f"{URL}W{n}" for n in range(2, 26, 2)}
    assert [len(page) for page in pyalex.Works().paginate(method="page", per_page=10)] == [10, 10, 5, 0]
    assert pyalex.Works().filter_or(openalex=["W1", "W7", "W99"]).count() == 2
    assert (
        pyalex.Works().filter(primary_topic={"subfield": {"id": "1702"}}).filter_gt(publication_year=2020).count() == 13
    )
    assert pyalex.Works().select(["id", "doi"]).get(per_page=1)[0].keys() == {"id", "doi"}
    assert pyalex.Works()["W3"]["authorships"] == pyalex.Works()["https://doi.org/10.1/3"]["authorships"]
    assert pyalex.Works().group_by("publication_year").get()[0]["count"] == 13
    assert {call.headers["authorization"] for call in server.calls} == {f"Bearer {KEY}"}
    with pytest.raises(pyalex.api.QueryError, match=r"^wrong is not a valid field\. Valid fields are underscore"):
        pyalex.Works().filter(wrong=1).get()


def test_real_works_are_served(shared, openalex):
    newest = {}
    for part in (shared / "openalex" / "snapshot" / "data" / "jsonl" / "works").glob("updated_date=*/*.gz"):
        for line in gzip.decompress(part.read_bytes()).splitlines():
            record = json.loads(line)
            known = newest.get(record["id"])
            if known is None or known["updated_date"] <= record["updated_date"]:
                newest[record["id"]] = record
    openalex(newest.values())
    pages = list(pyalex.Works().sort(publication_date="asc").paginate(per_page=200, n_max=None))
    served = {row["id"]: dict(row) for page in pages for row in page}
    assert len(newest) == pages[0].meta["count"] == sum(map(len, pages)) == 968
    assert served == newest
    dates = [row["publication_date"] for page in pages for row in page]
    assert dates == sorted(dates)
    groups = pyalex.Works().group_by("type").get(per_page=200)
    assert {group["key_display_name"]: group["count"] for group in groups} == Counter(
        w["type"] for w in newest.values()
    )


# Lists


WORKS = [
    work(1, publication_date="2020-01-01", cited_by_count=5, doi="https://doi.org/10.1/ABC", is_retracted=True),
    work(2, publication_date="2020-06-30", cited_by_count=50, language=None, referenced_works=[], type="preprint"),
    work(3, [author("FR")] * 3, publication_year=2021, publication_date="2021-01-01", cited_by_count=7),
    work(4, publication_year=2022, primary_topic=None, topics=[], updated="2026-02-03T04:05:06.789"),
    work(5, [author("DE")], publication_year=2023, abstract_inverted_index={"a": [0]}, title="Deep learning of maps"),
]
for each in WORKS:
    each["authorships"] = [a | {"countries": [a["institutions"][0]["country_code"]]} for a in each["authorships"]]
    each["open_access"] = {"is_oa": each["id"].endswith("5")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("primary_topic.id:T10028", {1, 2, 3, 5}),
        ("primary_topic.id:https://openalex.org/T10028", {1, 2, 3, 5}),
        ("primary_topic.id:null", {4}),
        ("topics.id:t10028|T99", {1, 2, 3, 5}),
        ("topics.id:!T10028", {4}),
        ("primary_topic.subfield.id:1702", {1, 2, 3, 5}),
        ("primary_topic.subfield.id:https://openalex.org/subfields/1702", {1, 2, 3, 5}),
        ("primary-topic.subfield.id:!1702|1703", {4}),
        ("openalex:W1|https://openalex.org/W2|3", {1, 2, 3}),
        ("ids.openalex:W1", {1}),
        ("openalex_id:!W1|W2", {3, 4, 5}),
        ("doi:10.1/abc", {1}),
        ("doi:https://doi.org/10.1/Abc|10.1/x", {1}),
        ("has_doi:false", {2, 3, 4, 5}),
        ("publication_date:2020-06-30", {2}),
        ("from_publication_date:2020-06-30,to_publication_date:2021-01-01", {2, 3}),
        ("publication_date:<2020-05-05", {1}),
        ("publication_date:>2020-06-30", {3}),
        ("publication_year:2020", {1, 2}),
        ("publication_year:2020-2021", {1, 2, 3}),
        ("publication_year:!2020-2021", {4, 5}),
        ("publication_year:-2020", {1, 2}),
        ("publication_year:2022-", {4, 5}),
        ("publication_year:2020|2023", {1, 2, 5}),
        ("publication_year:>2021", {4, 5}),
        ("type:types/preprint", {2}),
        ("type:!article", {2}),
        ("language:null", {2}),
        ("language:EN", {1, 3, 4, 5}),
        ("is_retracted:true", {1}),
        ("has_references:false", {2}),
        ("has_abstract:true", {5}),
        ("is_oa:true,is_retracted:!null", {5}),
        ("cited_by_count:<6", {1, 4, 5}),
        ("cited_by_count:7", {3}),
        ("authors_count:3", {3}),
        ("authorships.countries:fr|DE", {3, 5}),
        ("authorships.countries:US CN", {1, 2, 4}),
        ("authorships.countries:!US", {3, 5}),
        ('type:"article"', {1, 3, 4, 5}),
        ("title.search:LEARNING maps", {5}),
    ],
)
def test_filters(serve, text, expected):
    _, client = serve(WORKS)
    assert set(client.ids(filter=text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from_updated_date:2026-02-03", {4}),
        ("from_updated_date:2026-02-03T04:05:07", set()),
        ("to_updated_date:2026-02-03", {1, 2, 3, 4, 5}),
        ("updated_date:>2026-01-01", {4}),
        ("updated_date:2026-02-03", {4}),
    ],
)
def test_dates_of_update_are_for_paying_plans(serve, text, expected):
    _, paying = serve(WORKS, plan="premium")
    assert set(paying.ids(filter=text)) == expected
    assert paying.ids(sort="updated_date:desc")[0] == 4
    _, free = serve(WORKS)
    refused = free.ask(filter=text)
    assert (refused.status_code, refused.json()["error"]) == (429, "Plan upgrade required")
    assert message(refused) == (
        f'The "{text[: text.index("-") + 6]}" filter requires a Premium, Institutional, or Partner plan. '
        "See https://openalex.org/pricing for details."
    )
    assert "Retry-After" not in refused.headers
    assert message(free.ask(sort="updated_date:desc")).startswith('Sorting by "updated_date:desc" requires')


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"filter": "DOESNTEXIST:1"}, "DOESNTEXIST is not a valid field. Valid fields are underscore or hyphenated"),
        (
            {"select": "id,DOESNTEXIST"},
            "DOESNTEXIST is not a valid select field. Valid fields for select are: id, doi,",
        ),
        ({"unknown": "1"}, "unknown is not a valid parameter. Valid parameters are: "),
        ({"filter": "from_publication_date:2020-02-30"}, "Value for param from_publication_date is an invalid date. "),
        ({"filter": "publication_date:2020-01-01-2020-02-01"}, "Value for param publication_date is an invalid date. "),
        (
            {"filter": "openalex:" + "|".join(f"W{n}" for n in range(101))},
            "Maximum number of values exceeded for opena",
        ),
        ({"filter": "openalex:wrong"}, "'wrong' is not a valid OpenAlex ID."),
        ({"filter": "publication_year:new"}, "Value for param publication_year must be a number."),
        ({"filter": "has_doi:maybe"}, "Value for has_doi must be true or false, not maybe."),
        ({"filter": "type:"}, "Invalid filter value for 'type': value cannot be empty or ''."),
        ({"filter": "type:a|!b"}, "The ! operator can only be used at the beginning of an OR query"),
        ({"sort": "wrong"}, "wrong is not a valid field."),
        ({"group_by": "cited_by_count"}, "Cannot group by date, number, or search fields."),
        ({"group_by": "type", "select": "id"}, "select does not work with group_by."),
    ],
)
def test_wrong_parameters(serve, params, expected):
    server, client = serve(WORKS)
    answer = client.ask(**params)
    assert (answer.status_code, answer.json()["error"]) == (400, "Invalid query parameters error.")
    assert message(answer).startswith(expected)
    assert server.credits_used == 1  # paid for, as recorded


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"page": 101, "per-page": 100}, "Maximum results size of 10,000 records is exceeded. Cursor pagination is re"),
        ({"per_page": 201}, "per-page parameter must be between 1 and 200."),
        ({"page": 0}, "Page parameter must be greater than 0."),
        ({"page": 2, "cursor": "*"}, "Cannot use page parameter with cursor."),
        ({"cursor": "null"}, "Cursor is null. Likely reached end of results."),
        ({"cursor": "wrong"}, "Invalid cursor value"),
        ({"cursor": base64.b64encode(b'"[1]"').decode()}, "Cursor value is invalid."),
    ],
)
def test_wrong_pages(serve, params, expected):
    _, client = serve(WORKS)
    answer = client.ask(**params)
    assert (answer.status_code, answer.json()["error"]) == (400, "Pagination error.")
    assert message(answer).startswith(expected)


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"limit": 5}, "limit_param"),
        ({"filter": "type:a,b"}, "raw_comma_filter"),
        ({"filter": "type:" + "a" * 8190}, None),
    ],
)
def test_the_edge_refuses_before_the_origin(serve, params, reason):
    _, client = serve(WORKS)
    answer = client.ask(**params)
    assert answer.status_code == 400
    assert answer.headers.get("x-openalex-edge-reject") == (f"f1:{reason}" if reason else None)
    assert answer.json().get("error_source") == ("openalex-api-proxy" if reason else None)


def test_the_envelope_and_the_default_order(serve):
    ranked = [work(1), work(2, cited_by_count=9), work(3, cited_by_percentile_year={"min": 1, "max": 2}), work(10)]
    _, client = serve(ranked)
    answer = client.ask(per_page=4)
    assert [row["id"][-2:] for row in answer.json()["results"]] == ["W3", "W2", "W1", "10"]
    meta = answer.json()["meta"]
    assert list(meta) == ["count", "db_response_time_ms", "page", "per_page", "groups_count", "cost_usd"]
    assert meta | {"db_response_time_ms": 0} == {
        "count": 4,
        "db_response_time_ms": 0,
        "page": 1,
        "per_page": 4,
        "groups_count": None,
        "cost_usd": 0.0001,
    }
    assert list(answer.json()) == ["meta", "results", "group_by"]
    assert client.ids(sort="cited_by_count:desc,publication_date") == [2, 3, 1, 10]
    assert client.ids(page=2, **{"per-page": 3}) == [10]
    expansion = work(7, is_xpac=True)
    _, client = serve([*ranked, expansion])
    assert 7 not in client.ids()
    assert client.ids(corpus="expansion") == [7]
    assert 7 in client.ids(include_xpac="true")


def test_a_cursor_holds_the_sort_values_of_the_last_hit(serve):
    _, client = serve([work(2488499764, publication_date="2020-12-31"), work(8, publication_date="2021-01-01")])
    cursor = client.ask(sort="publication_date", cursor="*", per_page=1).json()["meta"]["next_cursor"]
    shape = "[1609372800000, '-Infinity', 1, 'https://openalex.org/W2488499764']"
    assert json.loads(base64.b64decode(cursor)) == shape
    assert client.ids(sort="publication_date", cursor=cursor) == [8]
    recorded = "IlsnLUluZmluaXR5JywgMCwgJ2h0dHBzOi8vb3BlbmFsZXgub3JnL1czMDQ1OTIxODkxJ10i"
    _, client = serve([work(3045921891, cited_by_count=0)])
    assert client.ask(cursor="*", per_page=1).json()["meta"]["next_cursor"] == recorded


def test_an_exact_multiple_ends_with_an_empty_page(serve):
    _, client = serve([work(n) for n in range(1, 7)])
    assert [len(page["results"]) for page in client.pages(per_page=3)] == [3, 3, 0]
    assert [len(page["results"]) for page in client.pages(per_page=4)] == [4, 2]
    assert [page["meta"]["page"] for page in client.pages(per_page=4)] == [None, None]
    assert [page["results"] for page in client.pages(filter="type:letter")] == [[]]


def test_missing_values_come_last_either_way(serve):
    undated = {"publication_date": None}
    _, client = serve([work(1, **undated), work(2, **undated), work(3), work(4, publication_date="2021-01-01")])
    for sort, expected in {"publication_date": [3, 4, 1, 2], "publication_date:desc": [4, 3, 1, 2]}.items():
        rows = [row["id"][-1] for page in client.pages(sort=sort, per_page=1) for row in page["results"]]
        assert rows == [str(number) for number in expected]


def test_records_updated_between_pages_are_skipped_or_come_twice(serve):
    server, client = serve([work(n, publication_date=f"2020-01-0{n}") for n in range(1, 7)])

    def update(call):
        if len(server.calls) == 2:
            server.put(work(1, publication_date="2020-01-09"))  # read already, and now behind the cursor's place
            server.put(work(5, publication_date="2020-01-01"))  # not read yet, and now before it
            server.remove(6)

    server.before = update
    pages = list(client.pages(sort="publication_date", per_page=2))
    assert [[row["id"][-1] for row in page["results"]] for page in pages] == [["1", "2"], ["3", "4"], ["1"]]
    assert [page["meta"]["count"] for page in pages] == [6, 5, 5]


def test_groups(serve):
    _, client = serve(WORKS)
    kinds = client.ask(group_by="type").json()
    assert list(kinds) == ["meta", "group_by"]
    assert kinds["meta"]["groups_count"] == 2
    assert kinds["group_by"][0] == {"key": f"{URL}types/article", "key_display_name": "article", "count": 4}
    countries = client.ask(**{"group-by": "authorships.countries"}).json()["group_by"]
    assert [(row["key"][-2:], row["count"]) for row in countries] == [("CN", 3), ("US", 3), ("DE", 1), ("FR", 1)]
    topics = client.ask(group_by="primary_topic.id:include_unknown").json()["group_by"]
    assert [(row["key"], row["count"]) for row in topics] == [(f"{URL}T10028", 4), ("unknown", 1)]
    pages = list(client.pages(group_by="publication_year", per_page=3))
    assert [[row["key"] for row in page["group_by"]] for page in pages] == [["2020", "2021", "2022"], ["2023"], []]
    assert base64.b64decode(pages[1]["meta"]["next_cursor"]) == b'"2023"'


def test_a_search_costs_ten(serve):
    server, client = serve(WORKS)
    answer = client.ask(search="MAPS deep")
    assert [row["id"][-1] for row in answer.json()["results"]] == ["5"]
    assert answer.json()["meta"]["cost_usd"] == 0.001
    assert server.credits_used == 10
    assert client.ask(sample=3).status_code == 501  # known to the service and not to the replay: loud


# Single works


def test_lists_cut_authors_and_single_works_do_not(serve):
    server, client = serve([work(1, EMBL), work(2)])
    lists = [client.ask().json(), client.ask(select="id,authorships").json()]
    assert [len(row["authorships"]) for body in lists for row in body["results"]] == [100, 2, 100, 2]
    assert len(client.ask("/works/W1").json()["authorships"]) == 120
    single = client.ask("/works/W1", select="authorships,doi", unknown="is ignored")
    assert {name: len(value or "") for name, value in single.json().items()} == {"doi": 0, "authorships": 120}
    assert [call.credits for call in server.calls] == [1, 1, 0, 0]


def test_names_of_a_single_work(serve):
    server, client = serve([work(1), work(2, doi="https://doi.org/10.1/a(b)/c")])
    for name in ("w1", "1", "https://openalex.org/W1", "openalex:W1"):
        answer = client.ask(f"/works/{name}", select="id")
        assert (answer.status_code, answer.headers["Location"]) == (302, "/works/W1?select=id")
    for name in ("doi:10.1/A(b)/c", "https://doi.org/10.1/a(b)/c"):
        assert client.ask(f"/works/{name}").json()["id"] == f"{URL}W2"
    server.merge(1, into=2)
    assert client.ask("/works/W1").headers["Location"] == "/works/W2"
    assert client.get(f"{server.url}/works/W1").json()["id"] == f"{URL}W2"
    assert client.ids() == [2]
    server.remove(2)
    for name in ("W2", "doi:10.1/a(b)/c", "nonsense"):
        answer = client.ask(f"/works/{name}")
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
        assert "<title>404 Not Found</title>" in answer.text
    assert message(client.ask("/works/W2", select="wrong")).startswith("wrong is not a valid select field.")
    assert server.credits_used == 1  # of the one list


# Keys, credits, headers


def test_keys(serve):
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


def test_credits_of_a_day(serve):
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


# Faults


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
