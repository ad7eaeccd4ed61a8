"""What a release holds for other tools: read back, it says what the mart says; networkx, which computes in its own way,
finds the same degrees and indices on the real records."""

from __future__ import annotations

import csv
import json
import re
from itertools import combinations
from math import sqrt
from operator import itemgetter

import duckdb
import networkx as nx
import pandas
import pytest

from schemas.settings import Settings
from tasks.countries.places import name_of
from tasks.releases.eto import ARTICLES, CITATIONS, FIELDS, FILES, MAINLAND, NAMES, SUMMARY, eto_name
from tasks.releases.release import open_release
from tasks.storage.warehouse import utc_now
from tests.factory import author, run, work, write_snapshot
from tests.marts import read

pytestmark = pytest.mark.engines("duckdb")  # a release is a DuckDB file, whatever the engine of the warehouse


@pytest.fixture(scope="module")
def atlas(real_works: Settings):
    """The release of the real records."""
    with duckdb.connect(str(real_works.published / "current" / "atlas.duckdb"), read_only=True) as conn:
        yield conn


@pytest.fixture(scope="module")
def works(real_works: Settings) -> dict[tuple[str, int], list[frozenset[str]]]:
    """Field and year -> the known territories of each counted work, policy iso, straight from core."""
    query = """SELECT f.field, w.year, list(t.territory) FILTER (t.territory <> 'ZZ') FROM core.work w
        JOIN core.work_field f USING (work_id) JOIN core.work_territory t USING (work_id)
        WHERE w.is_counted AND t.policy = 'iso' GROUP BY f.field, w.year, w.work_id"""
    found: dict[tuple[str, int], list[frozenset[str]]] = {}
    with duckdb.connect(str(real_works.home / "warehouse.duckdb"), read_only=True) as conn:
        for field, year, territories in conn.execute(query).fetchall():
            found.setdefault((field, year), []).append(frozenset(territories or ()))
    return found


def test_networkx_finds_the_same_degrees_and_indices(atlas, works):
    """Works and countries as a bipartite graph, projected by networkx: weights are papers of pairs, weighted degrees
    are links, and Jaccard is what networkx says of neighbourhoods."""
    pairs = {
        (row["field"], row["year"], row["territory_a"], row["territory_b"]): row
        for row in read(atlas, "FROM pair_indices WHERE policy = 'iso'")
    }
    links = {
        (row["field"], row["year"], row["territory"]): row["links"]
        for row in read(atlas, "FROM country_year WHERE policy = 'iso' AND territory <> 'ZZ'")
    }
    checked = 0
    for (field, year), sets in works.items():
        every, abroad = nx.Graph(), nx.Graph()
        for number, territories in enumerate(sets):
            edges = [(code, number) for code in territories]
            every.add_edges_from(edges)
            abroad.add_edges_from(edges if len(territories) > 1 else ())
        codes = [node for node in every if isinstance(node, str)]
        if not codes:
            continue  # no country of any work is known
        projected = nx.bipartite.weighted_projected_graph(every, codes)
        assert dict(projected.degree(weight="weight")) == {code: links[field, year, code] for code in codes}
        world = sum(len(territories) > 1 for territories in sets)
        ends = [(a, b) for a, b in combinations(sorted(codes), 2) if projected.has_edge(a, b)]
        for basis, graph, whole in (("intl", abroad, world), ("all", every, len(sets))):
            for a, b, jaccard in nx.jaccard_coefficient(graph, ends):
                row, c, n = pairs[field, year, a, b], projected[a][b]["weight"], (graph.degree(a), graph.degree(b))
                assert row["papers"] == c
                assert row[f"jaccard_{basis}"] == pytest.approx(jaccard, rel=1e-12)
                assert row[f"salton_{basis}"] == pytest.approx(c / sqrt(n[0] * n[1]), rel=1e-12)
                assert row[f"inclusion_{basis}"] == pytest.approx(c / min(n), rel=1e-12)
                assert row[f"association_strength_{basis}"] == pytest.approx(c * whole / (n[0] * n[1]), rel=1e-12)
                checked += 1
        total = projected.size(weight="weight")
        for a, b in ends:
            degrees = projected.degree(a, weight="weight") * projected.degree(b, weight="weight")
            expected = projected[a][b]["weight"] / (degrees / (2 * total))
            assert pairs[field, year, a, b]["vosviewer_strength"] == pytest.approx(expected, rel=1e-12)
    assert checked == 2 * len(pairs) > 500


def test_sums_reconcile_on_real_records(atlas):
    gaps = "fractional_gap <> 0 OR links_gap <> 0 OR pairs_gap <> 0"
    assert read(atlas, f"SELECT count(*) AS n FROM reconciliation WHERE {gaps}") == [{"n": 0}]


def span_of(atlas, field: str) -> tuple[int, int]:
    years = f"FROM completeness WHERE field = '{field}' AND is_complete AND papers > 0"
    (row,) = read(atlas, f"SELECT min(year) AS first, max(year) AS last {years}")
    return row["first"], row["last"]


