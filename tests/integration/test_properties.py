"""Any order and grouping of arrivals ends in the same tables, and the tables are always what a rebuild would say."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from schemas.settings import load_settings
from tasks.landing.land import WORKS
from tasks.staging.derive import Deriver
from tasks.staging.workers import LocalWorkers
from tasks.storage.warehouse import Warehouse
from tests.arrivals import DAYS, MALFORMED, TEAMS, Arrival, arrange, deletions, papers, take_in, versions
from tests.factory import URL, contents, line, prove, work


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Arrival], list[list[Arrival]]]:
    """The same records once in one piece (works, then deletions), and in two other orders and groupings; with up to
    two venue lists."""
    brought = st.tuples(st.lists(papers, min_size=1, max_size=4), st.sampled_from(DAYS))
    lists = [
        Arrival(WORKS, tuple(lines), datetime.fromisoformat(day))
        for lines, day in draw(st.lists(brought, max_size=2, unique_by=lambda one: one[1]))
    ]
    works = draw(st.lists(versions, min_size=1, max_size=8)) + draw(st.lists(st.sampled_from(MALFORMED), max_size=2))
    gone = draw(st.lists(deletions, max_size=3))
    others = [draw(st.permutations(draw(arrangements(works, gone)) + lists)) for _ in range(2)]
    return arrange(works, gone, [], []) + lists, others


@st.composite
def arrangements(draw: st.DrawFn, works: list[bytes], gone: list[bytes]) -> list[Arrival]:
    """The same works and deletions in another order, cut elsewhere."""
    works, gone = draw(st.permutations(works)), draw(st.permutations(gone))
    cuts = [sorted(draw(st.sets(st.integers(1, max(len(some), 1)), max_size=2))) for some in (works, gone)]
    return draw(st.permutations(arrange(works, gone, *cuts)))


@pytest.fixture
def play(give_back: Callable[[Path], None]) -> Callable[[list[Arrival], Path], dict[str, list[tuple]]]:
    """Content of a new warehouse after the arrivals, each a batch; every state on the way is checked."""

    def played(arrivals: list[Arrival], home: Path) -> dict[str, list[tuple]]:
        home = home / uuid4().hex
        home.mkdir(parents=True)
        found = _played(arrivals, home)
        give_back(home)
        return found

    return played


def _played(arrivals: list[Arrival], home: Path) -> dict[str, list[tuple]]:
    settings = load_settings(home=home, scope="all", workers=1)
    deriver = Deriver(LocalWorkers(1))
    with Warehouse.open(settings) as warehouse:
        for number, arrival in enumerate(arrivals):
            take_in(arrival, f"arrival-{number}", warehouse, deriver, settings)
        with warehouse.reading() as conn:
            prove(conn)
        return contents(warehouse)


@pytest.mark.long
@hypothesis_settings(
    max_examples=3,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(history=histories())
def test_order_and_grouping_do_not_matter(history, tmp_path, play, fast_rules):
    once, others = history
    expected = play(once, tmp_path / "once")
    for number, other in enumerate(others):
        assert play(other, tmp_path / f"other-{number}") == expected
    again = play([*once, *once], tmp_path / "again")
    assert again == expected


def test_the_strategy_reaches_what_matters(tmp_path, play, fast_rules):
    """The hand-written worst case: same date, duplicate DOI, late, deleted and resurrected, malformed, rejected."""
    doi = "https://doi.org/10.1234/a"
    works = [
        line(work(11, doi=doi, updated=DAYS[0])),
        line(work(11, doi=doi, updated=DAYS[0], cited_by_count=9)),
        line(work(12, TEAMS[2], doi=doi, updated=DAYS[1])),
        line(work(12, TEAMS[1], doi=doi, updated=DAYS[2])),
        line(work(13, updated=DAYS[0])),
        line(work(13, updated=DAYS[2])),
        line(work(14, updated=DAYS[2], publication_year=2999)),
        *MALFORMED,
    ]
    gone = [f"{URL}W13,{DAYS[1]}".encode(), f"{URL}W12,{DAYS[0]}".encode(), b"https://openalex.org/W1;2026"]
    expected = play(arrange(works, gone, [], []), tmp_path / "once")
    assert [json.loads(str(row[0])) for row in expected["work"]] == [11, 12, 13]
    for cuts in ([3, 5], list(range(1, 12))):
        assert play(arrange(works[::-1], gone, cuts, [1, 2])[::-1], tmp_path / "reverse") == expected
