"""Views: every column is documented, formulas are right on figures worked by hand and on NSF's tables, undefined is
null."""

from __future__ import annotations

import csv
import datetime
from decimal import Decimal
from fractions import Fraction
from math import log, sqrt
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest
import sqlalchemy as sa
from scipy.stats.contingency import relative_risk

from schemas.indices import VIEWS
from schemas.intensity import relative_intensity
from tasks.dictionary import render_dictionary
from tasks.questions import pairs
from tests.marts import CELL, make_mart, put, read, sql_type


@pytest.fixture
def atlas():
    with duckdb.connect() as conn:
        make_mart(conn)
        yield conn


def countries(**papers: tuple[int, int, int]):
    """Territory -> papers, international papers, links."""
    return [
        {"territory": code, "papers": n, "papers_international": i, "links": links, "fractional": Decimal(n)}
        for code, (n, i, links) in papers.items()
    ]


def pair(a: str, b: str, papers: int, **more):
    return {"territory_a": a, "territory_b": b, "papers": papers} | more


# 30 papers AB, 5 AC, 10 BC, 2 ABC as pairs: A 37, B 42, C 17 international; links: each |T|-1 per paper
SMALL = {
    "world_year": [{"papers": 100, "papers_international": 47, "links": 51, "papers_with_unknown": 10}],
    "country_year": countries(A=(60, 37, 39), B=(50, 42, 44), C=(20, 17, 19)),
    "pair_year": [pair("A", "B", 32), pair("A", "C", 7), pair("B", "C", 12)],
}


def fill(atlas, rows=SMALL):
    for table, content in rows.items():
        put(atlas, table, content)


def test_every_column_of_every_view_is_documented_as_it_is(atlas):
    for name, view in VIEWS.items():
        found = [(row[0], row[1]) for row in atlas.execute(f"DESCRIBE {name}").fetchall()]
        assert found == [(c.name, sql_type(c.type_)) for c in view.columns], name
        assert view.text
        assert set(view.key) <= {column for column, _ in found}
        for column in view.columns:
            assert len(column.text) > 5, f"{name}.{column.name}"
            if isinstance(column.type_, sa.Double):
                assert column.unit, f"{name}.{column.name}"
                assert column.denominator, f"{name}.{column.name}"


def test_the_dictionary_has_every_column_of_every_view():
    text = render_dictionary()
    for name, view in VIEWS.items():
        section = text.split(f"### view {name}\n")[1].split("\n### ")[0]
        listed = [line.split(" | ")[0].removeprefix("| ") for line in section.splitlines() if line.startswith("| ")]
        assert listed[1:] == [column.name for column in view.columns]


def test_indices_as_worked_by_hand(atlas):
    fill(atlas)
    (row,) = read(atlas, "FROM pair_indices WHERE territory_a = 'A' AND territory_b = 'B'")
    expected = {
        "salton_intl": 32 / sqrt(37 * 42),
        "salton_all": 32 / sqrt(60 * 50),
        "jaccard_intl": 32 / 47,
        "jaccard_all": 32 / 78,
        "inclusion_intl": 32 / 37,
        "inclusion_all": 32 / 50,
        "association_strength_intl": 32 * 47 / (37 * 42),
        "association_strength_all": 32 * 100 / (60 * 50),
        "vosviewer_strength": 32 / (39 * 44 / (2 * 51)),
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-14)
    assert row["low_n"] is False
    assert read(atlas, "SELECT low_n FROM pair_indices WHERE territory_a = 'B'") == [{"low_n": True}]


@pytest.mark.parametrize(("territory", "partner"), [("A", "B"), ("B", "A"), ("A", "C"), ("C", "B")])
def test_the_interval_of_ric_is_that_of_a_relative_risk(atlas, territory, partner):
    """RIC is the risk ratio of a fourfold table; scipy computes it and its interval (Katz) in its own way."""
    fill(atlas)
    joint = {frozenset((p["territory_a"], p["territory_b"])): p["papers"] for p in SMALL["pair_year"]}
    links = {c["territory"]: c["links"] for c in SMALL["country_year"]}
    c, own, other, world = joint[frozenset((territory, partner))], links[territory], links[partner], 51
    (row,) = read(atlas, f"FROM pair_ric WHERE territory = '{territory}' AND partner = '{partner}'")
    found = relative_risk(c, own, other - c, world - own)
    interval = found.confidence_interval(0.95)
    expected = (found.relative_risk, interval.low, interval.high)
    assert (row["ric"], row["ric_low"], row["ric_high"]) == pytest.approx(expected, rel=1e-12)
    assert row["ric_log_error"] == pytest.approx(log(interval.high / found.relative_risk) / 1.959963984540054, rel=1e-9)
    assert tuple(relative_intensity(c, own, other, world)) == pytest.approx(expected, rel=1e-12)