@pytest.mark.parametrize("field", ["ai", "all"])
@pytest.mark.parametrize("policy", ["iso", "mainland-sar"])
def test_networks_read_back_equal_the_mart(real_works, atlas, field, policy):
    folder = real_works.published / "current" / "exports" / "openalex" / policy
    first, last = span_of(atlas, field)
    where = f"policy = '{policy}' AND field = '{field}' AND year BETWEEN {first} AND {last}"
    pairs = {
        (row["territory_a"], row["territory_b"]): row
        for row in read(
            atlas,
            "SELECT territory_a, territory_b, sum(papers)::BIGINT AS papers, sum(score)::DOUBLE AS score,"
            " sum(papers_with_unknown)::BIGINT AS papers_with_unknown, sum(citations)::BIGINT AS citations"
            f" FROM pair_year WHERE {where} GROUP BY ALL",
        )
    }
    countries = {
        row["territory"]: row
        for row in read(
            atlas,
            "SELECT territory, sum(papers)::BIGINT AS papers, sum(papers_international)::BIGINT AS international"
            f" FROM country_year WHERE {where} AND territory <> 'ZZ' GROUP BY ALL HAVING sum(papers) > 0",
        )
    }
    assert len(pairs) > 20
    for graph in (nx.read_graphml(folder / f"network-{field}.graphml"), nx.read_gexf(folder / f"network-{field}.gexf")):
        assert set(graph) == set(countries)
        assert {tuple(sorted(edge)): data["weight"] for *edge, data in graph.edges(data=True)} == {
            ends: row["papers"] for ends, row in pairs.items()
        }
        for (a, b), row in pairs.items():
            edge = graph[a][b]
            assert edge["papers"] == row["papers"]
            assert edge["score"] == pytest.approx(row["score"], abs=1e-9)
            n = countries[a]["international"] * countries[b]["international"]
            assert edge["salton"] == pytest.approx(row["papers"] / sqrt(n), rel=1e-12)
        for code, row in countries.items():
            node = graph.nodes[code]
            assert (node["papers"], node["papers_international"]) == (row["papers"], row["international"])
            assert node["name"]
    pajek = nx.read_pajek(folder / f"network-{field}.net")
    assert not pajek.is_directed()
    assert len(pajek) == len(countries)
    named = {tuple(sorted(map(name_of, ends))): row["papers"] for ends, row in pairs.items()}
    assert {tuple(sorted(edge)): data["weight"] for *edge, data in pajek.edges(data=True)} == named
    with (folder / f"matrix-{field}.csv").open(newline="") as file:
        header, *lines = csv.reader(file)
    cells = {(line[0], code): value for line in lines for code, value in zip(header[1:], line[1:], strict=True)}
    assert all(cells[code, code] == "" for code in countries)
    for a, b in combinations(sorted(countries), 2):
        joint = pairs[a, b]["papers"] if (a, b) in pairs else 0
        assert int(cells[a, b]) == int(cells[b, a]) == joint
    with (folder / f"pairs-{field}.csv").open(newline="") as file:
        long = {(row["territory_a"], row["territory_b"]): row for row in csv.DictReader(file)}
    assert long.keys() == pairs.keys()
    for (a, b), row in pairs.items():
        line = long[a, b]
        assert (line["name_a"], line["name_b"]) == (name_of(a), name_of(b))
        for column in ("papers", "papers_with_unknown", "citations"):
            assert int(line[column]) == row[column]
        n = [countries[code]["international"] for code in (a, b)]
        assert [int(line[f"papers_international_{end}"]) for end in "ab"] == n
        assert float(line["score"]) == pytest.approx(row["score"], abs=1e-9)
        assert float(line["salton_intl"]) == pytest.approx(row["papers"] / sqrt(n[0] * n[1]), rel=1e-12)


def test_the_layout_is_that_of_eto(real_works, atlas, shared):
    folder = real_works.published / "current" / "exports" / "openalex" / "iso"
    theirs = {}
    for name, columns in (("articles", ARTICLES), ("citations", CITATIONS)):
        file = f"publications_yearly_{name}.csv"
        with (shared / "tables" / f"eto_{file}").open(newline="") as eto, (folder / file).open(newline="") as ours:
            theirs[name], found = csv.DictReader(eto), csv.DictReader(ours)
            assert found.fieldnames == theirs[name].fieldnames == list(columns)
            rows = list(found)
            named, fields = zip(*((row["country"], row["field"]) for row in theirs[name]), strict=True)
        assert len({(row["country"], row["field"], row["year"]) for row in rows}) == len(rows)
        assert {row["field"] for row in rows} <= set(fields)
        assert {MAINLAND, *NAMES.values()} <= set(named)
        if name == "articles":
            assert {row["complete"] for row in rows} <= {"True", "False"}
            papers = read(
                atlas,
                "SELECT sum(papers)::BIGINT AS n FROM country_year"
                " WHERE policy = 'iso' AND field = 'ai' AND territory = 'CN'",
            )
            assert (
                sum(int(r["num_articles"]) for r in rows if (r["country"], r["field"]) == (MAINLAND, "All"))
                == (papers[0]["n"])
            )
    with (folder / "publications_summary.csv").open(newline="") as file:
        assert csv.DictReader(file).fieldnames == list(SUMMARY)
    folded = (folder.parent / "mainland-sar" / "publications_summary.csv").read_text()
    assert MAINLAND not in folded


