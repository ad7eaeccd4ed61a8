"""Venue lists from night to night: corrections, withdrawals, bad lines, beside OpenAlex, killed, tried again."""

from __future__ import annotations

import gzip
import itertools
import json
from datetime import timedelta

import pytest
import sqlalchemy as sa

import tasks.batches.batch as batches
import tasks.countries.registry as registry
from flows.progress import Lines
from flows.steps import Summary, directly, run_retry
from schemas import tables as t
from schemas.errors import GateStopped, SourceError
from schemas.overrides import parse_overrides
from schemas.venue_list import Paper
from schemas.work_ids import shown_id
from tasks.batches.batch import load
from tasks.batches.relocate import put_in_force, relocate, works_concerned
from tasks.countries.explain import read_explanation
from tasks.landing import list_intake
from tasks.landing.sightings import newest_change
from tasks.loading.ledger import unfinished_landings
from tasks.night import Night
from tasks.reading.parsed import BadRecord
from tasks.reading.quarantine import open_records
from tasks.reading.venue_papers import ListReader, identify
from tasks.releases.eto import FILES
from tasks.releases.report import read_report
from tasks.storage.warehouse import Warehouse, utc_now
from tasks.upkeep.status import read_status
from tasks.validation import gates
from tests.factory import author, cell, counts, proven, rows, run, stored, work, write_snapshot
from tests.lists import CHINA, FRANCE, bring, paper, plain, write_csv, write_list

pytestmark = pytest.mark.usefixtures("unpublished")

FIRST = [
    paper(1),
    paper(2, aff=f"{FRANCE};{FRANCE}", doi="10.1234/a"),
    paper(3, status="Reject"),
    paper(4, author="A, B, C", aff=f"{FRANCE};{CHINA}"),
    paper(5, year="soon"),
    b"{",
    paper(6, title="Preface", author=None, aff=None),
    paper(7, title="old"),
    paper(7, title="new"),
]
SECOND = [*FIRST[:1], paper(2, aff=f"{FRANCE};{CHINA}", doi="10.1234/a"), paper(4, status="Withdrawn"), paper(5)]


def id_of(number: int, corpus: str = "venues") -> int:
    return identify(corpus, Paper(venue="nips", year=2020, id=f"p{number}"))


@pytest.mark.publishes
def test_a_list_over_two_nights_beside_openalex(tmp_path, settings_for):
    snapshot = write_snapshot(tmp_path / "s", {"2026-01-01": [work(11, doi="https://doi.org/10.1234/a"), work(12)]})
    settings = settings_for(snapshot, scope="ai")
    run(settings)
    of_openalex = {name: found for name, found in proven(settings).items() if name != "institution"}

    first = bring(settings, write_list(tmp_path / "list.jsonl.gz", FIRST), publish=True)
    assert counts(first) == {"fetched": 9, "new": 5, "out_of_scope": 1, "superseded": 1, "quarantined": 2}
    again = bring(settings, tmp_path / "list.jsonl.gz", publish=True)
    assert (first.release is not None, counts(again), again.release) == (True, {}, None)
    exported = settings.published / "current" / "exports"
    summed = {
        corpus: (exported / corpus / "iso" / FILES[2]).read_text().splitlines()[1:] for corpus in ("openalex", "venues")
    }
    assert [line for line in summed["openalex"] if ",All," in line] == [
        "China (mainland),All,2,2",
        "United States,All,2,2",
    ]
    none = ["China (mainland),All,1,", "France,All,4,", "Japan,All,2,", "Unknown,All,1,"]
    assert summed["venues"] == none  # lists count no citations, which is not 0

    second = bring(settings, write_list(tmp_path / "list.jsonl.gz", SECOND))
    assert counts(second) == {"fetched": 4, "new": 1, "updated": 1, "unchanged": 1, "out_of_scope": 1}
    assert stored(settings) == {11, 12, *map(id_of, (1, 2, 5, 6, 7))}

    after = proven(settings)
    for name, found in of_openalex.items():
        assert [row for row in after[name] if row in found] == found, name
    with Warehouse.open(settings) as warehouse:
        lists = {"corpus": "venues", "field": "ai"}
        assert cell(warehouse, t.world_year, **lists)["papers"] == 4  # without the preface
        assert cell(warehouse, t.world_year, **lists)["excluded_type"] == 1
        assert cell(warehouse, t.world_year, **lists)["excluded_duplicate_doi"] == 0  # its namesake is OpenAlex's
        assert cell(warehouse, t.world_year, field="ai")["papers"] == 2
        reasons = sa.select(t.ledger_of(t.world_year)).where(t.ledger_of(t.world_year).c.corpus == "venues")
        found = {(row["reason"], row["papers"]) for row in rows(warehouse, reasons.where(sa.text("policy = 'iso'")))}
        assert found == {("new", 4), ("new", 1), ("corrected", 0), ("out_of_scope", -1)}
        with warehouse.reading() as conn:
            assert {row.rule for row in open_records(conn)} == {"json", "year_shape"}
            assert newest_change(conn).year == 2026
            assert newest_change(conn).month == 1  # of OpenAlex: lists do not say that it was asked
            found = read_report(conn, settings, "ai", "venues")
            assert {row.territory for row in found.countries} == {"FR", "JP", "CN"}
            assert read_report(conn, settings, "ai").corpus == "openalex"
            assert read_status(conn, settings, utc_now()).last_batch.source == "openalex-snapshot"


