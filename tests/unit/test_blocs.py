"""Blocs: well-known facts by year, partitions that hold every territory once, and files that are refused."""

from __future__ import annotations

from collections import Counter
from datetime import date

import pytest

from schemas.places.blocs import PARTITIONS, Period, blocs, build_blocs, members_by_year
from schemas.places.territories import UNKNOWN, territory_names

TERRITORIES_WITH_STATES = set("AX BL BM FO GF GG GI GL GP IM JE MF MQ PM RE SJ YT".split())
ROW = {"bloc": "club", "name": "Club", "scheme": "alliance", "text": "t", "source": "s"}


def members(bloc: str, year: int) -> set[str]:
    return {one.territory for one in members_by_year() if one.bloc == bloc and one.first_year <= year <= one.last_year}


def states(bloc: str, year: int) -> set[str]:
    return members(bloc, year) - TERRITORIES_WITH_STATES


@pytest.mark.parametrize(
    ("bloc", "sizes"),
    [
        ("eu", {1957: 0, 1958: 6, 1973: 9, 1981: 10, 1986: 12, 1995: 15, 2003: 15, 2004: 25, 2007: 27, 2012: 27}),
        ("eu", {2013: 28, 2019: 28, 2020: 27, 2026: 27}),
        ("oecd", {1961: 0, 1962: 20, 1994: 25, 2000: 29, 2001: 30, 2010: 31, 2011: 34, 2016: 35, 2018: 35}),
        ("oecd", {2019: 36, 2020: 37, 2021: 38, 2026: 38}),
        ("nato", {1950: 12, 1952: 14, 1955: 15, 1982: 16, 1999: 19, 2004: 26, 2009: 28, 2017: 29, 2020: 30, 2023: 31}),
        ("nato", {2024: 32}),
        ("brics", {2008: 0, 2009: 4, 2010: 4, 2011: 5, 2023: 5, 2024: 9, 2025: 10}),
        ("asean", {1967: 0, 1968: 5, 1984: 6, 1996: 7, 1998: 9, 1999: 10, 2025: 10, 2026: 11}),
        ("quad", {2006: 0, 2007: 4, 2008: 0, 2017: 0, 2018: 4, 2026: 4}),
        ("five-eyes", {1956: 5, 2026: 5}),
        ("g7", {1976: 7, 2026: 7}),
        ("african-union", {1963: 32, 2011: 53, 2012: 54, 2016: 54, 2017: 55, 2026: 55}),
    ],
)
def test_alliances_have_their_known_sizes(bloc, sizes):
    assert {year: len(states(bloc, year)) for year in sizes} == sizes


@pytest.mark.parametrize(
    ("bloc", "territory", "inside", "outside"),
    [
        ("eu", "GB", (1973, 2019), (1972, 2020)),
        ("eu", "HR", (2013, 2026), (2012,)),
        ("eu", "GL", (1973, 1984), (1972, 1985)),
        ("eu", "GI", (1973, 2019), (2020,)),
        ("eu", "YT", (2014,), (2013,)),
        ("eu", "BL", (2011,), (2012,)),
        ("nato", "FI", (2023,), (2022,)),
        ("nato", "SE", (2024,), (2023,)),
        ("oecd", "KR", (1997,), (1996,)),
        ("brics", "ZA", (2011,), (2010,)),
        ("brics", "ID", (2025,), (2024,)),
        ("african-union", "MA", (1963, 1984, 2017, 2026), (1985, 2016)),
        ("african-union", "ZA", (1994,), (1993,)),
        ("asean", "TL", (2026,), (2025,)),
    ],
)
def test_who_joined_and_left_when(bloc, territory, inside, outside):
    assert all(territory in members(bloc, year) for year in inside)
    assert not any(territory in members(bloc, year) for year in outside)


