"""What the replay of the OpenAlex API answers: pages of lists and their order, groups, single works."""

from __future__ import annotations

import base64
import json

from tests.factory import URL, author, work
from tests.replay.client import WORKS, message

EMBL = [author("DE") for _ in range(120)]


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


def test_groups_are_counted_and_paged(serve):
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