def test_the_list_brought_last_wins_and_parts_stay(tmp_path, settings_for, monkeypatch):
    settings = settings_for()
    old, new = (
        write_list(tmp_path / "a.jsonl", [paper(1), paper(2)]),
        write_csv(tmp_path / "b.csv", [paper(2, title="x")]),
    )
    bring(settings, old)
    with monkeypatch.context() as patched:  # a machine whose clock is late
        patched.setattr(list_intake, "utc_now", lambda: utc_now() - timedelta(hours=1))
        assert counts(bring(settings, new)) == {"fetched": 1, "updated": 1}
    assert counts(bring(settings, old)) == {"fetched": 2, "updated": 1, "unchanged": 1}
    assert counts(bring(settings, old)) == {}
    assert counts(bring(settings, new, "others")) == {"fetched": 1, "new": 1}
    assert counts(bring(settings, old)) == {}
    assert stored(settings) == {id_of(1), id_of(2), id_of(2, "others")}
    proven(settings)


def test_a_folder_is_one_list(tmp_path, settings_for):
    settings = settings_for()
    write_list(tmp_path / "lists" / "b.jsonl", [paper(1, title="later")])
    write_csv(tmp_path / "lists" / "a.csv", [paper(1), paper(2)])
    assert counts(bring(settings, tmp_path / "lists")) == {"fetched": 3, "new": 2, "superseded": 1}
    assert counts(bring(settings, tmp_path / "lists")) == {}
    with Warehouse.open(settings) as warehouse:
        assert {row["title"] for row in rows(warehouse, sa.select(t.work.c.title))} == {"later", "Paper 2"}
        assert {row["path"] for row in rows(warehouse, sa.select(t.part.c.path))} == {"venues/a.csv", "venues/b.jsonl"}


def test_resubmissions_and_duplicate_dois(tmp_path, settings_for):
    settings = settings_for()
    same = {"title": "One", "doi": "10.1234/a"}
    listed = [paper(1, venue="nips", **same), paper(1, venue="icml", aff=f"{FRANCE};", **same), plain(1, title="One")]
    assert counts(bring(settings, write_list(tmp_path / "a.jsonl", listed))) == {"fetched": 3, "new": 3}
    with Warehouse.open(settings) as warehouse:
        found = cell(warehouse, t.world_year, corpus="venues")
        assert (found["papers"], found["excluded_duplicate_doi"]) == (2, 1)
    assert counts(bring(settings, write_list(tmp_path / "a.jsonl", listed[1:]), "others")) == {"fetched": 2, "new": 2}
    with Warehouse.open(settings) as warehouse:
        assert cell(warehouse, t.world_year, corpus="others")["papers"] == 2
    proven(settings)