def test_territories_follow_their_state_only_where_a_treaty_says_so():
    assert {"AX", "GF", "GP", "MF", "MQ", "RE", "YT"} == members("eu", 2026) & TERRITORIES_WITH_STATES
    assert not {"NC", "PF", "FO", "GL", "BM", "AW", "SX"} & members("eu", 2026)
    assert {"GL", "FO", "SJ"} <= members("nato", 2026)
    for bloc in ("brics", "oecd", "g7", "asean", "quad", "five-eyes"):
        assert not {"HK", "MO", "TW", "PR", "SA"} & members(bloc, 2026)


@pytest.mark.parametrize("scheme", sorted(PARTITIONS))
def test_partitions_hold_every_territory_once_in_every_year(scheme):
    ids = {bloc.id for bloc in blocs() if bloc.scheme == scheme}
    for year in (1, 1990, 2026, 9999):
        held = Counter(one.territory for one in members_by_year() if one.bloc in ids and one.first_year <= year)
        assert held == dict.fromkeys(territory_names().keys() - {UNKNOWN}, 1)


@pytest.mark.parametrize(
    ("territory", "region", "side"),
    [
        ("TW", "asia", "non-western"),
        ("XK", "europe", "non-western"),
        ("HK", "asia", "non-western"),
        ("RU", "europe", "non-western"),
        ("TR", "asia", "non-western"),
        ("JP", "asia", "non-western"),
        ("MX", "latin-america-caribbean", "non-western"),
        ("CY", "asia", "western"),
        ("EE", "europe", "western"),
        ("GL", "northern-america", "western"),
        ("RE", "africa", "western"),
        ("PR", "latin-america-caribbean", "western"),
        ("AU", "oceania", "western"),
        ("FJ", "oceania", "non-western"),
        ("AQ", "antarctica", "non-western"),
    ],
)
def test_region_and_side_of_territories(territory, region, side):
    found = {bloc.scheme: bloc.id for bloc in blocs() if bloc.scheme in PARTITIONS and territory in members(bloc.id, 1)}
    assert found == {"region": region, "rest-of-world": side}


def test_a_year_counts_by_its_first_of_july():
    def years(start: str | None, end: str | None) -> tuple[int, int]:
        period = Period("FR", date.fromisoformat(start) if start else None, date.fromisoformat(end) if end else None)
        return period.first_year, period.last_year

    assert years("2013-07-01", "2020-07-01") == (2013, 2020)
    assert years("2013-07-02", "2020-06-30") == (2014, 2019)
    assert years(None, None) == (1, 9999)
    assert years("2020-08-01", "2021-05-01") == (2021, 2020)


@pytest.mark.parametrize(
    ("rows", "member_rows", "message"),
    [
        ([ROW | {"source": ""}], [("club", "FR", "", "")], "no source"),
        ([ROW | {"scheme": "gang"}], [("club", "FR", "", "")], "unknown scheme"),
        ([ROW, ROW], [("club", "FR", "", "")], "named twice"),
        ([ROW], [], "without members"),
        ([ROW], [("klub", "FR", "", "")], "klub is not in blocs.csv"),
        ([ROW], [("club", "XX", "", "")], "club XX: not the code"),
        ([ROW], [("club", "ZZ", "", "")], "club ZZ: not the code"),
        ([ROW], [("club", "FR", "2001-02-30", "")], "club FR: day is out of range"),
        ([ROW], [("club", "FR", "2002-01-01", "2001-01-01")], "ends before it begins"),
        ([ROW], [("club", "FR", "2001-01-01", ""), ("club", "FR", "2005-01-01", "")], "FR: periods overlap"),
        ([ROW], [("club", "FR", "2001-01-01", "2005-01-01"), ("club", "FR", "2005-01-01", "")], "periods overlap"),
        ([ROW | {"scheme": "region"}], [("club", "FR", "", "")], "missing or in two blocs"),
        ([ROW | {"scheme": "region"}], [("club", "FR", "2001-01-01", "")], "have no dates"),
    ],
)
def test_files_that_contradict_themselves_are_refused(rows, member_rows, message):
    keys = ("bloc", "territory", "valid_from", "valid_to")
    with pytest.raises(ValueError, match=message):
        build_blocs(rows, [dict(zip(keys, row, strict=True)) for row in member_rows])
