"""The replay of the OpenAlex API, held to the public client of the service."""

from __future__ import annotations

from collections import Counter
from urllib.parse import urlunparse

import pyalex
import pytest

from tests.factory import URL, work
from tests.real import WORKS, newest_records
from tests.replay import KEY


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
    newest = {record["id"]: record for record in newest_records(shared)}
    openalex(newest.values())
    pages = list(pyalex.Works().sort(publication_date="asc").paginate(per_page=200, n_max=None))
    served = {row["id"]: dict(row) for page in pages for row in page}
    assert len(newest) == pages[0].meta["count"] == sum(map(len, pages)) == WORKS
    assert served == newest
    dates = [row["publication_date"] for page in pages for row in page]
    assert dates == sorted(dates)
    groups = pyalex.Works().group_by("type").get(per_page=200)
    assert {group["key_display_name"]: group["count"] for group in groups} == Counter(
        w["type"] for w in newest.values()
    )