def test_ric_is_directed_and_lists_both_directions(atlas):
    fill(atlas)
    rows = read(atlas, "SELECT territory, partner, ric FROM pair_ric ORDER BY ALL")
    assert len(rows) == 6
    values = {(row["territory"], row["partner"]): row["ric"] for row in rows}
    assert values["A", "B"] == pytest.approx((32 / 39) / ((44 - 32) / (51 - 39)))
    assert values["A", "B"] != pytest.approx(values["B", "A"])


def test_undefined_is_null(atlas):
    """One single pair in the world: nobody else to compare with. And a cell of nothing but zeros."""
    put(atlas, "world_year", [{"papers": 3, "papers_international": 3, "links": 3}, {"year": 2021}])
    put(atlas, "country_year", [*countries(A=(3, 3, 3), B=(3, 3, 3)), {"territory": "A", "year": 2021}])
    put(atlas, "country_year", [{"territory": "B", "year": 2021}])
    put(atlas, "pair_year", [pair("A", "B", 3), pair("A", "B", 0, year=2021), pair("A", "B", 0, year=2022)])
    put(atlas, "world_year", [{"papers": 9, "papers_international": 9, "links": 9, "year": 2022}])
    put(atlas, "country_year", [{**one, "year": 2022} for one in countries(A=(4, 4, 4), B=(5, 5, 5))])  # never met
    for row in read(atlas, "FROM pair_ric"):
        assert (row["ric"], row["ric_log_error"], row["ric_low"], row["ric_high"]) == (None,) * 4
        assert relative_intensity(row["papers"], row["links"], row["links_partner"], row["links_world"]) is None
    for name, view in VIEWS.items():
        for row in read(atlas, f"FROM {name}"):
            for column in view.columns:
                value = row[column.name]
                assert not isinstance(value, float) or abs(value) < 1e9, (name, column.name)
            if row.get("year") == 2021 and name in ("pair_indices", "pair_rates", "country_rates", "partner_rank"):
                rates = [row[c.name] for c in view.columns if isinstance(c.type_, sa.Double)]
                assert rates == [None] * len(rates), name


def test_partners_are_ranked_with_ties(atlas):
    fill(atlas)
    put(atlas, "pair_year", [pair("A", "D", 7)])
    for other in ({"year": 2021}, {"policy": "greater-china"}, {"field": "all"}, {"corpus": "venues"}):
        put(atlas, "pair_year", [pair("A", "E", 99, **other)])  # ranks of a cell of its own
        put(atlas, "country_year", [{**one, **other} for one in SMALL["country_year"]])
    mine = " AND ".join(f"{name} = '{value}'" for name, value in CELL.items())
    rows = read(atlas, f"FROM partner_rank WHERE territory = 'A' AND {mine} ORDER BY rank, partner")
    assert [(row["partner"], row["rank"]) for row in rows] == [("B", 1), ("C", 2), ("D", 2)]
    assert rows[0]["share_of_international"] == pytest.approx(32 / 37)


