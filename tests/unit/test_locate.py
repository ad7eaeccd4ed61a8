"""Countries of strings and affiliations, and shares that sum to exactly one."""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.tables import SHARE_SCALE
from schemas.territories import UNKNOWN, policies
from tasks.locate import countries_in, country_of_code, locate
from tasks.parse import Address, Author, BadRecord, Institution, ParsedWork, Places, Version


def place(country: str | None, number: int = 1) -> Institution:
    return Institution(number, None, None, country, None)


def person(*addresses: tuple[str, tuple[Institution, ...]], loose: tuple[Institution, ...] = ()) -> Author:
    return Author(1, False, Places(tuple(Address(text, found) for text, found in addresses), loose))


def paper(*authors: Author, cut: bool = False) -> ParsedWork:
    version = Version(11, datetime(2026, 1, 1), 0)
    return ParsedWork(version, None, None, None, 2020, "article", None, None, False, 0, list(authors), cut, [], 0)


def rows(*authors: Author):
    return [row for found in locate(paper(*authors)).authors for row in found.rows]


def shares(work: ParsedWork, policy: str = "iso") -> dict[str, int]:
    return {part.territory: part.share for part in locate(work).credit.territories if part.policy == policy}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Naivasha, Kenya", ("KE",)),
        ("University of Tokyo, Tokyo, Japan.", ("JP",)),
        ("MIT, Cambridge, MA 02139, USA", ("US",)),
        ("Dept of Physics, Beijing 100875, P.R. China", ("CN",)),
        ("Key Laboratory, Beijing 100875,China)", ("CN",)),
        ("National University of Singapore, Singapore 117543", ("SG",)),
        ("University College London, London, U.K.", ("GB",)),
        ("University of Edinburgh, Edinburgh, Scotland", ("GB",)),
        ("HKUST, Clear Water Bay, Hong Kong, China", ("HK",)),
        ("CHU, Pointe-à-Pitre, Guadeloupe, France", ("GP",)),
        ("Academia Sinica, Taipei, Taiwan, Republic of China", ("TW",)),
        ("KAIST, Daejeon, Republic of Korea", ("KR",)),
        ("Kim Il Sung University, Pyongyang, DPRK", ("KP",)),
        ("University of Windhoek, Namibia", ("NA",)),
        ("Université, Abidjan, Côte d’Ivoire", ("CI",)),
        ("Technical University, The Netherlands", ("NL",)),
        ("Lab A, Paris, France; Lab B, Berlin, Germany", ("FR", "DE")),
        ("Institute, Rome, Italy. Electronic address: a@b.it", ("IT",)),
        ("Institute, Rome, Italy a@b.it", ("IT",)),
        # names that are something else, or nothing
        ("Georgia Institute of Technology, Atlanta, Georgia", ()),
        ("Beth Israel Deaconess Medical Center", ()),
        ("Jersey City Medical Center, Jersey City, New Jersey", ()),
        ("Dartmouth-Hitchcock, Lebanon, NH", ()),
        ("University of New Mexico", ()),
        ("Guinea Pig Lab", ()),
        ("Department of Chad Studies, Ohio", ()),
        ("Université de Kinshasa, Congo", ()),
        ("University of California, Davis, CA", ()),
        ("", ()),
        (",;. ()", ()),
    ],
)
def test_a_string_names_a_country_in_its_last_segment(text, expected):
    assert countries_in(text) == expected


@given(st.text(max_size=300))
def test_any_string_is_read_without_harm(text):
    assert all(len(code) == 2 for code in countries_in(text))


@pytest.mark.parametrize(
    "text", ["x" * 1_000_000, "," * 1_000_000, " " * 1_000_000, "e-mail " * 200_000, "\u202e\x00<b>" * 100_000]
)
def test_huge_strings_take_no_time(text):
    assert countries_in(text) == ()


