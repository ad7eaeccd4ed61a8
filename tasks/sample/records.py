"""What the records of a sample look like: invented works, their authors and institutions, how works change, and records
that cannot be loaded.

Every choice is taken from the generator of the world, so the same seed gives the same records.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from random import Random
from typing import Any

import msgspec

from schemas.identifiers import OPENALEX as URL

FIRST_ID = 9_990_000_000
STAYS_AT_HOME = 0.88  # share of authors who work in the country of their team
encode = msgspec.json.Encoder().encode
Work = dict[str, Any]

# (country code, name as printed in addresses, city, weight)
_COUNTRIES = [
    ("US", "USA", "Boston, MA", 24),
    ("CN", "China", "Beijing", 22),
    ("GB", "UK", "London", 7),
    ("DE", "Germany", "Berlin", 6),
    ("IN", "India", "Mumbai", 6),
    ("CA", "Canada", "Toronto", 4),
    ("FR", "France", "Paris", 4),
    ("JP", "Japan", "Tokyo", 4),
    ("KR", "Republic of Korea", "Seoul", 4),
    ("IT", "Italy", "Rome", 3),
    ("AU", "Australia", "Sydney", 3),
    ("ES", "Spain", "Madrid", 3),
    ("HK", "Hong Kong, China", "Kowloon", 2),
    ("SG", "Singapore", "Singapore", 2),
    ("CH", "Switzerland", "Zurich", 2),
    ("TW", "Taiwan", "Taipei", 2),
    ("BR", "Brazil", "Rio de Janeiro", 2),
    ("RU", "Russia", "Moscow", 2),
    ("IL", "Israel", "Haifa", 1),
    ("ZA", "South Africa", "Cape Town", 1),
    ("NG", "Nigeria", "Lagos", 1),
    ("NA", "Namibia", "Windhoek", 1),
    ("KE", "Kenya", "Nairobi", 1),
    ("XK", "Kosovo", "Pristina", 1),
]
_TYPES = ["education", "education", "education", "company", "government", "facility", "healthcare"]
# (topic id, name, subfield id, subfield name, title words)
_TOPICS = [
    ("T10028", "Topic Modeling", "1702", "Artificial Intelligence", "Topic models for scientific text"),
    (
        "T10181",
        "Natural Language Processing Techniques",
        "1702",
        "Artificial Intelligence",
        "Machine translation with large language models",
    ),
    (
        "T10320",
        "Neural Networks and Applications",
        "1702",
        "Artificial Intelligence",
        "Deep learning with sparse neural networks",
    ),
    (
        "T11689",
        "Adversarial Robustness in Machine Learning",
        "1702",
        "Artificial Intelligence",
        "Adversarial robustness of classifiers",
    ),
    (
        "T10036",
        "Advanced Neural Network Applications",
        "1707",
        "Computer Vision and Pattern Recognition",
        "Object detection in crowded scenes",
    ),
    (
        "T10052",
        "Medical Image Segmentation Techniques",
        "1707",
        "Computer Vision and Pattern Recognition",
        "Image segmentation for cancer diagnosis",
    ),
    (
        "T10586",
        "Robotic Path Planning Algorithms",
        "1707",
        "Computer Vision and Pattern Recognition",
        "Path planning for autonomous robots",
    ),
    (
        "T10203",
        "Recommender Systems and Techniques",
        "1710",
        "Information Systems",
        "Recommender systems for small shops",
    ),
    (
        "T10237",
        "Cryptography and Data Security",
        "1702",
        "Artificial Intelligence",
        "Lattice signatures in constant time",
    ),
    ("T11276", "Solar Radiation and Photovoltaics", "2105", "Renewable Energy", "Irradiance over desert cities"),
]
_SYLLABLES = "an be co di el fu ga hi in jo ka lo mi na or pe qua re si to ul va wi xen yo zu".split()
# Some ten thousand invented words, the first ones as frequent as in English: real abstracts share few words.
_WORDS = [first + second + third for first in _SYLLABLES for second in _SYLLABLES for third in _SYLLABLES][:10_000]
_WORD_WEIGHTS = list(itertools.accumulate(1 / rank for rank in range(1, len(_WORDS) + 1)))


@dataclass
class World:
    """Institutions, and the works as they stand on the current day."""

    rng: Random
    institutions: list[tuple[Work, str]] = field(default_factory=list)
    nearby: dict[str | None, list[tuple[Work, str]]] = field(default_factory=dict)
    works: dict[int, Work] = field(default_factory=dict)
    former: list[Work] = field(default_factory=list)
    deleted: list[tuple[int, date]] = field(default_factory=list)
    next_id: int = FIRST_ID


def found_institutions(world: World, count: int) -> None:
    """Give the world so many institutions; the first ones are in one country each."""
    weights = [weight for *_, weight in _COUNTRIES]
    for number in range(count):
        known = number < len(_COUNTRIES)
        code, country, city, _ = _COUNTRIES[number] if known else world.rng.choices(_COUNTRIES, weights=weights)[0]
        name = f"Example University {number} of {city.split(',')[0]}"
        institution: Work = {
            "id": f"{URL}I{FIRST_ID + number}",
            "display_name": name,
            "ror": f"https://ror.org/0{number:08x}",
            "country_code": code if number % 50 != 49 else None,
            "type": world.rng.choice(_TYPES),
            "lineage": [f"{URL}I{FIRST_ID + number}"],
        }
        found = (institution, f"Department of Computer Science, {name}, {city}, {country}")
        world.institutions.append(found)
        world.nearby.setdefault(institution["country_code"], []).append(found)


def new_work(world: World, day: date) -> Work:
    """A work that appears on a day, published then or in one of the ten years before."""
    rng = world.rng
    number = world.next_id
    world.next_id += 1
    published = date(day.year - min(int(rng.expovariate(0.35)), 10), rng.randint(1, 12), rng.randint(1, 28))
    published = min(published, day)
    has_own_doi = rng.random() > 0.01  # now and then a DOI stands on two works
    named_after = number if has_own_doi else max(number - rng.randint(1, 50), FIRST_ID)
    doi = f"https://doi.org/10.99999/sample.{named_after}"
    references = [f"{URL}W{rng.randint(FIRST_ID, max(number - 1, FIRST_ID))}" for _ in range(rng.randint(5, 30))]
    authorships = _authorships(world, rng.choice([1, 2, 3, 3, 4, 4, 5, 6, 8]))
    topic = rng.choice(_TOPICS)
    location = _location(number, doi)
    work: Work = {
        **_outline(rng, number, doi, topic[4], published, location),
        **_people(authorships),
        **_figures(rng),
        **_subject(rng, topic),
        "concepts": [],
        "mesh": [],
        "locations_count": 2,
        "locations": [location, location],
        "best_oa_location": None,
        "sustainable_development_goals": [],
        "awards": [],
        "funders": [],
        "has_content": {"pdf": False, "grobid_xml": False},
        "referenced_works_count": len(references),
        "referenced_works": references,
        "related_works": [f"{URL}W{rng.randint(FIRST_ID, number)}" for _ in range(10)],
        "abstract_inverted_index": _abstract(rng, topic[4]),
        "counts_by_year": [{"year": year, "cited_by_count": 1} for year in range(published.year, day.year + 1)],
        "updated_date": _stamp(rng, day),
        "created_date": f"{day}T00:00:00",
    }
    world.works[number] = work
    return work


def _location(number: int, doi: str) -> Work:
    source = {
        "id": f"{URL}S{FIRST_ID + number % 90}",
        "display_name": f"Example Journal {number % 90}",
        "issn_l": "0000-0000",
        "issn": ["0000-0000"],
        "is_oa": False,
        "is_in_doaj": False,
        "is_core": True,
        "host_organization": None,
        "host_organization_name": None,
        "type": "journal",
    }
    return {
        "id": f"doi:10.99999/sample.{number}",
        "is_oa": False,
        "landing_page_url": doi,
        "pdf_url": None,
        "source": source,
        "license": None,
        "license_id": None,
        "version": "publishedVersion",
        "is_accepted": True,
        "is_published": True,
        "raw_source_name": source["display_name"],
        "raw_type": "journal-article",
    }


def _outline(rng: Random, number: int, doi: str, title: str, published: date, location: Work) -> Work:
    """What a work is: identifiers, title, date, type."""
    return {
        "id": f"{URL}W{number}",
        "doi": doi if rng.random() > 0.08 else None,
        "title": f"{title}: part {number - FIRST_ID}" if rng.random() > 0.005 else None,
        "display_name": None,
        "publication_year": published.year,
        "publication_date": published.isoformat(),
        "ids": {"openalex": f"{URL}W{number}", "doi": doi},
        "language": "en",
        "primary_location": location,
        "type": rng.choices(
            ["article", "preprint", "review", "book-chapter", "editorial", "dataset"], weights=[70, 15, 5, 6, 2, 2]
        )[0],
        "indexed_in": ["crossref"],
        "open_access": {"is_oa": False, "oa_status": "closed", "oa_url": None, "any_repository_has_fulltext": False},
    }


def _people(authorships: list[Work]) -> Work:
    """Who wrote it, and what OpenAlex counts of that."""
    return {
        "authorships": authorships,
        "institutions": [],
        "countries_distinct_count": len({code for a in authorships for code in a["countries"]}),
        "institutions_distinct_count": len({i["id"] for a in authorships for i in a["institutions"]}),
        "corresponding_author_ids": [authorships[0]["author"]["id"]],
        "corresponding_institution_ids": [],
    }


def _figures(rng: Random) -> Work:
    """Citations, and marks such as retracted."""
    return {
        "apc_list": None,
        "apc_paid": None,
        "fwci": round(rng.random() * 3, 3),
        "has_fulltext": False,
        "cited_by_count": int(rng.expovariate(0.1)),
        "citation_normalized_percentile": {"value": 0.5, "is_in_top_1_percent": False, "is_in_top_10_percent": False},
        "cited_by_percentile_year": {"min": 50, "max": 60},
        "biblio": {"volume": "1", "issue": "1", "first_page": "1", "last_page": "10"},
        "is_retracted": rng.random() < 0.003,
        "is_paratext": False,
        "is_xpac": rng.random() < 0.01,
    }


def _subject(rng: Random, topic: tuple[str, str, str, str, str]) -> Work:
    second = rng.choice(_TOPICS)
    topics = [
        {
            "id": f"{URL}{identifier}",
            "display_name": name,
            "score": 0.99,
            "subfield": {"id": f"{URL}subfields/{subfield}", "display_name": label},
            "field": {"id": f"{URL}fields/17", "display_name": "Computer Science"},
            "domain": {"id": f"{URL}domains/3", "display_name": "Physical Sciences"},
        }
        for identifier, name, subfield, label, _ in (topic, second)
    ]
    keywords = [
        {"id": f"{URL}keywords/{word}", "display_name": word.title(), "score": 0.6} for word in topic[4].lower().split()
    ]
    return {"primary_topic": topics[0], "topics": topics, "keywords": keywords}


def _abstract(rng: Random, title: str) -> dict[str, list[int]]:
    index: dict[str, list[int]] = {}
    for at, word in enumerate([*title.split(), *rng.choices(_WORDS, cum_weights=_WORD_WEIGHTS, k=190)]):
        index.setdefault(word, []).append(at)
    return index


def _authorships(world: World, count: int) -> list[Work]:
    home = world.rng.choice(world.institutions)[0]["country_code"]
    return [_authorship(world, at, count, home) for at in range(count)]


def _authorship(world: World, at: int, count: int, home: str | None) -> Work:
    """One author: usually an institution and an address, else an address alone, several, a contradiction, or
    nothing."""
    rng = world.rng
    kind = rng.random()
    pool = world.nearby[home] if rng.random() < STAYS_AT_HOME else world.institutions
    picked = [] if kind < 0.04 else rng.sample(pool, k=min(2 if kind > 0.94 else 1, len(pool)))
    is_unlinked = 0.04 <= kind < 0.1
    affiliations = [
        {"raw_affiliation_string": address, "institution_ids": [] if is_unlinked else [institution["id"]]}
        for institution, address in picked
    ]
    if 0.1 <= kind < 0.105:
        affiliations[0]["raw_affiliation_string"] = "Visiting Laboratory, Lyon, France"
    institutions = [] if is_unlinked else [institution for institution, _ in picked]
    identifier = f"{URL}A{FIRST_ID + rng.randrange(200_000)}"
    return {
        "author_position": "first" if at == 0 else "last" if at == count - 1 else "middle",
        "author": {"id": identifier, "display_name": f"Ada Example {identifier[-4:]}", "orcid": None},
        "institutions": institutions,
        "countries": sorted({i["country_code"] for i in institutions if i["country_code"]}),
        "is_corresponding": at == 0,
        "raw_author_name": f"A. Example {identifier[-4:]}",
        "raw_affiliation_strings": [a["raw_affiliation_string"] for a in affiliations],
        "raw_orcid": None,
        "affiliations": affiliations,
    }


def _cite(world: World, work: Work) -> None:
    work["cited_by_count"] += world.rng.randint(1, 9)


def _touch(world: World, work: Work) -> None:
    """Only `updated_date` moves."""


def _correct(world: World, work: Work) -> None:
    work["authorships"] = _authorships(world, len(work["authorships"]))


def _reclassify(world: World, work: Work) -> None:
    work |= _subject(world.rng, world.rng.choice(_TOPICS))


def _retract(world: World, work: Work) -> None:
    work["is_retracted"] = True


_CHANGES: list[Callable[[World, Work], None]] = [_cite, _touch, _correct, _reclassify, _retract]
_CHANGE_WEIGHTS = [60, 12, 18, 8, 2]


def changed(world: World, work: Work, day: date) -> Work:
    """A newer version of a work, changed in one way."""
    newer = {**work, "updated_date": _stamp(world.rng, day)}
    world.rng.choices(_CHANGES, weights=_CHANGE_WEIGHTS)[0](world, newer)
    return newer


def broken_records(world: World, day: date) -> list[bytes]:
    """A few records a day that cannot be loaded, each for another reason."""
    rng = world.rng
    victims: list[Work] = [dict(work) for work in rng.sample(list(world.works.values()), k=3)]
    for victim in victims:
        victim["id"] = f"{URL}W{world.next_id + 1_000_000_000 + rng.randrange(10**6)}"
        victim["updated_date"] = _stamp(rng, day)
    victims[0]["publication_year"] = 2999
    victims[1]["cited_by_count"] = "many"
    broken = [encode(victims[0]), encode(victims[1])]
    return [*broken, encode(victims[2])[:400]]


def _stamp(rng: Random, day: date) -> str:
    moment = datetime(
        day.year, day.month, day.day, rng.randrange(24), rng.randrange(60), rng.randrange(60), rng.randrange(1, 10**6)
    )
    return moment.isoformat()