def test_growth_is_between_complete_years_only(atlas):
    for year, papers in ((2015, 100), (2019, 150), (2020, 180), (2021, 90)):
        put(atlas, "world_year", [{"year": year, "papers": 1000}])
        put(atlas, "country_year", [{"territory": "A", "year": year, "papers": papers}])
        put(atlas, "pair_year", [pair("A", "B", papers, year=year)])
        done = {"year": year, "is_complete": year < 2021, "as_of": datetime.date(2022, 1, 1), "basis": "assumed"}
        put(atlas, "completeness", [done])
        others = [{"policy": "greater-china"}, {"field": "all"}, {"corpus": "venues"}]
        put(atlas, "country_year", [{"territory": "A", "year": year, "papers": 7, **other} for other in others])
        put(atlas, "country_year", [{"territory": "ZZ", "year": year, "papers": papers}])  # is no territory
        put(atlas, "pair_year", [pair("A", "B", 7, year=year, **other) for other in others])
        put(atlas, "completeness", [{**done, **other, "is_complete": True} for other in others[1:]])
    mine = " AND ".join(f"{name} = '{CELL[name]}'" for name in ("corpus", "policy", "field"))
    for view in ("country_growth", "pair_growth"):
        listed = read(atlas, f"FROM {view} WHERE {mine}")
        rows = {row["year"]: row for row in listed}
        assert len(rows) == len(listed) == 4
        assert rows[2020]["growth"] == pytest.approx(0.2)
        assert rows[2020]["compound_growth_5"] == pytest.approx(1.8 ** (1 / 5) - 1)
        assert rows[2020]["compound_growth_10"] is None
        assert (rows[2021]["growth"], rows[2021]["papers_before"]) == (None, None)
        assert rows[2019]["growth"] is None


def test_no_papers_in_a_complete_year_are_zero_and_not_unknown(atlas):
    """A is new in 2021. Nothing of the world is known of 2019, so nothing of what A published then."""
    for year in (2020, 2021):
        put(atlas, "completeness", [{"year": year, "is_complete": True, "as_of": datetime.date(2023, 1, 1)}])
    put(atlas, "country_year", [{"territory": "A", "year": 2021, "papers": 30}])
    put(atlas, "country_year", [{"territory": "B", "year": 2020, "papers": 30}])
    rows = {row["territory"]: row for row in read(atlas, "FROM country_growth")}
    shown = ("papers_before", "growth", "compound_growth_5", "low_n")
    assert [rows["A"][name] for name in shown] == [0, None, None, True]
    assert [rows["B"][name] for name in shown] == [None, None, None, False]


def test_growth_rests_on_years_that_are_all_complete_and_says_where_they_are_small(atlas):
    for year, papers in ((2015, 100), (2018, 25), (2019, 24), (2020, 180), (2021, 200)):
        put(atlas, "world_year", [{"year": year, "papers": 1000}])
        put(atlas, "country_year", [{"territory": "A", "year": year, "papers": papers}])
        done = {"year": year, "is_complete": year > 2015, "as_of": datetime.date(2023, 1, 1), "basis": "assumed"}
        put(atlas, "completeness", [done])
    rows = {row["year"]: row for row in read(atlas, "FROM country_growth")}
    assert rows[2020]["compound_growth_5"] is None  # 2015 was not complete
    assert {year: row["low_n"] for year, row in rows.items()} == {
        2015: False,
        2018: False,  # 25 papers
        2019: True,
        2020: True,  # the year before holds 24
        2021: False,
    }


def test_below_25_papers_a_rate_is_marked(atlas):
    put(atlas, "world_year", [{"papers": 100, "papers_international": 50}])
    put(atlas, "country_year", countries(A=(60, 50, 60), B=(25, 25, 25), C=(24, 24, 24)))
    put(atlas, "pair_year", [pair("A", "B", 25), pair("A", "C", 24)])
    assert {row["territory_b"]: row["low_n"] for row in read(atlas, "FROM pair_rates")} == {"B": False, "C": True}
    assert {row["territory"]: row["low_n"] for row in read(atlas, "FROM country_rates")} == {
        "A": False,
        "B": False,
        "C": True,
    }


def test_the_international_rate_has_bounds(atlas):
    put(atlas, "world_year", [{"papers": 100, "papers_international": 50}])
    counted = {"papers": 40, "papers_international": 10, "papers_undetermined": 6, "papers_domestic": 24}
    put(atlas, "country_year", [{"territory": "A"} | counted])
    (row,) = read(atlas, "FROM country_rates")
    assert (row["international_rate_low"], row["international_rate_high"]) == (0.25, 0.4)


