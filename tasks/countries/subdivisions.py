"""States and provinces that end an address, in full or as postal abbreviations. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.places.evidence import Evidence
from schemas.places.gazetteer import Kind, Name, load_gazetteer
from schemas.places.territories import territory_names
from tasks.countries.segments import CITIES, COUNTRIES, LOCAL, ZIP, Address, Named, Said, Seen, Segment


def subdivision_segments(address: Address, seen: list[Seen]) -> Iterator[Said]:
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
    has_zip = any(ZIP.fullmatch(word) for word in printed[end:])
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


def subdivision_at_end(address: Address, seen: list[Seen], states: list[Said]) -> list[Named]:
    """The state or province that ends an address: of several the last ("Ontario, CA 91761")."""
    if states:
        return [states[-1][1]]
    last = len(address) - 1
    ends = [hit for number, hit in seen if hit.name.kind == Kind.SUBDIVISION and hit.is_end and number == last]
    return [Named(hit.name.country, Evidence.SUBDIVISION, address[last].text(hit)) for hit in ends[-1:]]
