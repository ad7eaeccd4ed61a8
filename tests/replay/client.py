"""A client of the replay, and the works that most of its tests serve."""

from __future__ import annotations

import requests

from tests.factory import author, work
from tests.replay.server import KEY


class Client(requests.Session):
    """Asks a server, with its key unless another or none is given."""

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


def message(answer):
    """The words of a refusal."""
    return answer.json()["message"]


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