def test_a_territory_has_its_shares_of_the_world_and_the_unknown_is_none(atlas):
    put(atlas, "world_year", [{"papers": 200, "papers_international": 80}])
    counted = {"papers": 50, "papers_international": 32, "links": 48, "fractional": Decimal(30)}
    put(atlas, "country_year", [{"territory": "A"} | counted, {"territory": "ZZ"} | counted])
    (row,) = read(atlas, "FROM country_rates")
    expected = {
        "territory": "A",
        "world_papers": 200,
        "world_share": 50 / 200,
        "world_share_fractional": 30 / 200,
        "world_share_international": 32 / 80,
        "partners_per_paper": 48 / 32,
    }
    assert {name: row[name] for name in expected} == expected


def test_a_pair_says_what_it_was_counted_from(atlas):
    world = {"papers": 200, "papers_international": 80, "papers_with_unknown": 30}
    put(atlas, "world_year", [world, world | {"field": "all"}])
    put(atlas, "country_year", countries(A=(64, 36, 40), B=(50, 25, 30)))
    made_of = {"papers_bilateral": 12, "papers_dual_only": 3, "papers_with_unknown": 6}
    put(atlas, "pair_year", [pair("A", "B", 15, **made_of)])
    (row,) = read(atlas, "FROM pair_rates")
    expected = {
        "salton_intl": 15 / sqrt(36 * 25),
        "bilateral_share": 12 / 15,
        "dual_only_share": 3 / 15,
        "unknown_share": 6 / 15,
        "world_located_share": 170 / 200,
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-14)
    shown = "papers, papers_with_unknown, papers_international"
    ranked = read(atlas, f"SELECT {shown} FROM partner_rank ORDER BY territory")
    assert [tuple(row.values()) for row in ranked] == [(15, 6, 36), (15, 6, 25)]


def test_coverage_is_of_the_works_and_authors_of_its_field_and_year(atlas):
    located = {"papers_all_located": 12, "papers_some_located": 5, "papers_none_located": 3}
    every = {"evidence": "all", "papers": 20, "authors": 80} | located
    nowhere = {"evidence": "none", "papers": 8, "authors": 20, "papers_some_located": 5, "papers_none_located": 3}
    put(atlas, "coverage_year", [every, nowhere])
    put(atlas, "coverage_year", [every | more for more in ({"field": "all"}, {"year": 2021}, {"corpus": "venues"})])
    shares = "share_all_located, share_some_located, share_none_located, share_of_authors"
    of = "FROM coverage_rates WHERE corpus = 'openalex' AND field = 'ai' AND year = 2020 ORDER BY evidence"
    rows = [tuple(row.values()) for row in read(atlas, f"SELECT {shares} {of}")]
    assert rows == [(12 / 20, 5 / 20, 3 / 20, 1), (0, 5 / 8, 3 / 8, 20 / 80)]


def test_sums_reconcile(atlas):
    fill(atlas)
    put(atlas, "country_year", [{"territory": "ZZ", "papers": 9}, {"territory": "X"}])  # of X all papers went
    put(atlas, "world_year", [{"year": 2021, "papers": 4}])  # a year that no author is known of
    row, empty = read(atlas, "FROM reconciliation ORDER BY year")
    assert (row["links_gap"], row["pairs_gap"], row["territories"]) == (0, 0, 3)
    assert row["fractional_gap"] == 30
    put(atlas, "pair_year", [pair("A", "X", 1)])  # that no link of the world stands for
    assert read(atlas, "SELECT pairs_gap FROM reconciliation WHERE year = 2020") == [{"pairs_gap": 1}]
    assert [empty[name] for name in ("fractional_gap", "links_gap", "pairs_gap", "territories")] == [-4, 0, 0, 0]


# NSF NCSES: tables 10059 (papers by country) and 10060 (matrix of international papers), as mart counts

WORLD_INTERNATIONAL = 153_630


