"""Any order and grouping of arrivals ends in the same tables, and the tables are always what a rebuild would say.

Great Expectations is exercised elsewhere; here its two entry points are replaced by the same rules in plain Python, ten
times faster.
"""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import tasks.batches.batch as batches
from schemas.settings import Settings, load_settings
from tasks.landing.land import DELETIONS, WORKS, Incoming, Landing, OpenLanding, land
from tasks.sources.venue_list import SOURCE as LISTS
from tasks.staging.derive import Deriver
from tasks.staging.workers import LocalWorkers
from tasks.storage.warehouse import Warehouse
from tasks.validation.validate import Rejection, Report, Result, read_staged
from tests.factory import URL, author, contents, line, prove, work
from tests.lists import CHINA, FRANCE, paper

IDS = (11, 12, 13, 14)
DAYS = ("2026-01-01", "2026-01-02", "2026-01-03")
TEAMS = (
    [author("US"), author("CN", corresponding=True)],
    [author("US", "DE"), author()],
    [author("FR", corresponding=True), author("DE")],
    [author("HK"), author("CN"), author("US")],
    [author()],
    [],
    [author(strings=["Lab, Lyon, France"])],
)
MALFORMED = (
    b"{",
    b"[]",
    b'{"id": "https://openalex.org/W11"}',
    b'{"id": "nonsense", "updated_date": "2026-01-01"}',
    line(work(12, cited_by_count="x")),
)
TOPICS = (
    {"id": f"{URL}T10028", "subfield": {"id": f"{URL}subfields/1702"}},
    {"id": f"{URL}T9", "subfield": {"id": f"{URL}subfields/2105"}},
)

versions = st.builds(
    lambda number, team, day, **more: line(work(number, team, updated=day, **more)),
    number=st.sampled_from(IDS),
    team=st.sampled_from(TEAMS),
    day=st.sampled_from(DAYS),
    publication_year=st.sampled_from((2019, 2020, 2020, 2999)),
    cited_by_count=st.sampled_from((0, 5)),
    doi=st.sampled_from((None, "https://doi.org/10.1234/a", "https://doi.org/10.1234/B")),
    is_retracted=st.sampled_from((False, False, False, True)),
    type=st.sampled_from(("article", "article", "dataset")),
    primary_topic=st.sampled_from(TOPICS),
    title=st.sampled_from(("Robots", "Soup", "Robots in PyTorch")),
    referenced_works=st.sampled_from(([], [f"{URL}W12"], [f"{URL}W{number}" for number in (11, 13, 14, 99)])),
)
deletions = st.builds(lambda number, day: f"{URL}W{number},{day}".encode(), st.sampled_from(IDS), st.sampled_from(DAYS))


papers = st.builds(
    lambda number, **more: line(paper(number, **more)),
    st.sampled_from((1, 2)),
    author=st.sampled_from(("A;B", "A, B, C", "A")),
    aff=st.sampled_from((f"{FRANCE};{CHINA}", FRANCE, f"Hong Kong;{CHINA};{FRANCE}", None)),
    status=st.sampled_from(("Poster", "Poster", None, "Withdraw")),
    year=st.sampled_from((2020, 2020, "x")),
    doi=st.sampled_from((None, "10.1234/a")),
    title=st.sampled_from(("Robots", "Soup", "Preface")),
)


@dataclass(frozen=True)
class Arrival:
    """Records that arrive together; `brought_at`: lines of a venue list that is landed then, whenever it is loaded."""

    kind: str
    lines: tuple[bytes, ...]
    brought_at: datetime | None = None


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
    works, gone = draw(st.permutations(works)), draw(st.permutations(gone))
    cuts = [sorted(draw(st.sets(st.integers(1, max(len(some), 1)), max_size=2))) for some in (works, gone)]
    return draw(st.permutations(arrange(works, gone, *cuts)))


def arrange(works: list[bytes], gone: list[bytes], work_cuts: list[int], gone_cuts: list[int]) -> list[Arrival]:
    found = []
    for kind, lines, cuts in ((WORKS, works, work_cuts), (DELETIONS, gone, gone_cuts)):
        edges = [0, *cuts, len(lines)]
        found += [Arrival(kind, tuple(lines[a:b])) for a, b in itertools.pairwise(edges) if a < b]
    return found


def reject_by_year(folder: Path) -> Report:
    """The rule year_range alone, without Great Expectations."""
    staged = read_staged(folder, "work").to_pylist()
    return Report(
        [], [Rejection(row["stage_id"], "year_range", "year", "work.year") for row in staged if row["year"] == 2999]
    )


def plain_gates(gates: list) -> Report:
    return Report([Result("gates", g.name, g.severity, g.excess == 0, "", "", 0, 1, None) for g in gates], [])


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


def take_in(arrival: Arrival, name: str, warehouse: Warehouse, deriver: Deriver, settings: Settings) -> None:
    packed = gzip.compress(b"".join(raw + b"\n" for raw in arrival.lines), compresslevel=1)
    workspace = settings.staging / "test"
    identity = Landing(name, "test", name, arrival.kind, ())
    if arrival.brought_at:
        identity = Landing(name, LISTS, name, arrival.kind, (), corpus="venues", brought_at=arrival.brought_at)
    landing = land(settings.landing, workspace, identity, [Incoming(name, [packed], None, None)], 1000)
    parts = settings.landing / landing.source / name
    landed = OpenLanding(parts, landing, settings.max_record_bytes)
    for batch in batches.batches_of(landing, parts, 0, 100):
        folder = batches.stage(batch, landed, deriver, workspace, settings)
        outcome = batches.load(warehouse, batch, folder, batches.validate(folder), settings)
        assert outcome is not None
        row = outcome.row
        assert row["fetched"] == sum(
            row[n] for n in ("new", "updated", "unchanged", "superseded", "out_of_scope", "quarantined")
        )
        assert row["listed"] == row["applied"] + row["absent"]
        if arrival.kind == WORKS:
            assert row["fetched"] == len(arrival.lines)


@pytest.fixture
def fast_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "validate_staged", reject_by_year)
    monkeypatch.setattr(batches, "check_gates", plain_gates)


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