def test_the_numbers_of_the_layout_are_those_of_the_mart(real_works, atlas):
    folder = real_works.published / "current" / "exports" / "openalex" / "iso"
    every = read(
        atlas,
        "SELECT territory, field, year, c.papers, c.citations, coalesce(is_complete, false) AS complete"
        " FROM country_year c LEFT JOIN completeness USING (corpus, field, year)"
        " WHERE corpus = 'openalex' AND policy = 'iso' AND c.papers > 0",
    )
    counted = [row for row in every if row["field"] in FIELDS]
    cells = {(eto_name(row["territory"], "iso"), FIELDS[row["field"]], row["year"]): row for row in counted}
    found = []
    for file in FILES:
        with (folder / file).open(newline="") as lines:
            found.append(list(csv.DictReader(lines)))
    articles, citations, summary = found
    key = itemgetter("country", "field")
    assert {(*key(one), int(one["year"])): (int(one["num_articles"]), one["complete"]) for one in articles} == {
        cell: (row["papers"], str(row["complete"])) for cell, row in cells.items()
    }
    assert {(*key(one), int(one["year"])): int(one["num_citations"]) for one in citations} == {
        cell: row["citations"] for cell, row in cells.items()
    }
    sums: dict[tuple[str, str], list[int]] = {}
    for (country, field, _), row in cells.items():
        sums.setdefault((country, field), [0, 0])
        sums[country, field][0] += row["papers"]
        sums[country, field][1] += row["citations"]
    assert {key(one): [int(one["num_articles"]), int(one["num_citations"])] for one in summary} == sums
    assert {row["complete"] for row in cells.values()} == {True, False}


def test_a_readme_says_the_span_and_how_much_of_it_is_unknown(real_works, atlas):
    first, last = span_of(atlas, "all")
    (world,) = read(
        atlas,
        "SELECT sum(papers)::BIGINT AS n, sum(papers_international)::BIGINT AS low,"
        " sum(papers_international + papers_undetermined)::BIGINT AS high,"
        " sum(papers_with_unknown)::BIGINT AS unknown FROM world_year"
        f" WHERE corpus = 'openalex' AND policy = 'iso' AND field = 'all' AND year BETWEEN {first} AND {last}",
    )
    said = "{n:,} papers, {low:,} international, at most {high:,}; {unknown:,} with an unknown part".format(**world)
    assert said in (real_works.published / "current" / "exports" / "openalex" / "iso" / "README.txt").read_text()


def test_every_folder_says_what_its_files_are_and_the_manifest_lists_them(real_works):
    current = real_works.published / "current"
    listed = json.loads((current / "manifest.json").read_text())["files"]
    folders = sorted((current / "exports" / "openalex").iterdir())
    assert [folder.name for folder in folders] == ["greater-china", "iso", "mainland-sar"]
    for folder in folders:
        said = (folder / "README.txt").read_text()
        assert f"policy {folder.name}" in said
        assert current.resolve().name in said
        for file in folder.iterdir():
            assert file.relative_to(current).as_posix() in listed
            stem = file.name.split("_")[0] if file.name.startswith("publications") else file.stem
            assert stem in said or file.name == "README.txt"


def test_a_release_says_what_its_columns_mean(atlas):
    undocumented = (
        "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND coalesce(comment, '') = ''"
        " AND (table_name LIKE '%_year' OR table_name IN (SELECT view_name FROM duckdb_views() WHERE NOT internal)"
        " OR table_name = 'completeness')"
    )
    assert atlas.execute(undocumented).fetchall() == []


def test_a_corpus_without_a_complete_year_is_exported_as_it_is(tmp_path, settings_for):
    year = utc_now().year
    day = f"{year}-01-01"  # no later: a version from the future is refused
    recent = work(11, [author("US"), author("NA")], updated=day, publication_year=year)
    settings = settings_for(write_snapshot(tmp_path / "s", {day: [recent]}))
    run(settings)
    folder = settings.published / "current" / "exports" / "openalex" / "iso"
    said = (folder / "README.txt").read_text()
    assert f"not complete or empty: {year}" in said
    (options,) = re.findall(r"pandas\.read_csv\(file, (.*)\)", said)  # or Namibia is missing
    table = pandas.read_csv(folder / "pairs-all.csv", **eval(f"dict({options})"))
    assert (table.territory_a[0], table.territory_b[0], table.papers[0]) == ("NA", "US", 1)
    assert nx.read_graphml(folder / "network-all.graphml").number_of_edges() == 1
    with open_release(settings) as release:
        assert release.complete_years("openalex", "all") == []