@pytest.fixture(scope="module")
def nsf(shared: Path):
    """The two tables in a mart; names of countries stand for codes."""
    papers, matrix = (
        shared / "tables" / name
        for name in ("nsf_10059_ai_articles_by_country.csv", "nsf_10060_ai_coauthorship_matrix.csv")
    )
    with papers.open() as file:
        listed = {row["region_country_or_economy"]: row for row in csv.DictReader(file)}
    whole, international = "number_of_papers_whole_", "papers_involving_international_institutions_whole_"
    with matrix.open() as file:
        joint = {row["region_country_or_economy"]: row for row in csv.DictReader(file)}
    with duckdb.connect() as atlas:
        make_mart(atlas)
        world = listed.pop("World")
        put(atlas, "world_year", [{"papers": int(world[whole]), "papers_international": int(world[international])}])
        counts = [
            {"territory": name, "papers": int(row[whole]), "papers_international": int(row[international])}
            for name, row in listed.items()
        ]
        put(atlas, "country_year", counts)
        column = {name: name.lower().replace(" ", "_") for name in joint}
        pairs = [(a, b, int(joint[a][column[b]])) for a in joint for b in joint if a < b]
        assert all(int(joint[b][column[a]]) == c for a, b, c in pairs)
        put(atlas, "pair_year", [pair(a, b, c) for a, b, c in pairs])
        yield atlas, {row["territory"]: row["papers_international"] for row in counts}, pairs


def test_the_view_is_the_ncses_index_for_every_pair(nsf):
    """(c / n_a) / (n_b / W) in exact fractions, W being the world's papers with international institutions."""
    atlas, international, pairs = nsf
    rows = read(atlas, "SELECT territory_a, territory_b, association_strength_intl AS index FROM pair_indices")
    found = {(row["territory_a"], row["territory_b"]): row["index"] for row in rows}
    assert len(found) == len(pairs) == 60 * 59 // 2
    for a, b, c in pairs:
        exact = Fraction(c, international[a]) / Fraction(international[b], WORLD_INTERNATIONAL)
        assert found[a, b] == pytest.approx(float(exact), rel=1e-12), (a, b)


@pytest.mark.parametrize(
    ("a", "b", "worked"),
    [
        ("China", "United States", "{c} x 153630 / (43814 x 44356)"),
        ("Australia", "China", "5273 x 153630 / ({n} x 43814)"),
    ],
)
def test_the_ncses_index_as_worked_by_hand(nsf, a, b, worked):
    atlas, international, pairs = nsf
    assert (international["China"], international["United States"]) == (43_814, 44_356)
    (c,) = [papers for x, y, papers in pairs if (x, y) == (a, b)]
    numbers = worked.format(c=c, n=international["Australia"]).replace("x", "*")
    (row,) = read(atlas, f"FROM pair_indices WHERE territory_a = '{a}' AND territory_b = '{b}'")
    assert row["papers"] == c
    assert row["association_strength_intl"] == pytest.approx(eval(numbers), rel=1e-12)  # a product, as written above


def test_row_sums_of_the_matrix_are_not_international_papers(nsf):
    """The trap: a paper with three countries is in two cells of each row, and 60 countries are not the world."""
    atlas, international, pairs = nsf
    sums = dict.fromkeys(international, 0)
    for a, b, c in pairs:
        sums[a] += c
        sums[b] += c
    (row,) = read(atlas, "FROM pair_indices WHERE territory_a = 'United Kingdom' AND territory_b = 'United States'")
    wrong = row["papers"] * WORLD_INTERNATIONAL / (sums["United Kingdom"] * sums["United States"])
    assert sums["United Kingdom"] > 1.2 * international["United Kingdom"]
    assert row["association_strength_intl"] > 1.2 * wrong
    assert row["papers_international_a"] == international["United Kingdom"]


