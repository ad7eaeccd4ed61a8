"""Countries that a printed address names or safely implies. Pure functions, no network.

A string holds one or more addresses (segments.py). In each the strongest kind of evidence decides, in the order of
`RULES` in schemas/places/evidence.py: a country that ends the address, a state or province, a postal code, a city, the
name of an organisation, and last what stands in the middle of a segment. Evidence of one kind that contradicts itself
decides nothing. "Beth Israel" holds no country, and "Jersey City" is no part of Jersey.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from operator import itemgetter

from schemas.places.evidence import Evidence
from schemas.places.gazetteer import Kind, Name, load_gazetteer
from schemas.places.territories import named_before, sovereigns, territory_codes3, territory_names
from schemas.words import fold
from tasks.countries.postal_codes import postal_codes
from tasks.countries.segments import (
    COUNTRIES,
    GLUED,
    LOCAL,
    PLACES,
    ZIP,
    Address,
    Hit,
    Named,
    Said,
    Seen,
    Segment,
    addresses_of,
    clean,
)
from tasks.countries.subdivisions import subdivision_at_end, subdivision_segments


@lru_cache(maxsize=10_000)
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
    states = sorted(subdivision_segments(address, seen), key=itemgetter(0))
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


def _contradicted(address: Address, seen: list[Seen], decided: Named) -> bool:
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


def _plain_end(address: Address, seen: list[Seen]) -> list[Named]:
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


def _tiers(address: Address, text: str, seen: list[Seen], states: list[Said]) -> Iterator[list[Named]]:
    """What an address that ends in no country says, the strongest evidence first."""
    yield subdivision_at_end(address, seen, states)
    yield _codes(address, seen)
    yield postal_codes(text, (hit.name.country for _, hit in seen))
    yield _of_kind(address, seen, Kind.CITY, Evidence.CITY, whole=True)
    yield _organization(address, seen)
    yield _of_kind(address, seen, Kind.COUNTRY, Evidence.COUNTRY_IN_NAME)
    yield _of_kind(address, seen, Kind.CITY, Evidence.CITY_IN_NAME)
    yield _of_kind(address, seen, Kind.SUBDIVISION, Evidence.SUBDIVISION_IN_NAME)
    yield _seats(address, seen)


def _country_ends(address: Address, seen: list[Seen], states: list[Said]) -> list[Named]:
    """Countries that end an address: alone in a segment, or at the end of the last one."""
    last = len(address) - 1
    ends: list[Said] = []
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


def _territory_in(address: Address, seen: list[Seen], end: Named) -> Named | None:
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


def _settle(seen: list[Seen], ends: list[Said], states: dict[int, Named]) -> list[Named]:
    """Countries that stand side by side are one place and its state, or a list of states."""
    out: list[Said] = []
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


def _codes(address: Address, seen: list[Seen]) -> list[Named]:
    """An ISO code that stands alone at the end, after a place of the same country: "Paris, FR"."""
    printed = address[-1].printed
    if len(printed) != 1 or not printed[0].isupper() or len(printed[0]) not in (2, 3):
        return []
    code = printed[0] if len(printed[0]) == 2 else territory_codes3().get(printed[0], "")
    places = {hit.name.country for _, hit in seen if hit.name.kind in (Kind.CITY, Kind.TOWN, Kind.ORGANIZATION)}
    return [Named(code, Evidence.CODE, printed[0])] if code in territory_names() and code in places else []


def _of_kind(address: Address, seen: list[Seen], kind: Kind, rule: Evidence, *, whole: bool = False) -> list[Named]:
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


def _organization(address: Address, seen: list[Seen]) -> list[Named]:
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


def _seats(address: Address, seen: list[Seen]) -> list[Named]:
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


def _meant(address: Address, seen: list[Seen], words: str, name: Name) -> Named:
    """Which state a name of several means: the one that a place in the address is in ("Tbilisi, Georgia"), its city
    before the names of institutions ("University of Georgia, Tbilisi, Georgia"); without a country if nothing
    decides."""
    nearby = [other.name.country for _, other in seen if other.name.kind in LOCAL]
    shorts = load_gazetteer().abbreviations
    nearby += [country for one in address if one.short for country in shorts[one.printed[one.short - 1]]]
    places = name.among.intersection(nearby)
    if len(places) > 1:
        cities = (other.name.country for _, other in seen if other.name.kind == Kind.CITY and other.is_whole)
        places = name.among.intersection(cities) or places
    if len(places) == 1:
        return Named(next(iter(places)), Evidence.AMONG, words)
    if name.among == _GEORGIAS and not places:
        has_zip = any(ZIP.fullmatch(word) for segment in address for word in segment.words)
        if has_zip or nearby:
            return Named("US", Evidence.AMONG, words)
    return Named(name.country, Evidence.COUNTRY, words)


_GEORGIAS = frozenset({"GE", "US"})  # a city known for another country is one of the American state: "Athens, Georgia"