def test_untied_affiliations_count_whole_and_are_decided_again(tmp_path, settings_for):
    settings = settings_for()
    untied = paper(1, author="A;B;C", aff=f"{FRANCE};Zanthor College")
    bring(settings, write_list(tmp_path / "a.jsonl", [untied, paper(2)]))
    text = "kind,key,country,reason,source,date\nstring,Zanthor College,BR,asked,letter,2026-01-01\n"
    overrides = parse_overrides(text, "a.csv")
    with Warehouse.open(settings) as warehouse:
        assert cell(warehouse, t.pair_year, corpus="venues", territory_a="BR", territory_b="FR") is None
        france = cell(warehouse, t.country_year, corpus="venues", territory="FR")
        assert (france["papers"], float(france["fractional"]), france["papers_undetermined"]) == (2, 0.5, 1)

        def change(conn: sa.Connection):
            replaced = registry.replace_overrides(conn, overrides)
            return lambda conn: works_concerned(conn, replaced.concerned)

        assert put_in_force(warehouse, settings, change).changed == 1
        assert relocate(warehouse, settings).changed == 0
        pair = cell(warehouse, t.pair_year, corpus="venues", territory_a="BR", territory_b="FR")
        assert (pair["papers"], pair["papers_with_unknown"], float(pair["score"])) == (1, 1, 0)
        with warehouse.reading() as conn:
            found = read_explanation(conn, shown_id(id_of(1)))
        assert (found.work.is_unassigned, len(found.authors)) == (True, 3)
        assert [(row.position, row.country) for row in found.affiliations] == [(0, "FR"), (0, "BR")]
    proven(settings)


def test_quarantined_papers_are_tried_again_as_the_versions_they_were(tmp_path, settings_for, monkeypatch):
    settings = settings_for()
    listed = write_list(tmp_path / "a.jsonl", [paper(1), paper(2), paper(3), b"{"])
    with monkeypatch.context() as broken:
        broken.setattr(ListReader, "read", _refusing(ListReader.read, {"p1", "p2"}))
        assert counts(bring(settings, listed)) == {"fetched": 4, "new": 1, "quarantined": 3}
    newer = write_list(tmp_path / "b.jsonl", [paper(2, title="newer")])
    assert counts(bring(settings, newer)) == {"fetched": 1, "new": 1}
    retried = retry(settings)
    assert counts(retried) == {"fetched": 2, "new": 1, "quarantined": 1}
    with Warehouse.open(settings) as warehouse:
        assert {row["title"] for row in rows(warehouse, sa.select(t.work.c.title))} == {"Paper 1", "Paper 3", "newer"}
        kept = rows(warehouse, sa.select(t.quarantine))
    assert sorted((row["source_key"][0], row["resolution"]) for row in kept if row["resolved_at"]) == [
        ("L", "retried"),
        ("L", "superseded"),
    ]
    assert [row["rule"] for row in kept if not row["resolved_at"]] == ["json"]
    retry(settings)
    with Warehouse.open(settings) as warehouse:
        assert len(rows(warehouse, sa.select(t.quarantine))) == 3
    proven(settings)


def _refusing(read, own: set[str]):
    """Reading as before a fix: papers with these ids cannot be parsed."""

    class Broken:
        def __init__(self, record) -> None:
            self.version, self.subject = record.version, record.subject

        def parse(self):
            raise BadRecord("parse", "broken", "a fault of ours")

    def broken(self, ordinal, raw):
        record = read(self, ordinal, raw)
        return Broken(record) if record.paper.id in own else record

    return broken


def retry(settings):
    summary = Summary()
    with Night(settings) as night:
        run_retry(night, directly, Lines(), summary)
    return summary


def test_a_run_that_ends_half_way_is_finished_by_the_next(tmp_path, settings_for, monkeypatch):
    settings = settings_for(batch_works=2)
    listed = write_list(tmp_path / "a.jsonl", [paper(number) for number in range(5)])
    other = write_list(tmp_path / "b.jsonl", [plain(1)])
    with monkeypatch.context() as cut:
        cut.setattr(batches, "load", lambda warehouse, batch, *more: _cut(load, warehouse, batch, *more))
        with pytest.raises(KeyboardInterrupt):
            bring(settings, listed)
    bring(settings, other, "others")
    with Warehouse.open(settings) as warehouse, warehouse.reading() as conn:
        assert len(list(conn.scalars(unfinished_landings()))) == 1  # a list of another corpus does not overtake it
    assert counts(bring(settings, listed)) == {"fetched": 3, "new": 3}
    assert len(stored(settings)) == 6
    with Warehouse.open(settings) as warehouse, warehouse.reading() as conn:
        assert not list(conn.scalars(unfinished_landings()))
    proven(settings)


def _cut(load, warehouse, batch, *more):
    if batch.first:
        raise KeyboardInterrupt
    return load(warehouse, batch, *more)


