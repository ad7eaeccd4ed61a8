"""Growth of countries and pairs: between complete years only, and marked where years are small."""

from __future__ import annotations

import datetime

import pytest

from tests.marts import CELL, pair, put, read


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
