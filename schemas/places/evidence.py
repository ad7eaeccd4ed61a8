"""What can decide the country of an affiliation: every rule with its source, how sure it is, and what it says.

Confidence is the share of right answers in percent, rounded down, as measured on the truth sets
(tests/bench/accuracy.py prints both); of a linked institution, what OpenAlex' parser reaches according to AffilGood.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

AGREED = 99
"""Confidence where the linked institution and the string say the same."""
DISPUTED = 60
"""Confidence of a linked institution that the string contradicts, where no rule lets the string win."""


SOURCE_TEXTS = {
    "override": "a reviewed correction of the string or institution",
    "string_over_institution": "the string names a place elsewhere than the linked institution, and a rule lets it win",
    "institution": "the linked institution, in its record or in ROR",
    "string": "the string names or implies the country; no institution with a country is linked",
    "ror_name": "the string holds the name of an organisation in ROR",
    "none": "no country is known",
}


class Evidence(StrEnum):
    """Rules. Those that read the printed string come strongest first."""

    COUNTRY = "country"
    TERRITORY = "territory"
    AMONG = "among"
    SUBDIVISION = "subdivision"
    CODE = "code"
    POSTAL = "postal"
    CITY = "city"
    ORGANIZATION = "organization"
    COUNTRY_IN_NAME = "country_in_name"
    CITY_IN_NAME = "city_in_name"
    SUBDIVISION_IN_NAME = "subdivision_in_name"
    HEADQUARTERS = "headquarters"
    ROR_PRINTED = "ror_printed"
    ROR_SIMILAR = "ror_similar"
    RECORD = "record"
    ROR_RECORD = "ror_record"
    COMPANY_ABROAD = "company_abroad"
    SUPRANATIONAL_SITE = "supranational_site"
    TERRITORY_OF_STATE = "territory_of_state"
    UNSUPPORTED_INSTITUTION = "unsupported_institution"
    OVERRIDE_STRING = "override_string"
    OVERRIDE_INSTITUTION = "override_institution"
    NOTHING_PRINTED = "nothing_printed"
    NOTHING_FOUND = "nothing_found"


class Rule(NamedTuple):
    """A rule: the `country_source` it stands under, its confidence in percent, and what it says."""

    source: str
    confidence: int
    text: str


RULES: dict[Evidence, Rule] = {
    Evidence.COUNTRY: Rule("string", 99, "a country ends the address"),
    Evidence.TERRITORY: Rule("string", 99, "a territory with a code of its own, named before its state"),
    Evidence.AMONG: Rule("string", 97, "a name of several states, decided by a place in the address"),
    Evidence.SUBDIVISION: Rule("string", 99, "a state or province ends the address"),
    Evidence.CODE: Rule("string", 95, "an ISO code ends the address, after a place of that country"),
    Evidence.POSTAL: Rule("string", 98, "a postal code or research unit number of a shape that only one country uses"),
    Evidence.CITY: Rule("string", 98, "a city whose name means one country stands alone"),
    Evidence.ORGANIZATION: Rule("string", 97, "an organisation of organizations.csv"),
    Evidence.COUNTRY_IN_NAME: Rule("string", 96, "a country inside a name, and no other"),
    Evidence.CITY_IN_NAME: Rule("string", 97, "a city inside a name, and none of another country"),
    Evidence.SUBDIVISION_IN_NAME: Rule("string", 97, "a state or province inside a name, and no other"),
    Evidence.HEADQUARTERS: Rule("string", 90, "no place is named: the seat of an organisation of headquarters.csv"),
    Evidence.ROR_PRINTED: Rule("ror_name", 97, "the name of an organisation in ROR stands in the string"),
    Evidence.ROR_SIMILAR: Rule("ror_name", 95, "a name like that of an organisation in ROR stands in the string"),
    Evidence.RECORD: Rule("institution", 93, "country of the linked institution"),
    Evidence.ROR_RECORD: Rule("institution", 93, "country of the linked institution in ROR, the source has none"),
    Evidence.COMPANY_ABROAD: Rule("string_over_institution", 95, "a company's laboratory is where the string says"),
    Evidence.SUPRANATIONAL_SITE: Rule(
        "string_over_institution", 95, "a supranational body's site is where the string says"
    ),
    Evidence.TERRITORY_OF_STATE: Rule(
        "string_over_institution", 97, "the string names a territory of the state that the institution is coded under"
    ),
    Evidence.UNSUPPORTED_INSTITUTION: Rule(
        "string_over_institution", 95, "nothing in the string speaks for the institution's country"
    ),
    Evidence.OVERRIDE_STRING: Rule("override", 100, "a reviewed correction of the string"),
    Evidence.OVERRIDE_INSTITUTION: Rule("override", 100, "a reviewed correction of the institution"),
    Evidence.NOTHING_PRINTED: Rule("none", 0, "neither an address nor an institution with a country"),
    Evidence.NOTHING_FOUND: Rule("none", 0, "the address says no country"),
}
EXPLICIT = frozenset({
    Evidence.COUNTRY, Evidence.TERRITORY, Evidence.AMONG, Evidence.SUBDIVISION, Evidence.CODE, Evidence.POSTAL,
})  # fmt: skip
"""Rules that read a place, not a name: they can contradict a linked institution."""