def test_lead_blocs_sectors_flows_and_mentions(atlas):
    put(atlas, "world_year", [{"papers": 100, "papers_international": 40, "references_listed": 50}])
    put(
        atlas,
        "country_year",
        [
            {"territory": "US", "papers": 50, "papers_first": 30, "papers_corresponding": 10}
            | {"papers_first_international": 12},
            {"territory": "DE", "papers": 20},
            {"territory": "ZZ", "papers": 5, "papers_first": 3},
        ],
    )
    put(atlas, "pair_year", [pair("CN", "US", 8, papers_first_a=5, papers_first_b=2)])
    bloc = {"bloc": "eu", "papers": 20, "papers_internal": 8, "papers_external": 5, "fractional": Decimal(15)}
    put(atlas, "bloc_year", [bloc | {"papers_with_unknown": 3}])
    company = {"sector": "company", "papers": 10, "papers_international": 4}
    put(atlas, "sector_year", [company | {"territory": code} for code in ("US", "ZZ")])
    edges = [("US", "US", 6, "5.5"), ("US", "CN", 3, "2.5"), ("CN", "US", 2, "1.5"), ("US", "ZZ", 1, "0.5")]
    edges.append(("ZZ", "US", 1, "0.5"))
    flows = [
        {"territory_citing": a, "territory_cited": b, "citations": n, "fractional": Decimal(f)} for a, b, n, f in edges
    ]
    put(atlas, "flow_year", flows)
    named = [("US", 5, "2.5"), ("ZZ", 1, "0.5"), ("CN", 3, "2")]
    mentions = [{"mention": "qwen", "territory": code, "papers": n, "fractional": Decimal(f)} for code, n, f in named]
    put(atlas, "mention_year", mentions)

    follower, lead = read(atlas, "FROM lead_rates ORDER BY territory")
    assert (lead["territory"], lead["first_share"], lead["corresponding_share"], lead["world_share_first"]) == (
        "US",
        0.6,
        0.2,
        0.3,
    )
    assert (lead["mcp_ratio"], follower["mcp_ratio"]) == (0.4, None)
    assert (follower["papers_first"], follower["first_share"]) == (0, 0)  # told, and it is none
    assert (lead["world_first_unknown"], lead["world_corresponding_unknown"]) == (3, 0)
    (sides,) = read(atlas, "FROM pair_lead")
    assert (sides["first_share_a"], sides["first_share_b"]) == (5 / 8, 2 / 8)
    (rates,) = read(atlas, "FROM bloc_rates")
    shown = ("world_share", "internal_share", "external_share", "unknown_share", "world_share_fractional")
    assert [rates[name] for name in shown] == [0.2, 0.4, 0.25, 0.15, 0.15]
    (sector,) = read(atlas, "FROM sector_rates")
    assert (sector["sector_share"], sector["international_rate_low"]) == (0.2, 0.4)
    cited, silent, flow = read(atlas, "FROM flow_rates ORDER BY territory")
    assert (flow["citations_made"], flow["citations_received"], flow["citations_self"]) == (9, 8, 6)
    assert flow["self_share"] == pytest.approx(6 / 9)
    assert flow["self_share_fractional"] == pytest.approx(5.5 / 8.5)
    assert flow["received_self_share_fractional"] == pytest.approx(5.5 / 7.5)
    assert flow["known_edge_share"] == pytest.approx(10.5 / 50)
    counted = ("citations_made", "citations_received", "citations_self", "self_share", "self_share_fractional")
    assert [cited[name] for name in (*counted, "received_self_share_fractional")] == [2, 3, 0, 0, 0, 0]
    assert [silent[name] for name in counted] == [0, 0, 0, None, None]
    shares = {row["territory"]: row for row in read(atlas, "FROM mention_share")}
    assert shares["US"]["territory_share"] == 0.1
    assert sum(row["mention_share"] for row in shares.values()) == pytest.approx(1)


def test_references_of_which_none_is_known_are_a_share_of_zero(atlas):
    put(atlas, "world_year", [{"papers": 3, "references_listed": 14}, {"papers": 3, "year": 2021}])
    put(atlas, "country_year", [{"territory": "US", "papers": 2}, {"territory": "US", "papers": 2, "year": 2021}])
    told, silent = read(atlas, "FROM flow_rates ORDER BY year")
    assert (told["known_edge_share"], told["self_share"]) == (0, None)
    assert silent["known_edge_share"] is None  # no reference is listed


def test_a_year_without_any_country_is_unknown_and_not_zero():
    counted = {"papers": 0, "papers_with_unknown": 0, "world": 9, "world_with_unknown": 9}
    assert pairs._share_of(SimpleNamespace(**counted, world_without_country=9)) == (None, 9, 9, None, None, None)
    assert pairs._share_of(SimpleNamespace(**counted, world_without_country=8)) == (0, 9, 9, 0, 1, None)


def test_leads_that_no_paper_tells_are_unknown_and_not_zero(atlas):
    put(atlas, "world_year", [{"papers": 100}])
    put(atlas, "country_year", [{"territory": "US", "papers": 50, "papers_first": 30}])
    (lead,) = read(atlas, "FROM lead_rates")
    assert (lead["papers_first"], lead["first_share"], lead["world_first_unknown"]) == (30, 0.6, 0)
    assert (lead["papers_corresponding"], lead["corresponding_share"], lead["world_share_corresponding"]) == (None,) * 3
