"""Countries that a printed address names or safely implies. Pure functions, no network.

A string holds one or more addresses (tasks/segments.py). In each the strongest kind of evidence decides, in the order
of `RULES` in schemas/evidence.py: a country that ends the address, a state or province, a postal code, a city, the name
of an organisation, and last what stands in the middle of a segment. Evidence of one kind that contradicts itself
decides nothing. "Beth Israel" holds no country, and "Jersey City" is no part of Jersey.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from schemas.evidence import Evidence
from schemas.gazetteer import Kind, Name, load_gazetteer
from schemas.territories import named_before, sovereigns, territory_codes3, territory_names
from schemas.words import fold
from tasks.segments import CITIES, COUNTRIES, GLUED, LOCAL, PLACES, Address, Hit, Segment, addresses_of, clean

_POSTAL: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b[A-Z]{1,2}\d[A-Z\d]?\s\d[ABD-HJLNP-UW-Z]{2}\b"), "GB"),
    (re.compile(r"\b[ABCEGHJ-NPRSTVXY]\d[ABCEGHJ-NPRSTV-Z]\s?\d[ABCEGHJ-NPRSTV-Z]\d\b"), "CA"),
    (re.compile(r"\b(?:F|FR)[-‐‑–]\s?\d{5}\b"), "FR"),
    (re.compile(r"\b(?:D|DE)[-‐‑–]\s?\d{5}\b"), "DE"),
    (re.compile(r"\b(?:I|IT)[-‐‑–]\s?\d{5}\b"), "IT"),
    (re.compile(r"\bE[-‐‑–]\s?\d{5}\b"), "ES"),
    (re.compile(r"\b(?:CH)[-‐‑–]\s?\d{4}\b"), "CH"),
    (re.compile(r"\b(?:A|AT)[-‐‑–]\s?\d{4}\b"), "AT"),
    (re.compile(r"\b(?:B|BE)[-‐‑–]\s?\d{4}\b"), "BE"),
    (re.compile(r"\b(?:NL)[-‐‑–]\s?\d{4}(?:\s?[A-Z]{2})?\b"), "NL"),
    (re.compile(r"\b(?:DK)[-‐‑–]\s?\d{4}\b"), "DK"),
    (re.compile(r"\b(?:S|SE)[-‐‑–]\s?\d{3}\s?\d{2}\b"), "SE"),
    (re.compile(r"\b(?:FI|FIN|SF)[-‐‑–]\s?\d{5}\b"), "FI"),
    (re.compile(r"\bPL[-‐‑–]\s?\d{2}[-‐‑–]\d{3}\b"), "PL"),
    (re.compile(r"\bCZ[-‐‑–]\s?\d{3}\s?\d{2}\b"), "CZ"),
    (re.compile(r"〒\s?\d{3}[-‐‑–]\d{4}"), "JP"),
    (re.compile(r"\b(?:UMR|UPR|UMS|USR|FRE|UAR)(?:[\s_-]*(?:CNRS|INSERM|MD|S|C|n°))*[\s_-]*[A-Z]?\s?\d{3,4}\b"), "FR"),
    (re.compile(r"\b(?:EA|ERL|ULR)[\s-]?\d{3,4}\b|\b(?:ED|UR)[\s-]\d{3,4}\b|\bUR UPJV\b"), "FR"),
    (re.compile(r"\b(?:Inserm|INSERM)\b|\bU[\s-]?(?:8|9|10|11|12|13)\d{2}\b"), "FR"),
    (re.compile(r"\b[Cc](?:edex|EDEX)\b"), "FR"),
)
_zip = re.compile(r"\d{5}(?:\d{4})?")
_OVERSEAS = frozenset("GP MQ GF RE YT NC PF PM WF BL MF".split())  # French postal words are used there too


class Named(NamedTuple):
    """A country that a string names, by which rule, and the words that decided."""

    country: str
    rule: Evidence
    words: str


_Seen = tuple[int, Hit]
"""Number of a segment and a hit in it."""
_At = tuple[int, Named]
"""Number of a segment and what it says."""


@lru_cache(maxsize=50_000)
def read_addresses(raw: str) -> tuple[Named, ...]:
    """Countries that a raw affiliation string names, each once, in order of appearance; empty if it names none.

    Takes time linear in the length of the string, of which at most the first and last 2,000 characters are read.
    """
    text = clean(raw)
    found = _read(text)
    if not found and (apart := GLUED.sub(" ", text)) != text:
        found = _read(apart)
    return tuple({named.country: named for named in reversed(found)}.values())[::-1]


def countries_in(raw: str) -> tuple[str, ...]:
    """Codes of the countries that a raw affiliation string names, in order of appearance."""
    return tuple(named.country for named in read_addresses(raw))


@lru_cache(maxsize=10_000)
def places_in(raw: str) -> frozenset[str]:
    """Countries of all cities, states and organisations in a string, whatever the string says as a whole."""
    return frozenset(
        hit.name.country
        for address, _ in addresses_of(clean(raw))
        for segment in address
        for hit in segment.hits
        if hit.name.kind in LOCAL and (hit.is_whole or hit.name.kind != Kind.TOWN)
    )


def _read(text: str) -> list[Named]:
    found: list[Named] = []
    for address, part in addresses_of(text):
        found += _decide(address, part)
    return found


def _decide(address: Address, text: str) -> list[Named]:
    """What one address says; several countries only where several addresses follow each other without a mark."""
    seen = [(number, hit) for number, segment in enumerate(address) for hit in segment.hits]
    if plain := _plain_end(address, seen):
        return plain
    states = sorted(_state_segments(address, seen), key=itemgetter(0))
    ends = _country_ends(address, seen, states)
    if ends:
        return [named for named in ends if named.country]
    for tier in _tiers(address, text, seen, states):
        if tier:
            countries = {named.country for named in tier}
            if len(countries) > 1 or (tier[0].rule in _DOUBTED and _contradicted(address, seen, tier[-1])):
                return []
            return tier[-1:]
    return []


_DOUBTED = frozenset({Evidence.SUBDIVISION, Evidence.CITY, Evidence.CITY_IN_NAME, Evidence.COUNTRY_IN_NAME})


def _contradicted(address: Address, seen: list[_Seen], decided: Named) -> bool:
    """Whether the name of an organisation speaks against a city or country: "University of Idaho, Moscow"."""
    if decided.rule is Evidence.SUBDIVISION and (
        decided.country == "US" or not decided.words.replace(" ", "").isalpha()
    ):
        return False
    is_place = decided.rule in (Evidence.CITY, Evidence.SUBDIVISION)
    for number, hit in seen:
        if hit.name.country == decided.country or named_before().get(decided.country) == hit.name.country:
            continue
        is_name = len(address[number].words) > hit.end - hit.at
        if hit.name.kind == Kind.SUBDIVISION and is_name:
            return True
        if hit.name.kind == Kind.ORGANIZATION and hit.name.country in _LARGE and is_place:
            return True
    return False


_LARGE = frozenset({"US", "GB", "CA", "AU"})  # whose towns bear the names of cities elsewhere


def _plain_end(address: Address, seen: list[_Seen]) -> list[Named]:
    """The country of an address that ends in one and holds nothing that could mean more: most addresses do."""
    if not seen:
        return []
    number, end = seen[-1]
    country = end.name.country
    if number < len(address) - 1 or not end.is_whole or end.name.kind != Kind.COUNTRY:
        return []
    is_sovereign = country in sovereigns()
    for _, hit in seen:
        if hit.name.country != country and (is_sovereign or hit.name.kind not in _LESS):
            return []
    return [Named(country, Evidence.COUNTRY, address[number].text(end))]


_LESS = (Kind.CITY, Kind.TOWN, Kind.ORGANIZATION, Kind.NOTHING, Kind.SEAT, Kind.LONE_SEAT)


def _tiers(address: Address, text: str, seen: list[_Seen], states: list[_At]) -> Iterator[list[Named]]:
    """What an address that ends in no country says, the strongest evidence first."""
    yield _states(address, seen, states)
    yield _codes(address, seen)
    yield _postal(text, seen)
    yield _of_kind(address, seen, Kind.CITY, Evidence.CITY, whole=True)
    yield _organization(address, seen)
    yield _of_kind(address, seen, Kind.COUNTRY, Evidence.COUNTRY_IN_NAME)
    yield _of_kind(address, seen, Kind.CITY, Evidence.CITY_IN_NAME)
    yield _of_kind(address, seen, Kind.SUBDIVISION, Evidence.SUBDIVISION_IN_NAME)
    yield _seats(address, seen)


def _country_ends(address: Address, seen: list[_Seen], states: list[_At]) -> list[Named]:
    """Countries that end an address: alone in a segment, or at the end of the last one."""
    last = len(address) - 1
    ends: list[_At] = []
    for number, hit in seen:
        kind = hit.name.kind
        if kind in COUNTRIES and (
            hit.is_whole or (hit.is_end and number == last and (last > 0 or kind == Kind.COUNTRY))
        ):
            if kind == Kind.RISKY_COUNTRY and number == 0 < last:  # a first name: "Chad, University of Minnesota"
                continue
            ends.append((number, Named(hit.name.country, Evidence.COUNTRY, address[number].text(hit))))
        elif kind == Kind.AMONG and (hit.is_whole or (hit.is_end and number == last)):
            ends.append((number, _meant(address, seen, address[number].text(hit), hit.name)))
    if not ends:
        return []
    settled = _settle(seen, ends, dict(states))
    settled = [named for named in settled if named.country] or settled
    if len(settled) == 1 and (territory := _territory_in(address, seen, settled[0])):
        return [territory]
    return settled


def _territory_in(address: Address, seen: list[_Seen], end: Named) -> Named | None:
    """A territory that an address names before its state: "Hong Kong Univ. of Sci. & Technol., China"; a city of the
    state behind it says that the work is done there ("Chinese University of Hong Kong, Shenzhen, China")."""
    if end.country not in sovereigns():
        return None
    for number, hit in seen:
        name = hit.name
        if name.kind == Kind.AMONG and hit.is_whole:  # "Jersey, UK"
            parts = [code for code in name.among if named_before().get(code) == end.country]
            if len(parts) == 1:
                return Named(parts[0], Evidence.TERRITORY, f"{address[number].text(hit)}, {end.words}")
        if named_before().get(name.country) == end.country and name.kind in _TERRITORIES:
            behind = (other for at, other in seen if at > number and other.name.kind in PLACES)
            if not any(other.name.country == end.country for other in behind):
                return Named(name.country, Evidence.TERRITORY, f"{address[number].text(hit)}, {end.words}")
    return None


_TERRITORIES = (Kind.COUNTRY, Kind.ORGANIZATION, Kind.CITY, Kind.TOWN)


def _settle(seen: list[_Seen], ends: list[_At], states: dict[int, Named]) -> list[Named]:
    """Countries that stand side by side are one place and its state, or a list of states."""
    out: list[_At] = []
    for number, named in ends:
        state = states.get(number + 1)
        if state is not None and state.country != named.country:  # Lebanon, NH
            continue
        if out:
            before, earlier = out[-1]
            if named_before().get(earlier.country) == named.country and not any(
                before < at < number or (at == number and hit.name.kind in PLACES)
                for at, hit in seen
                if hit.name.country == named.country and hit.name.kind in (*PLACES, Kind.ORGANIZATION)
            ):  # Hong Kong, N.T., China
                out[-1] = (number, Named(earlier.country, Evidence.TERRITORY, f"{earlier.words}, {named.words}"))
                continue
            if number - before <= 1 and earlier.country != named.country:
                if named_before().get(named.country) == earlier.country and number == before:
                    out[-1] = (number, Named(named.country, Evidence.TERRITORY, f"{earlier.words}, {named.words}"))
                    continue
                if (earlier.country, named.country) in _TOWNS:
                    out[-1] = (number, named)
                    continue
        out.append((number, named))
    if out and (rest := [(n, s) for n, s in states.items() if n > out[-1][0] + 1 and s.country != out[-1][1].country]):
        out.append(rest[-1])
    return [named for _, named in out]


# A town or province of the second state has the name of the first.
_TOWNS = {
    ("AM", "CO"),
    ("MF", "FR"),
    ("BL", "FR"),
    ("MK", "GR"),
    ("LU", "BE"),
    ("NE", "NG"),
    ("BJ", "NG"),
    ("NA", "AR"),
    ("GN", "PG"),
}
_TOWNS |= {(country, "US") for country in "LB PE MX CU JO JE JM CN PA GE PL NO IN ML".split()}


def _state_segments(address: Address, seen: list[_Seen]) -> Iterator[_At]:
    """Segments that are a state or province, in full or abbreviated: (segment, what it says)."""
    for number, hit in seen:
        if hit.name.kind == Kind.SUBDIVISION and hit.is_whole:
            yield number, Named(hit.name.country, Evidence.SUBDIVISION, address[number].text(hit))
    for number, segment in enumerate(address):
        if number and segment.short and (named := _abbreviated(address, number, segment)):
            yield number, named


def _abbreviated(address: Address, number: int, segment: Segment) -> Named | None:
    """A postal abbreviation that a segment consists of or ends in: "MA", "MA 02139", "Boston MA 02115".

    The same letters are states, provinces and countries elsewhere: the city before them, or what else the address
    names, says which: there is an Oxford in the United States ("Oxford, MS"), but no Trento ("Trento, TN").
    """
    printed, end = segment.printed, segment.short
    short = printed[end - 1]
    abbreviations = load_gazetteer().abbreviations
    countries = abbreviations[short]
    following = address[number + 1].printed if number + 1 < len(address) else []
    digits = [word for word in (*printed[end:], *following) if word.isdigit()]
    has_zip = any(_zip.fullmatch(word) for word in printed[end:])
    before = address[number - 1] if end == 1 else segment
    upto = end - 1 if end > 1 else len(before.words)
    city = _city_before(before, upto)
    homes = {city.country, *city.also} if city else set()
    words = " ".join(printed[end - 1 :])
    if has_zip and "US" in countries:
        return Named("US", Evidence.SUBDIVISION, words)
    if towns := _towns_before(before, upto):
        places = towns & load_gazetteer().codes.get(short, frozenset())
        return Named(next(iter(places)), Evidence.CODE, words) if len(places) == 1 else None
    if end > 1 and not has_zip and not homes.intersection(countries):
        return None
    if "IT" in load_gazetteer().codes.get(short, ()) and any(word in _ITALIAN for one in address for word in one.words):
        return Named("IT", Evidence.CODE, words)
    if short in territory_names() and short not in countries:
        named = {hit.name.country for other in address for hit in other.hits if hit.name.kind in _SAYING}
        named |= {c for other in address[1:-1] if other.short for c in abbreviations[other.printed[other.short - 1]]}
        if short in named:  # "Baden-Württemberg, DE" is not Delaware
            return Named(short, Evidence.CODE, words)
    if city is not None and not homes.intersection(countries):
        return Named(city.country, Evidence.CITY, " ".join([*before.printed[-1:], short]))
    if "AU" in countries and any(len(word) == _AUSTRALIAN_CODE for word in digits):
        return Named("AU", Evidence.SUBDIVISION, words)
    country = city.country if city is not None and city.country in countries else None
    country = country or next((code for code in countries if code in homes), countries[0])
    return Named(country, Evidence.SUBDIVISION, words)


_AUSTRALIAN_CODE = 4
_SAYING = (*LOCAL, *COUNTRIES)
_ITALIAN = frozenset(
    "universita politecnico istituto dipartimento via degli della dell azienda ospedale ospedaliera consiglio scuola"
    " viale nazionale italiano italiana ricerche".split()
)


def _city_before(segment: Segment, end: int) -> Name | None:
    for hit in reversed(segment.hits):
        if hit.end == end and hit.name.kind in CITIES:
            return hit.name
    return None


def _towns_before(segment: Segment, end: int) -> frozenset[str]:
    """Countries of a place that fills a segment up to a word, where none of them has abbreviated states."""
    return load_gazetteer().towns.get(" ".join(word for word in segment.words[:end] if word.isalpha()), frozenset())


def _states(address: Address, seen: list[_Seen], states: list[_At]) -> list[Named]:
    """The state or province that ends an address: of several the last ("Ontario, CA 91761")."""
    if states:
        return [states[-1][1]]
    last = len(address) - 1
    ends = [hit for number, hit in seen if hit.name.kind == Kind.SUBDIVISION and hit.is_end and number == last]
    return [Named(hit.name.country, Evidence.SUBDIVISION, address[last].text(hit)) for hit in ends[-1:]]


def _codes(address: Address, seen: list[_Seen]) -> list[Named]:
    """An ISO code that stands alone at the end, after a place of the same country: "Paris, FR"."""
    printed = address[-1].printed
    if len(printed) != 1 or not printed[0].isupper() or len(printed[0]) not in (2, 3):
        return []
    code = printed[0] if len(printed[0]) == 2 else territory_codes3().get(printed[0], "")
    places = {hit.name.country for _, hit in seen if hit.name.kind in (Kind.CITY, Kind.TOWN, Kind.ORGANIZATION)}
    return [Named(code, Evidence.CODE, printed[0])] if code in territory_names() and code in places else []


def _postal(text: str, seen: list[_Seen]) -> list[Named]:
    if (
        not any(character.isdigit() for character in text)
        and "edex" not in text.lower()
        and "nserm" not in text.lower()
    ):
        return []
    overseas = [hit.name.country for _, hit in seen if hit.name.country in _OVERSEAS]
    found = []
    for pattern, country in _POSTAL:
        match = pattern.search(text)
        if match:
            place = overseas[-1] if country == "FR" and overseas else country
            found.append(Named(place, Evidence.POSTAL, match[0]))
    return found


def _of_kind(address: Address, seen: list[_Seen], kind: Kind, rule: Evidence, *, whole: bool = False) -> list[Named]:
    """Hits of a kind; where a segment holds several, all of them."""
    kinds = {kind}
    if rule is Evidence.COUNTRY_IN_NAME:
        kinds.add(Kind.RISKY_COUNTRY)
    elif rule is Evidence.CITY:
        kinds.add(Kind.TOWN)
    return [
        Named(hit.name.country, rule, address[number].text(hit))
        for number, hit in seen
        if hit.name.kind in kinds
        and (hit.is_whole or not whole)
        and (hit.name.kind != Kind.RISKY_COUNTRY or hit.is_end or _names_institution(address[number], hit))
    ]


def _names_institution(segment: Segment, hit: Hit) -> bool:
    """Whether a country begins an institution's name: "Iran University of", unlike "Chad Smith Lab"."""
    return hit.is_start and hit.end < len(segment.words) and segment.words[hit.end] in _INSTITUTION