def test_a_list_is_no_series_and_hides_no_rewrite_of_openalex(tmp_path, settings_for, monkeypatch):
    monkeypatch.setattr(gates, "FEWEST_WORKS", 4)
    monkeypatch.setattr(gates, "FEWEST_BATCHES", 1)
    works = [work(10 + n) for n in range(8)]
    settings = settings_for(write_snapshot(tmp_path / "s", {"2026-01-01": works}))
    run(settings)
    bring(settings, write_list(tmp_path / "a.jsonl", [paper(number) for number in range(8)]))
    nowhere = [paper(number, aff=None) for number in range(40)]
    found = bring(settings, write_list(tmp_path / "b.jsonl", nowhere))
    (results,) = found.results.values()
    by_rule = {result.rule: result for result in results if result.suite == "gates"}
    assert (by_rule["share_with_country"].success, by_rule["share_with_country"].observed) == (None, "0")
    assert "no series" in by_rule["share_with_country"].sample
    rewritten = by_rule["rewritten_share"]
    assert (rewritten.severity, rewritten.success, rewritten.observed) == ("warn", False, "1")

    changed = [work(10 + n, [author("DE")], updated="2026-01-09") for n in range(4)]
    later = write_snapshot(tmp_path / "t", {"2026-01-01": works, "2026-01-09": changed})
    with pytest.raises(GateStopped, match=r"rewritten_share is 0\.5"):  # of OpenAlex; of all works it is a twelfth
        run(settings.model_copy(update={"snapshot": str(later), "batch_works": 4}))


def test_a_wrong_list_loads_nothing(tmp_path, settings_for):
    settings = settings_for()
    good = write_list(tmp_path / "lists" / "a.jsonl", [paper(1)])
    (good.parent / "b.csv").write_text("title,year\nA,2020\n")
    with pytest.raises(SourceError, match=r"b.csv lacks venue, authors, affiliations"):
        bring(settings, good.parent)
    assert stored(settings) == set()


def test_every_hundredth_real_paper_is_taken_in_or_held(tmp_path, settings_for, shared):
    """Every hundredth of 158,048 papers of 37 venues."""
    with gzip.open(shared / "venues" / "papers.jsonl.gz") as lines:
        some = list(itertools.islice(lines, 0, None, 100))
    settings = settings_for(scope="ai", batch_works=1_000)
    listed = write_list(tmp_path / "papers.jsonl.gz", [line.rstrip() for line in some])
    found = counts(bring(settings, listed))
    papers = [json.loads(line) for line in some]
    refused = [one for one in papers if (one.get("status") or "").startswith(("Reject", "Withdraw", "Desk", "Active"))]
    assert (found["fetched"], found["out_of_scope"]) == (len(some), len(refused))
    assert found["new"] + found.get("quarantined", 0) + found.get("superseded", 0) == len(some) - len(refused)
    assert found.get("quarantined", 0) <= 5
    with Warehouse.open(settings) as warehouse:
        (told,) = rows(warehouse, sa.select(sa.func.count().filter(t.work.c.is_unassigned).label("n")))
    assert 150 < told["n"] < 250  # 19,600 of all
    proven(settings)


def test_a_list_from_the_command_line(tmp_path, collab):
    listed = write_csv(tmp_path / "list.csv", [plain(1), plain(2, affiliations=FRANCE)])
    bring_it = ("run", "--no-prefect", "--source", "venue-list", "--list", listed, "--corpus", "mine")
    code, said = collab(*bring_it, "--dry-run")
    assert (code, "mine/list.csv" in said) == (0, True)
    assert collab(*bring_it)[0] == 0
    code, said = collab("report", "--corpus", "mine")
    assert (code, "mine: ai, 2020, policy iso: 2 works" in said) == (0, True)
    untied = identify("mine", Paper(venue="My Conference", year=2020, title="Paper 2", authors="Ann A"))
    code, said = collab("explain", shown_id(untied))
    assert (code, "which author has which affiliation is not known" in said, "FR France" in said) == (0, True, True)
    assert collab("report", "--corpus", "yours")[0] == 2
    for wrong in (("--corpus", "openalex"), ("--until", "2026-01-01"), ("--snapshot", tmp_path), ("--each-night",)):
        assert collab(*bring_it, *wrong)[0] == 2
    assert collab("run", "--no-prefect", "--source", "openalex-snapshot", "--list", listed)[0] == 2