def test_codes_are_translated_or_refused():
    assert [country_of_code(code, 2020) for code in ("us", "UK", "EL", "XK", "NA", "QX")] == [
        "US",
        "GB",
        "GR",
        "XK",
        "NA",
        "QX",
    ]
    assert country_of_code("DD", 1985) == "DE"
    for code, year in (("DD", 2020), ("SU", 1980), ("YU", None)):
        with pytest.raises(BadRecord, match="withdrawn"):
            country_of_code(code, year)


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        # the unit is the string, not the institution: two institutions in one string share it
        (paper(person(("S", (place("FR"), place("US", 2))))), {"FR": 500_000_000, "US": 500_000_000}),
        (
            paper(person(("S", (place("FR"), place("FR", 2))), ("T", (place("US", 3),)))),
            {"FR": 500_000_000, "US": 500_000_000},
        ),
        # one unknown institution beside a known one does not make the unit unknown
        (paper(person(("S", (place("FR"), place(None, 2))))), {"FR": 1_000_000_000}),
        # strings that differ in case, blanks and a final stop are one unit
        (
            paper(person(("Lab, Rome.", (place("IT"),)), ("lab,  rome", (place("IT"),)), ("X", (place("US", 2),)))),
            {"IT": 500_000_000, "US": 500_000_000},
        ),
        # institutions tied to no string count only for an author without linked strings
        (paper(person(("S", (place("FR"),)), loose=(place("US", 2),))), {"FR": 1_000_000_000}),
        (paper(person(loose=(place("FR"), place("US", 2)))), {"FR": 500_000_000, "US": 500_000_000}),
        (paper(person(("unlinked", ()), loose=(place("FR"),))), {"FR": 1_000_000_000}),
        # nobody known
        (paper(person()), {"ZZ": 1_000_000_000}),
        (paper(), {"ZZ": 1_000_000_000}),
        # thirds: floors, the remainder to the largest, ties to the first code, ZZ last
        (
            paper(*(person(("S", (place(c),))) for c in ("US", "CN", "GB"))),
            {"CN": 333_333_334, "GB": 333_333_333, "US": 333_333_333},
        ),
        (
            paper(person(("S", (place("US"),))), person(), person(("S", (place("GB"),)))),
            {"GB": 333_333_334, "US": 333_333_333, "ZZ": 333_333_333},
        ),
        # a cut list: one unknown author more
        (paper(person(("S", (place("US"),))), cut=True), {"US": 500_000_000, "ZZ": 500_000_000}),
    ],
)
def test_shares(work, expected):
    assert shares(work) == expected


def test_the_institution_decides_and_the_contradiction_is_marked():
    found = rows(
        person(("Microsoft Research, Beijing, China", (place("US"),)), ("Lab, Hong Kong, China", (place("CN", 2),)))
    )
    assert [(row.country, row.country_source, row.is_conflict) for row in found] == [
        ("US", "institution", True),
        ("CN", "institution", True),
    ]
    agreeing = rows(person(("Lab, Shatin, China", (place("HK"),))))
    assert [row.is_conflict for row in agreeing] == [False]  # China is what is named after Hong Kong


def test_an_override_beats_everything():
    assert [(row.country, row.country_source) for row in rows(person(("ORCID, Inc.", (place("US"),))))] == [
        (UNKNOWN, "override")
    ]


def test_one_author_in_two_countries_is_their_only_link():
    work = paper(person(("S", (place("FR"),)), ("T", (place("US", 2),))), person(("T", (place("US", 2),))))
    parts = [part for part in locate(work).credit.territories if part.policy == "iso"]
    assert {part.territory: (part.authors, part.only_author) for part in parts} == {"FR": (1, 1), "US": (2, None)}


countries = st.sampled_from(("US", "CN", "HK", "MO", "TW", "FR", None))
places = st.builds(place, countries, st.integers(1, 4))
addresses = st.tuples(st.sampled_from(("S", "T", "Lab, Lyon, France", "U")), st.lists(places, max_size=3).map(tuple))
people = st.builds(
    lambda found, loose: person(*found, loose=tuple(loose)),
    st.lists(addresses, max_size=3, unique_by=lambda a: a[0]),
    st.lists(places, max_size=2),
)


@given(st.lists(people, max_size=7), st.booleans())
def test_shares_sum_to_exactly_one_under_every_policy(authors, cut):
    work = paper(*authors, cut=cut)
    iso = shares(work)
    for policy in policies():
        found = shares(work, policy.id)
        assert sum(found.values()) == SHARE_SCALE
        assert min(found.values()) >= 0
        for territory, share in found.items():
            assert share == sum(value for code, value in iso.items() if policy.counts_as.get(code, code) == territory)
    assert abs(sum(Fraction(share, SHARE_SCALE) for share in iso.values()) - 1) == 0


@given(st.lists(people, min_size=1, max_size=5))
def test_shares_are_within_a_billionth_of_the_exact_rule(authors):
    """The rule in fractions, written down a second time straight from the definition."""
    exact: dict[str, Fraction] = {}
    for found in locate(paper(*authors)).authors:
        units: dict[int, set[str]] = {}
        for row in found.rows:
            if row.unit:
                units.setdefault(row.unit, set()).add(row.country)
        for known in units.values() if units else [{UNKNOWN}]:
            named = known - {UNKNOWN} or {UNKNOWN}
            for territory in named:
                weight = Fraction(1, len(authors)) / max(len(units), 1) / len(named)
                exact[territory] = exact.get(territory, Fraction(0)) + weight
    for territory, share in shares(paper(*authors)).items():
        assert abs(Fraction(share, SHARE_SCALE) - exact[territory]) < Fraction(len(exact) + 1, SHARE_SCALE)
