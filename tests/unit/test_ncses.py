"""The index of NSF's NCSES, from its own tables: 10059 (papers by country), 10060 (matrix of international papers)."""

from __future__ import annotations

import csv
from fractions import Fraction
from pathlib import Path

import duckdb
import pytest

from tests.marts import make_mart, pair, put, read

WORLD_INTERNATIONAL = 153_630  # papers with international institutions, of the whole world, in table 10059


@pytest.fixture(scope="module")
def nsf(shared: Path):
    """A mart of both tables, with names of countries for codes; international papers by country; pairs."""
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
    ("a", "b", "papers", "worked"),
    [
        ("China", "United States", 13_631, 13_631 * 153_630 / (43_814 * 44_356)),
        ("Australia", "China", 5_273, 5_273 * 153_630 / (13_108 * 43_814)),
    ],
)
def test_the_ncses_index_as_worked_by_hand(nsf, a, b, papers, worked):
    """With the figures as the tables print them: papers of both x of the world / (of the one x of the other)."""
    atlas, *_ = nsf
    (row,) = read(atlas, f"FROM pair_indices WHERE territory_a = '{a}' AND territory_b = '{b}'")
    assert row["papers"] == papers
    assert row["association_strength_intl"] == pytest.approx(worked, rel=1e-12)


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
