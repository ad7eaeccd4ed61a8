"""Countries of strings and affiliations, and shares that sum to exactly one."""

from __future__ import annotations

from datetime import date, datetime
from fractions import Fraction
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.overrides import Override
from schemas.places.evidence import AGREED, RULES
from schemas.places.territories import UNKNOWN, policies
from schemas.tables import SECTOR_BITS, SHARE_SCALE
from tasks.countries.locate import Locator, country_of_code
from tasks.countries.reference import Reference
from tasks.reading.parsed import Address, Author, BadRecord, Institution, ParsedWork, Places, Version

LOCATOR = Locator(Reference())


def place(country: str | None, number: int = 1) -> Institution:
    return Institution(number, None, None, country, None)


def person(*addresses: tuple[str, tuple[Institution, ...]], loose: tuple[Institution, ...] = ()) -> Author:
    return Author(1, False, Places(tuple(Address(text, found) for text, found in addresses), loose))


def paper(*authors: Author, cut: bool = False) -> ParsedWork:
    version = Version(11, datetime(2026, 1, 1), 0)
    return ParsedWork(version, None, None, None, 2020, "article", None, None, False, 0, list(authors), cut, [], 0)


def rows(*authors: Author):
    return [row for found in LOCATOR.locate(paper(*authors)).authors for row in found.rows]


def shares(work: ParsedWork, policy: str = "iso") -> dict[str, int]:
    return {part.territory: part.share for part in LOCATOR.locate(work).credit.territories if part.policy == policy}


def sectors(*authors: Author) -> dict[str, int]:
    return {one.territory: one.sectors for one in LOCATOR.locate(paper(*authors)).credit.territories}


def test_sectors_are_of_what_links_an_author_to_the_territory():
    """An institution of no known country beside one of a known country in the same string links nobody to the unknown,
    whoever the co-authors are; an author of whom nothing is known is of no known sector, whoever the others are."""
    usual = Institution(1, None, None, "US", "nonprofit")
    nowhere = Institution(2, None, None, None, "other")
    both = person(("Public Knowledge Project", (usual, nowhere)))
    nonprofit, other, unknown = (SECTOR_BITS[name] for name in ("nonprofit", "other", "unknown"))
    assert sectors(both) == {"US": nonprofit}
    assert sectors(both, person()) == {"US": nonprofit, UNKNOWN: unknown}
    alone = person(("Public Knowledge Project", (nowhere,)))
    assert sectors(alone) == {UNKNOWN: other}
    assert sectors(alone, person()) == {UNKNOWN: other | unknown}


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
        pytest.param(
            paper(person(("S", (place("FR"), place("US", 2))))),
            {"FR": 500_000_000, "US": 500_000_000},
            id="two institutions in one string share it: the unit is the string",
        ),
        pytest.param(
            paper(person(("S", (place("FR"), place("FR", 2))), ("T", (place("US", 3),)))),
            {"FR": 500_000_000, "US": 500_000_000},
            id="two institutions of one country in one string are no two units",
        ),
        pytest.param(
            paper(person(("S", (place("FR"), place(None, 2))))),
            {"FR": 1_000_000_000},
            id="an unknown institution beside a known one does not make the unit unknown",
        ),
        pytest.param(
            paper(person(("Lab, Rome.", (place("IT"),)), ("lab,  rome", (place("IT"),)), ("X", (place("US", 2),)))),
            {"IT": 500_000_000, "US": 500_000_000},
            id="strings that differ in case, blanks and a final stop are one unit",
        ),
        pytest.param(
            paper(person(("Lab, Rome", (place("IT"),)), ("Lab Rome", (place("IT"),)), ("X", (place("US", 2),)))),
            {"IT": 666_666_667, "US": 333_333_333},
            id="in any other punctuation they are two, though the place is one",
        ),
        pytest.param(
            paper(person(("S", (place("FR"),)), loose=(place("US", 2),))),
            {"FR": 1_000_000_000},
            id="institutions tied to no string do not count beside a linked string",
        ),
        pytest.param(
            paper(person(loose=(place("FR"), place("US", 2)))),
            {"FR": 500_000_000, "US": 500_000_000},
            id="they count for an author without strings",
        ),
        pytest.param(
            paper(person(("unlinked", ()), loose=(place("FR"),))),
            {"FR": 1_000_000_000},
            id="and for one whose strings are linked to none",
        ),
        pytest.param(paper(person()), {"ZZ": 1_000_000_000}, id="nothing is known of the author"),
        pytest.param(paper(), {"ZZ": 1_000_000_000}, id="no author is listed"),
        pytest.param(
            paper(*(person(("S", (place(c),))) for c in ("US", "CN", "GB"))),
            {"CN": 333_333_334, "GB": 333_333_333, "US": 333_333_333},
            id="thirds are floors, and of equal ones the first code has the remainder",
        ),
        pytest.param(
            paper(person(("S", (place("US"),))), person(), person(("S", (place("GB"),)))),
            {"GB": 333_333_334, "US": 333_333_333, "ZZ": 333_333_333},
            id="ZZ is last among equal ones",
        ),
        pytest.param(
            paper(person(("S", (place("US"),))), cut=True),
            {"US": 500_000_000, "ZZ": 500_000_000},
            id="a cut list is one unknown author more",
        ),
    ],
)
def test_an_author_is_shared_out_by_strings(work, expected):
    assert shares(work) == expected


