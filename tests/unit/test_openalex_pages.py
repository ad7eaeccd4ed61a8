"""A window on its way into a folder, from a client in plain Python that counts and fails as it is told."""

from __future__ import annotations

import json
from datetime import date

import msgspec
import pytest
from isal import igzip

from schemas.errors import QuestionRefused, SourceUnavailable
from tasks.sources.openalex_api import Query, Window
from tasks.sources.openalex_client import Meta, Page
from tasks.sources.openalex_pages import MOST_SKIPPED, WindowFetch, blocks_of
from tests.factory import author, work

MONTH = Window("2026-01", "newest dates", date(2026, 1, 1), date(2026, 1, 31))
LISTED = Window(*("2026-01", "newest dates", date(2026, 1, 1), date(2026, 1, 31)), was_seen=True)
CUT = [author("US")] * 100
HALVES = {"has_doi": "doi", "has_references": "referenced_works", "has_abstract": "abstract_inverted_index"}


def on(day: int, number: int, **more):
    return work(number, publication_date=f"2026-01-{day:02}", **more)


class Client:
    """Lists works by their dates, a page at a time, for a credit each.

    `said` and `held_back` hold, for the calls to come, how many works more than there are it says, and how many of a
    page's it does not show.
    """

    def __init__(self, works, page=100, said=(), held_back=(), failing=(), merged=()) -> None:
        self.works, self.page, self.spent = {record["id"]: record for record in works}, page, 0
        self.said, self.held_back = list(said), list(held_back)
        self.failing, self.merged, self.calls = set(failing), dict(merged), []
        self.refused, self.age = set(), ""

    def list_works(self, query, *, cursor=None, select=None):
        self.calls.append((query, cursor))
        if cursor in self.refused:
            raise QuestionRefused("this cursor is none", "")
        self.spent += 1
        asked = dict(part.split(":", 1) for part in query.split(","))
        if "ids.openalex" in asked:
            ids = [f"https://openalex.org/{number}" for number in asked["ids.openalex"].split("|")]
            admitted = [self.works[one] for one in ids if one in self.works]
        else:
            first, last = asked["from_publication_date"], asked["to_publication_date"]
            admitted = [one for one in self.works.values() if first <= one["publication_date"] <= last]
            for name in HALVES.keys() & asked:
                admitted = [one for one in admitted if bool(one[HALVES[name]]) == (asked[name] == "true")]
        at = int((cursor or "*").split("-")[0].replace("*", "0"))
        shown = admitted[at : at + self.page]
        rest = f"{at + self.page}-{self.age}" if cursor and at + self.page < len(admitted) else None
        count = len(admitted) + (self.said.pop(0) if self.said else 0)
        shown = shown[: len(shown) - (self.held_back.pop(0) if self.held_back else 0)]
        fields = select.split(",") if select else None
        results = [{name: one[name] for name in fields or one} for one in shown]
        return Page(Meta(count, rest), [msgspec.Raw(json.dumps(one, indent=1).encode()) for one in results])

    def work(self, number):
        self.calls.append(number)
        if number in self.failing:
            raise SourceUnavailable("answered 500", "")
        found = self.works.get(f"https://openalex.org/W{self.merged.get(number, number)}")
        return json.dumps(found).encode() if found else None


@pytest.fixture
def fetch(tmp_path):
    def run(client, window=MONTH, wanted=(), query=Query("all", "")):  # noqa: B008  (a tuple)
        return WindowFetch(client, client, tmp_path / "window", window, [query]).run(lambda _: wanted)

    return run


def landed(fetched) -> list[str]:
    """Ids of the records as they are landed, one a line."""
    packed = b"".join(block for pages in fetched.pages.values() for block in blocks_of(pages))
    lines = igzip.decompress(packed).splitlines() if packed else []
    return [json.loads(line)["id"].rsplit("/")[-1] for line in lines]


def test_a_window_comes_page_by_page_and_once(fetch):
    client = Client([on(1 + n % 28, n) for n in range(1, 251)])
    for _ in range(2):
        found = fetch(client)
        assert sorted(landed(found)) == sorted(f"W{n}" for n in range(1, 251))
        assert (found.source_records, found.source_listed, found.credits) == (250, 250, 3)
        assert len(client.calls) == 3


