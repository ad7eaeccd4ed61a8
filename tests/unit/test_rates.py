"""Rates of countries, pairs, blocs, sectors, citations and mentions on figures worked by hand; the unknown is null."""

from __future__ import annotations

from decimal import Decimal
from math import sqrt

import pytest

from tests.marts import countries, pair, put, read

WORLD = {"papers": 100, "papers_international": 40, "references_listed": 50}


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


def test_who_leads_papers_of_a_country(atlas):
    put(atlas, "world_year", [WORLD])
    us = {"territory": "US", "papers": 50, "papers_first": 30, "papers_corresponding": 10}
    others = [{"territory": "DE", "papers": 20}, {"territory": "ZZ", "papers": 5, "papers_first": 3}]
    put(atlas, "country_year", [us | {"papers_first_international": 12}, *others])
    follower, lead = read(atlas, "FROM lead_rates ORDER BY territory")
    shown = ("territory", "first_share", "corresponding_share", "world_share_first", "mcp_ratio")
    assert [lead[name] for name in shown] == ["US", 30 / 50, 10 / 50, 30 / 100, 12 / 30]
    assert (lead["world_first_unknown"], lead["world_corresponding_unknown"]) == (3, 0)
    assert (follower["papers_first"], follower["first_share"]) == (0, 0)  # told, and it is none
    assert follower["mcp_ratio"] is None


def test_leads_that_no_paper_tells_are_unknown_and_not_zero(atlas):
    put(atlas, "world_year", [{"papers": 100}])
    put(atlas, "country_year", [{"territory": "US", "papers": 50, "papers_first": 30}])
    (lead,) = read(atlas, "FROM lead_rates")
    assert (lead["papers_first"], lead["first_share"], lead["world_first_unknown"]) == (30, 0.6, 0)
    assert (lead["papers_corresponding"], lead["corresponding_share"], lead["world_share_corresponding"]) == (None,) * 3


def test_who_leads_papers_of_a_pair(atlas):
    put(atlas, "world_year", [WORLD])
    put(atlas, "pair_year", [pair("CN", "US", 8, papers_first_a=5, papers_first_b=2)])
    (sides,) = read(atlas, "FROM pair_lead")
    assert (sides["first_share_a"], sides["first_share_b"]) == (5 / 8, 2 / 8)


def test_a_bloc_works_within_and_outside_itself(atlas):
    put(atlas, "world_year", [WORLD])
    bloc = {"bloc": "eu", "papers": 20, "papers_internal": 8, "papers_external": 5, "papers_with_unknown": 3}
    put(atlas, "bloc_year", [bloc | {"fractional": Decimal(15)}])
    (rates,) = read(atlas, "FROM bloc_rates")
    shown = ("world_share", "internal_share", "external_share", "unknown_share", "world_share_fractional")
    assert [rates[name] for name in shown] == [20 / 100, 8 / 20, 5 / 20, 3 / 20, 15 / 100]


def test_a_sector_has_its_share_of_a_country(atlas):
    put(atlas, "world_year", [WORLD])
    put(atlas, "country_year", [{"territory": code, "papers": 50} for code in ("US", "ZZ")])
    company = {"sector": "company", "papers": 10, "papers_international": 4}
    put(atlas, "sector_year", [company | {"territory": code} for code in ("US", "ZZ")])
    (sector,) = read(atlas, "FROM sector_rates")  # the unknown is no country
    assert (sector["sector_share"], sector["international_rate_low"]) == (10 / 50, 4 / 10)


def test_a_country_cites_and_is_cited(atlas):
    put(atlas, "world_year", [WORLD])
    put(atlas, "country_year", [{"territory": "US", "papers": 50}, {"territory": "DE", "papers": 20}])
    edges = [("US", "US", 6, "5.5"), ("US", "CN", 3, "2.5"), ("CN", "US", 2, "1.5")]
    edges += [("US", "ZZ", 1, "0.5"), ("ZZ", "US", 1, "0.5")]
    columns = ("territory_citing", "territory_cited", "citations", "fractional")
    put(atlas, "flow_year", [dict(zip(columns, (a, b, n, Decimal(f)), strict=True)) for a, b, n, f in edges])
    cn, de, us = read(atlas, "FROM flow_rates ORDER BY territory")
    made = ("citations_made", "citations_received", "citations_self")
    assert [us[name] for name in made] == [6 + 3, 6 + 2, 6]
    assert us["self_share"] == pytest.approx(6 / 9)
    assert us["self_share_fractional"] == pytest.approx(5.5 / 8.5)
    assert us["received_self_share_fractional"] == pytest.approx(5.5 / 7.5)
    assert us["known_edge_share"] == pytest.approx(10.5 / 50)  # what lies between known ends, of all references
    shares = ("self_share", "self_share_fractional")
    assert [cn[name] for name in (*made, *shares, "received_self_share_fractional")] == [2, 3, 0, 0, 0, 0]
    assert [de[name] for name in (*made, *shares)] == [0, 0, 0, None, None]  # cites nobody, and nobody it


def test_references_of_which_none_is_known_are_a_share_of_zero(atlas):
    put(atlas, "world_year", [{"papers": 3, "references_listed": 14}, {"papers": 3, "year": 2021}])
    put(atlas, "country_year", [{"territory": "US", "papers": 2}, {"territory": "US", "papers": 2, "year": 2021}])
    told, silent = read(atlas, "FROM flow_rates ORDER BY year")
    assert (told["known_edge_share"], told["self_share"]) == (0, None)
    assert silent["known_edge_share"] is None  # no reference is listed


def test_a_mention_is_shared_out_among_countries(atlas):
    put(atlas, "world_year", [WORLD])
    put(atlas, "country_year", [{"territory": "US", "papers": 50}])
    named = [("US", 5, "2.5"), ("ZZ", 1, "0.5"), ("CN", 3, "2")]
    columns = ("territory", "papers", "fractional")
    rows = [dict(zip(columns, (code, n, Decimal(f)), strict=True)) | {"mention": "qwen"} for code, n, f in named]
    put(atlas, "mention_year", rows)
    shares = {row["territory"]: row for row in read(atlas, "FROM mention_share")}
    assert shares["US"]["territory_share"] == 5 / 50
    assert sum(row["mention_share"] for row in shares.values()) == pytest.approx(1)
