"""Countries by the names that people type: one country, or a refusal that says what to type."""

import pytest

from schemas.errors import UsageError
from schemas.places.gazetteer import Kind, load_gazetteer
from schemas.places.territories import UNKNOWN, territory_names
from tasks.countries.places import AMBIGUOUS, PARTS, territory_of

SPOKEN = """
UK GB | U.S.A. US | usa US | DEU DE | Turkey TR | Türkiye TR | turkiye TR | Republic of Korea KR | Korea, Republic of KR
Czech Republic CZ | Ivory Coast CI | cote d'ivoire CI | Holland NL | the Netherlands NL | Burma MM | Great Britain GB
America US | Iran, Islamic Republic of IR | Congo, The Democratic Republic of the CD | DRC CD | China, Hong Kong SAR HK
Brasil BR | 中国 CN | Deutschland DE | Georgia GE | Jersey JE | St. Lucia LC | US Virgin Islands VI | Macau MO
"""


@pytest.mark.parametrize("said", [said.strip() for said in SPOKEN.replace("\n", " | ").split("|") if said.strip()])
def test_a_country_by_the_names_that_people_type(said):
    name, code = said.rsplit(" ", 1)
    assert territory_of(name, "iso") == code


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("Scotland", "'Scotland' has no figures of its own: affiliations there count for United Kingdom -> ask for GB"),
        ("England", "ask for GB"),
        ("Northern Cyprus", "ask for CY"),
        ("California", "affiliations there count for United States -> ask for US"),
        ("the Congo", r"'the Congo' can be more than one country -> give its code: CD \(DR Congo\) or CG \(Congo\)"),
        ("Kongo", r"give its code: CD \(DR Congo\) or CG \(Congo\)"),
        ("Czechoslovakia", r"give its code: CZ \(Czechia\) or SK \(Slovakia\)"),
        ("Soviet Union", r"RU \(Russia\) or"),
        ("Paris", "unknown country 'Paris' -> give a code such as IN, or an English name"),
        ("Belguim", r"did you mean Belgium \(BE\)\?"),
        ("Nigerai", r"did you mean Nigeria \(NG\) or Niger \(NE\)\?"),
        ("EU", "it is a bloc: .* `collab ask non-western --bloc eu` ranks its members"),
        ("African Union", "--bloc african-union"),
        ("Unknown", "unknown country 'Unknown'"),
        ("?!", "unknown country '\\?!'"),
    ],
)
def test_what_is_no_single_country_is_refused(said, hint):
    with pytest.raises(UsageError, match=hint):
        territory_of(said, "iso")


def test_every_territory_goes_by_its_name_in_the_tables_unless_others_do():
    names = {
        name: code for code, name in territory_names().items() if code != UNKNOWN and name.casefold() not in AMBIGUOUS
    }
    assert {name: territory_of(name, "iso") for name in names} == names


def test_parts_are_those_that_the_gazetteer_reads_as_countries():
    found = {part: load_gazetteer().names[part].kind for part in PARTS}
    assert {part for part, kind in found.items() if kind not in (Kind.COUNTRY, Kind.RISKY_COUNTRY)} == set()