_INSTITUTION = frozenset("university institute academy national ministry technical naval medical army".split())


def _organization(address: Address, seen: list[_Seen]) -> list[Named]:
    """What organisations say, unless a place beside them says something else: "Monash University Malaysia Campus"."""
    found = _of_kind(address, seen, Kind.ORGANIZATION, Evidence.ORGANIZATION)
    if not found:
        return []
    places = [
        Named(hit.name.country, Evidence.COUNTRY_IN_NAME, address[number].text(hit))
        for number, hit in seen
        if hit.name.kind == Kind.COUNTRY
    ]
    places = places or _of_kind(address, seen, Kind.CITY, Evidence.CITY_IN_NAME)
    return places if {place.country for place in places} - {named.country for named in found} else found


def _seats(address: Address, seen: list[_Seen]) -> list[Named]:
    """Where organisations have their seats ("Google", "Apple Inc."), unless a word beside them speaks of another place:
    "Microsoft Research, Asia", "Qualcomm Korea YH"."""
    found = [
        Named(hit.name.country, Evidence.HEADQUARTERS, address[number].text(hit))
        for number, hit in seen
        if hit.name.kind == Kind.SEAT or (hit.name.kind == Kind.LONE_SEAT and _is_alone(address[number], hit))
    ]
    if not found:
        return []
    named = {hit.name.country for _, hit in seen if hit.name.kind not in (Kind.NOTHING, Kind.SEAT, Kind.LONE_SEAT)}
    words = {word for segment in address for word in segment.words}
    told = {word for one in found for word in fold(one.words).split()}
    return [] if named - {one.country for one in found} or (words - told) & _ELSEWHERE else found


