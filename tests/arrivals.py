"""Records that arrive together, in any order and grouping: strategies that draw them, and how they are loaded.

Great Expectations is exercised elsewhere; `reject_by_year` and `plain_gates` are the same rules in plain Python, ten
times faster.
"""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hypothesis import strategies as st

import tasks.batches.batch as batches
from schemas.settings import Settings
from tasks.landing.land import DELETIONS, WORKS, Incoming, Landing, OpenLanding, land
from tasks.sources.venue_list import SOURCE as LISTS
from tasks.staging.derive import Deriver
from tasks.storage.warehouse import Warehouse
from tasks.validation.validate import Rejection, Report, Result, read_staged
from tests.factory import OFF_TOPIC, URL, adds_up, author, line, topic, work
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
TOPICS = (topic("T10028", 1702), OFF_TOPIC)

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


def arrange(works: list[bytes], gone: list[bytes], work_cuts: list[int], gone_cuts: list[int]) -> list[Arrival]:
    """Arrivals of works, then of deletions, each cut where it is said."""
    found = []
    for kind, lines, cuts in ((WORKS, works, work_cuts), (DELETIONS, gone, gone_cuts)):
        edges = [0, *cuts, len(lines)]
        found += [Arrival(kind, tuple(lines[a:b])) for a, b in itertools.pairwise(edges) if a < b]
    return found


def land_lines(
    settings: Settings, identity: Landing, lines: Sequence[bytes]
) -> tuple[OpenLanding, list[batches.Batch]]:
    """A landing of these lines in one part, and the batches that it is loaded in."""
    packed = gzip.compress(b"".join(raw + b"\n" for raw in lines), compresslevel=1)
    part = Incoming(identity.landing_id, [packed], None, None)
    landing = land(settings.landing, settings.staging / "test", identity, [part], 1000)
    folder = settings.landing / landing.source / landing.landing_id
    landed = OpenLanding(folder, landing, settings.max_record_bytes)
    return landed, list(batches.batches_of(landing, folder, 0, 100))


def take_in(arrival: Arrival, name: str, warehouse: Warehouse, deriver: Deriver, settings: Settings) -> None:
    """Lands an arrival and loads it as one batch, or several, each of which adds up."""
    identity = Landing(name, "test", name, arrival.kind, ())
    if arrival.brought_at:
        identity = Landing(name, LISTS, name, arrival.kind, (), corpus="venues", brought_at=arrival.brought_at)
    landed, planned = land_lines(settings, identity, arrival.lines)
    for batch in planned:
        folder = batches.stage(batch, landed, deriver, settings.staging / "test", settings)
        outcome = batches.load(warehouse, batch, folder, batches.validate(folder), settings)
        assert outcome is not None
        assert adds_up(outcome.row), outcome.row
        if arrival.kind == WORKS:
            assert outcome.row["fetched"] == len(arrival.lines)


def reject_by_year(folder: Path) -> Report:
    """The rule year_range alone, without Great Expectations."""
    staged = read_staged(folder, "work").to_pylist()
    return Report(
        [], [Rejection(row["stage_id"], "year_range", "year", "work.year") for row in staged if row["year"] == 2999]
    )


def plain_gates(gates: list) -> Report:
    """Gates as check_gates judges them, without Great Expectations."""
    return Report([Result("gates", g.name, g.severity, g.excess == 0, "", "", 0, 1, None) for g in gates], [])
