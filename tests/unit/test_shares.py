"""What a work credits its territories with beside shares: authors, leads, sectors, and the row of each policy."""

from __future__ import annotations

import pytest

from schemas.places.territories import UNKNOWN
from schemas.tables import SECTOR_BITS
from tasks.countries.shares import Credit, Part, PolicyRow, Territory, credit, weights_of

EDUCATION, COMPANY, GOVERNMENT = (SECTOR_BITS[name] for name in ("education", "company", "government"))


def part(*countries: str, **sectors: int) -> Part:
    """An author with one unit for each country."""
    return Part(weights_of({at: {country} for at, country in enumerate(countries)}), tuple(sorted(sectors.items())))


def of(found: Credit, policy: str) -> dict[str, Territory]:
    return {one.territory: one for one in found.territories if one.policy == policy}


def test_a_folded_territory_brings_its_authors_and_sectors_to_the_one_it_counts_as():
    found = credit((part("CN", CN=EDUCATION), part("HK", HK=COMPANY), part("US", US=GOVERNMENT)), (2,))
    iso, folded = of(found, "iso"), of(found, "greater-china")
    assert {code: (one.authors, one.only_author, one.sectors) for code, one in iso.items()} == {
        "CN": (1, 1, EDUCATION),
        "HK": (1, 2, COMPANY),
        "US": (1, 3, GOVERNMENT),
    }
    assert {code: (one.authors, one.only_author, one.sectors) for code, one in folded.items()} == {
        "CN": (2, None, EDUCATION | COMPANY),
        "US": (1, 3, GOVERNMENT),
    }
    assert folded["CN"].is_first
    assert folded["CN"].is_corresponding  # by the author in Hong Kong


def test_one_author_in_both_ends_of_a_fold_is_one_author():
    folded = of(credit((part("CN", "HK"), part("US"))), "greater-china")
    assert (folded["CN"].authors, folded["CN"].only_author) == (1, 1)


def test_who_leads():
    """The first author is in FR, the corresponding ones in DE and JP; US has neither, FR is not corresponding."""
    found = of(credit((part("FR"), part("DE"), part("US"), part("JP", "DE")), (2, 4)), "iso")
    assert {code for code, one in found.items() if one.is_first} == {"FR"}
    assert {code for code, one in found.items() if one.is_corresponding} == {"DE", "JP"}


def test_a_territory_without_an_institution_is_of_an_unknown_sector():
    found = of(credit((part("FR", FR=EDUCATION), part("DE"))), "iso")
    assert {code: one.sectors for code, one in found.items()} == {"FR": EDUCATION, "DE": SECTOR_BITS["unknown"]}


def test_the_author_whom_a_cut_list_hides_is_of_an_unknown_sector():
    found = of(credit((part("FR", FR=EDUCATION), part(UNKNOWN, ZZ=COMPANY)), is_cut=True), "iso")
    assert found[UNKNOWN].sectors == COMPANY | SECTOR_BITS["unknown"]


def test_sectors_of_several_authors_are_counted_once():
    found = of(credit((part("FR", FR=EDUCATION), part("FR", FR=EDUCATION | COMPANY), part("FR", FR=EDUCATION))), "iso")
    assert found["FR"].sectors == EDUCATION | COMPANY


@pytest.mark.parametrize(
    ("authors", "more", "located", "row"),
    [
        ((part("FR"), part("DE")), {}, 2, (2, 0)),
        ((part("FR"), part()), {}, 1, (1, 500_000_000)),  # ZZ is no territory, and its author is nowhere
        ((part("FR", UNKNOWN), part()), {}, 1, (1, 750_000_000)),
        ((part(), part()), {}, 0, (0, 1_000_000_000)),
        ((part("FR"),), {"is_cut": True}, 1, (1, 500_000_000)),
        ((part(),), {"unassigned": frozenset({"BR", "PT"})}, 0, (2, 1_000_000_000)),  # of nobody in particular
    ],
)
def test_territories_are_the_known_ones_and_the_rest_is_unknown(authors, more, located, row):
    found = credit(authors, **more)
    assert found.authors_located == located
    assert found.policies[0] == PolicyRow("iso", *row)


def test_countries_that_are_tied_to_no_author_have_no_share_and_no_author():
    found = of(credit((part(),), unassigned=frozenset({"BR"})), "iso")
    assert (found["BR"].share, found["BR"].authors, found["BR"].only_author) == (0, 0, None)
    assert not found["BR"].is_first
    beside = of(credit((part("BR"), part()), unassigned=frozenset({"BR"})), "iso")
    assert (beside["BR"].share, beside["BR"].authors) == (500_000_000, 1)  # an author's share stays