_ELSEWHERE = frozenset("africa america americas apac asia cambridge emea europe international overseas".split())
"""Words that place a laboratory outside of the seat, or may, and say no country."""


def _is_alone(segment: Segment, hit: Hit) -> bool:
    """Whether nothing but numbers and the form of a company stands beside a name."""
    return hit.is_whole or (hit.is_start and all(word in _FORMS for word in segment.words[hit.end :]))


_FORMS = frozenset("inc ltd limited llc corp corporation co company group gmbh ag plc".split())


def _meant(address: Address, seen: list[_Seen], words: str, name: Name) -> Named:
    """Which state a name of several means: the one that a place in the address is in ("Tbilisi, Georgia"); without a
    country if nothing decides."""
    nearby = [other.name.country for _, other in seen if other.name.kind in LOCAL]
    shorts = load_gazetteer().abbreviations
    nearby += [country for one in address if one.short for country in shorts[one.printed[one.short - 1]]]
    places = name.among.intersection(nearby)
    if len(places) == 1:
        return Named(next(iter(places)), Evidence.AMONG, words)
    if name.among == _GEORGIAS and not places:
        has_zip = any(_zip.fullmatch(word) for segment in address for word in segment.words)
        if has_zip or nearby:
            return Named("US", Evidence.AMONG, words)
    return Named(name.country, Evidence.COUNTRY, words)


_GEORGIAS = frozenset({"GE", "US"})  # a city known for another country is one of the American state: "Athens, Georgia"