def test_a_list_that_ends_early_is_asked_for_again_then_halved_and_what_that_cost_counts(fetch):
    works = [on(day, day) for day in (1, 2, 30)]
    hasty = Client(works, held_back=[1])
    assert (fetch(hasty).credits, len(hasty.calls)) == (2, 2)
    found = fetch(short := Client(works, held_back=[1, 1, 1]), query=Query("other", ""))
    assert sorted(landed(found)) == ["W1", "W2", "W30"]
    assert (found.source_records, found.source_listed) == (3, 3)
    assert found.credits == len(short.calls) == 5
    assert len(fetch(short, query=Query("other", "")).pages["other"]) == 2  # nothing is asked again
    assert len(short.calls) == 5


def test_of_counts_that_differ_between_pages_the_largest_must_be_there(fetch):
    client = Client([on(day, day) for day in (1, 2, 30)], page=2, said=[1])
    assert fetch(client).source_records == 3
    assert {query for query, _ in client.calls} > {"from_publication_date:2026-01-01,to_publication_date:2026-01-31"}


def test_a_source_that_contradicts_itself_about_a_day_fails_its_window(fetch):
    client = Client([on(1, 1)], said=[1] * 999)
    with pytest.raises(SourceUnavailable, match="works and lists"):
        fetch(client)
    with pytest.raises(SourceUnavailable, match="works and lists"):
        fetch(client)
    assert fetch(Client([on(1, 1)])).source_listed == 1


def test_a_damaged_page_is_fetched_again_and_those_behind_another_cursor(fetch, tmp_path):
    client = Client([on(day, day) for day in range(1, 7)], page=2)
    fetch(client)
    first, second, _ = sorted((tmp_path / "window" / "all").glob("*.page"))
    for spoiled, age, asked_again in ((second, "", 1), (first, "later", 3)):
        spoiled.write_bytes(spoiled.read_bytes()[:-9] + b"something")
        client.calls, client.age = [], age
        assert sorted(landed(fetch(client))) == [f"W{n}" for n in range(1, 7)]
        assert len(client.calls) == asked_again


def test_a_cursor_that_is_good_no_more_begins_the_list_anew(fetch, tmp_path):
    client = Client([on(day, day) for day in range(1, 5)], page=2)
    client.refused = {"2-"}
    with pytest.raises(SourceUnavailable, match="begun anew"):
        fetch(client)
    client.refused, client.age, client.calls = set(), "later", []
    assert len(landed(fetch(client))) == 4
    assert [cursor for _, cursor in client.calls] == ["*", "2-later"]


def test_works_whose_authors_cannot_all_be_had_are_left_out_up_to_a_few(fetch):
    works = [on(1, n, authorships=CUT) for n in range(1, 7)]
    found = fetch(Client([*works, on(2, 99)], failing=range(1, MOST_SKIPPED + 1), merged={5: 99}))
    assert sorted(landed(found)) == ["W4", "W6", "W99"]  # the one that is merged into W99 is listed still
    assert (found.left_out, found.absent) == (MOST_SKIPPED + 1, [])
    with pytest.raises(SourceUnavailable):
        fetch(Client(works, failing=range(1, MOST_SKIPPED + 2)), query=Query("other", ""))


def test_stored_works_that_no_list_holds_are_gone_merged_or_left_alone(fetch):
    found = fetch(Client([on(1, 1), on(1, 2)], failing=[7], merged={8: 2}), wanted=[6, 7, 8])
    assert found.absent == [6, 8]
    assert sorted(landed(found)) == ["W1", "W2", "W2"]
    assert found.left_out == 0


def test_works_asked_for_by_id_are_asked_for_again_together_before_one_by_one(fetch):
    client = Client([on(1, 1), on(1, 2)], held_back=[0, 2])
    assert sorted(landed(fetch(client, LISTED, wanted=[1, 2]))) == ["W1", "W2"]
    assert [query for query, _ in client.calls[1:]] == ["ids.openalex:W1|W2"] * 2


def test_pages_of_another_question_are_of_no_use(fetch):
    client = Client([on(1, 1)])
    fetch(client)
    fetch(client, query=Query("all", "type:article"))
    assert len(client.calls) == 2
    assert landed(fetch(client, LISTED, query=Query("all", "type:article"))) == ["W1"]  # whole is more than listed
    assert len(client.calls) == 2


def test_pages_that_only_list_are_of_no_use_for_a_window_that_is_to_be_whole(fetch):
    client = Client([on(1, 1)])
    assert landed(fetch(client, LISTED)) == []
    assert landed(fetch(client)) == ["W1"]


def test_records_without_an_id_are_counted_each(fetch):
    client = Client([on(1, 1), on(1, 2)])
    for number, record in enumerate(client.works.values()):
        record["id"] = f"nonsense {number}"
    found = fetch(client)
    assert (found.source_records, found.source_listed) == (2, 2)
    assert landed(found) == ["nonsense 0", "nonsense 1"]
