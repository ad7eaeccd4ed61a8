"""Indices of pairs and ranks of partners: every column is documented, formulas are right on figures worked by hand,
undefined is null."""

from __future__ import annotations

from math import log, sqrt

import pytest
import sqlalchemy as sa
from scipy.stats.contingency import relative_risk

from schemas.indices import VIEWS
from schemas.indices.intensity import relative_intensity
from tasks.releases.dictionary import render_dictionary
from tests.marts import CELL, countries, pair, put, read, sql_type

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