@pytest.mark.parametrize(
    ("text", "linked", "expected"),
    [
        # (country, rule, confidence, is_conflict) of each row
        ("Lab, Rome, Italy", [("IT", "education")], [("IT", "record", 99, False)]),
        ("Department of Physics", [("IT", "education")], [("IT", "record", 93, False)]),
        ("Lab, Shatin, China", [("HK", "education")], [("HK", "record", 99, False)]),  # China is named after Hong Kong
        # a contradiction in which nothing in the string speaks for the institution (trap T8)
        ("ANDRA, France", [("AU", "nonprofit")], [("FR", "unsupported_institution", 95, True)]),
        ("Lab, Hong Kong, China", [("CN", "education")], [("HK", "territory_of_state", 97, True)]),
        # companies and supranational bodies are where they say (traps T10, T14)
        ("Microsoft Research, Beijing, China", [("US", "company")], [("CN", "company_abroad", 95, True)]),
        # the place of another institution in the same string
        (
            "Columbia University and Fudan University, Shanghai, China",
            [("US", "education"), ("CN", "education")],
            [("US", "record", 60, True), ("CN", "record", 99, False)],
        ),
        # the string speaks for both, so the second address counts too
        (
            "University of California, San Diego and Tsinghua University, China",
            [("US", "education")],
            [("US", "record", 60, True), ("CN", "country", 99, False)],
        ),
        # two addresses in one string, an institution for one of them
        (
            "Univ A, Paris, France; Univ B, Berlin, Germany",
            [("FR", "education")],
            [("FR", "record", 99, False), ("DE", "country", 99, False)],
        ),
        # no institution, or one without a country
        ("Lab, Rome, Italy", [], [("IT", "country", 99, False)]),
        ("Lab, Rome, Italy", [(None, "education")], [("IT", "country", 99, False)]),
        ("Dept of Physics", [], [(UNKNOWN, "nothing_found", 0, False)]),
        # a name says less than a place: it does not contradict
        ("Max Planck Institute", [("US", "education")], [("US", "record", 93, False)]),
    ],
)
def test_who_wins_when_institution_and_string_disagree(text, linked, expected):
    institutions = tuple(Institution(at, None, None, code, type_) for at, (code, type_) in enumerate(linked, start=1))
    found = rows(person((text, institutions)))
    assert [(row.country, row.rule, row.confidence, row.is_conflict) for row in found] == expected
    assert all(row.country_source == RULES[row.rule].source for row in found)


def test_a_supranational_body_is_where_the_string_says():
    embl = Institution(1, "01zjc6908", None, "FR", "facility")
    (row,) = rows(person(("EMBL, Hamburg, Germany", (embl,))))
    assert (row.country, row.rule, row.evidence) == ("DE", "supranational_site", "Germany")


def test_an_override_beats_everything():
    assert [(row.country, row.country_source) for row in rows(person(("ORCID, Inc.", (place("US"),))))] == [
        (UNKNOWN, "override")
    ]


def test_one_author_in_two_countries_is_their_only_link():
    work = paper(person(("S", (place("FR"),)), ("T", (place("US", 2),))), person(("T", (place("US", 2),))))
    parts = [part for part in LOCATOR.locate(work).credit.territories if part.policy == "iso"]
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
    for found in LOCATOR.locate(paper(*authors)).authors:
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


def test_a_withdrawn_code_is_good_to_its_last_year_wherever_it_stands():
    assert country_of_code("DD", 1990) == "DE"
    with pytest.raises(BadRecord, match="withdrawn"):
        country_of_code("DD", 1991)
    for author in (person(("S", (place("DD"),))), person(loose=(place("DD"),))):
        work = paper(author)
        work.year = 1985
        assert shares(work) == {"DE": SHARE_SCALE}
        with pytest.raises(BadRecord, match="withdrawn"):
            LOCATOR.locate(paper(author))  # of 2020, although the same places were located before


def test_another_institution_of_a_territory_explains_a_string_that_names_its_state():
    found = rows(person(("Lab, Shatin, China", (place("US"), place("HK", 2)))))
    assert [(row.country, row.rule, row.is_conflict) for row in found] == [
        ("US", "record", True),
        ("HK", "record", False),
    ]


def test_places_beside_an_override_are_not_read():
    text = "Univ A, Paris, France; Univ B, Berlin, Germany"
    mine = Override("institution", "I1", "BR", "reviewed", "a letter", date(2026, 1, 1))
    (author,) = Locator(Reference((mine,))).locate(paper(person((text, (place("FR"),))))).authors
    assert [(row.country, row.rule) for row in author.rows] == [("BR", "override_institution")]


def test_what_counts_for_no_unit_is_no_source():
    """An author with a linked string: a loose institution is evidence beside it and gives no country."""
    work = paper(person(("S", (place(None),)), loose=(place("US", 2),)))
    (author,) = LOCATOR.locate(work).authors
    assert (author.source, {row.country for row in author.rows}) == ("none", {"US", UNKNOWN})
    assert shares(work) == {UNKNOWN: SHARE_SCALE}


def test_every_contradiction_of_an_author_is_counted():
    wrong = person(("ANDRA, France", (place("AU"),)), ("INRIA, Lyon, France", (place("AU"),)))
    found = LOCATOR.locate(paper(wrong, person(("S", (place("FR"),))), person()))
    assert found.evidence() == [("string_over_institution", 1, 2), ("institution", 1, 0), ("none", 1, 0)]


@pytest.mark.parametrize(
    ("text", "confidence"), [("Lab, Rome, Italy", AGREED), ("Dept", RULES["ror_record"].confidence)]
)
def test_a_string_that_agrees_raises_the_confidence_in_a_record_of_ror(text, confidence):
    registry = SimpleNamespace(country_of={"02bb00": "IT"}.get)
    nameless = Institution(1, "02bb00", None, None, None)
    (author,) = Locator(Reference(index=registry)).locate(paper(person((text, (nameless,))))).authors
    (row,) = author.rows
    assert (row.country, row.rule, row.confidence, row.is_conflict) == ("IT", "ror_record", confidence, False)
