"""Writes a synthetic OpenAlex snapshot in the layout of June 2026: several nights of new, changed, late, deleted and
broken records.

Everything is invented (ids from 9990000000 up) but has the shapes, sizes (about 10 kB a work) and defects of the real
thing. The same arguments give the same bytes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from isal import igzip

from schemas.errors import UsageError

FIRST_ID = 9_990_000_000
FIRST_DAY = date(2026, 6, 1)
PART_RECORDS = 50_000
STAYS_AT_HOME = 0.88  # share of authors who work in the country of their team
URL = "https://openalex.org/"
_encode = msgspec.json.Encoder().encode
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


@dataclass(frozen=True)
class Sample:
    """What was written."""

    folder: Path
    days: list[date]
    records: int
    deletions: int


@dataclass
class _World:
    """Institutions, and the works as they stand on the current day."""

    rng: Random
    institutions: list[tuple[Work, str]] = field(default_factory=list)
    nearby: dict[str | None, list[tuple[Work, str]]] = field(default_factory=dict)
    works: dict[int, Work] = field(default_factory=dict)
    former: list[Work] = field(default_factory=list)
    deleted: list[tuple[int, date]] = field(default_factory=list)
    next_id: int = FIRST_ID


def write_sample(folder: Path, *, works: int, days: int, seed: int, first_day: date = FIRST_DAY) -> Sample:
    """Write a snapshot of `works` works that arrive and change over `days` days.

    Raises:
        UsageError: the folder is not empty, or a number makes no sense.
    """
    if works < 1 or days < 1:
        raise UsageError("a sample needs at least one work and one day", "collab sample DIR --works 3000 --days 8")
    target = folder / "data" / "jsonl" / "works"
    if target.exists():
        raise UsageError(f"{target} exists already", "give an empty folder, or remove it")
    world = _World(Random(seed))
    _found_institutions(world, 60 + works // 20)
    files, total = [], 0
    dates = [first_day + timedelta(days=at) for at in range(days)]
    for at, day in enumerate(dates):
        share = 0.6 if at == 0 and days > 1 else 0.4 / max(days - 1, 1) if days > 1 else 1.0
        arrivals = math.ceil(works * share) if at < days - 1 else works - (world.next_id - FIRST_ID)
        lines = _one_day(world, day, max(arrivals, 0), is_first=at == 0)
        for number, begin in enumerate(range(0, len(lines), PART_RECORDS)):
            part = target / f"updated_date={day}" / f"part_{number:04d}.gz"
            chunk = lines[begin : begin + PART_RECORDS]
            files.append(_write_part(part, chunk))
            total += len(chunk)
    manifest = {
        "date": dates[-1].isoformat(),
        "format": "jsonl",
        "entity": "works",
        "record_count": total,
        "content_length": sum(file["meta"]["content_length"] for file in files),
        "files": files,
    }
    rows = "".join(f"{URL}W{number},{day}\n" for number, day in world.deleted)
    (target / "deleted_ids.csv").write_text("work_id,deleted_date\n" + rows, encoding="utf-8")
    (target / "manifest.json").write_bytes(
        msgspec.json.format(_encode(manifest), indent=1)
    )  # last: present means complete
    return Sample(folder, dates, total, len(world.deleted))


def _write_part(part: Path, lines: list[bytes]) -> Work:
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("wb") as raw, igzip.IGzipFile(filename="", fileobj=raw, mode="wb", compresslevel=2, mtime=0) as out:
        for line in lines:
            out.write(line)
            out.write(b"\n")
    meta = {"content_length": part.stat().st_size, "record_count": len(lines)}
    return {"url": f"s3://openalex/data/jsonl/works/{part.parent.name}/{part.name}", "meta": meta}


def _one_day(world: _World, day: date, arrivals: int, *, is_first: bool) -> list[bytes]:
    """Records of one partition: new works, changed works, late versions and broken records, and the day's deletions."""
    rng = world.rng
    lines = [_encode(_new_work(world, day)) for _ in range(arrivals)]
    if is_first or len(world.works) < 20:
        return lines
    for number in rng.sample(sorted(world.works), k=max(len(world.works) // 40, 4)):
        work = world.works[number]
        world.former.append(work)
        changed = {**work, "updated_date": _stamp(rng, day)}
        rng.choices(_CHANGES, weights=_CHANGE_WEIGHTS)[0](world, changed)
        world.works[number] = changed
        lines.append(_encode(changed))
    lines += [
        _encode(work) for work in rng.sample(world.former, k=min(2, len(world.former)))
    ]  # versions that arrive late
    lines += _broken_records(world, day)
    for number in rng.sample(sorted(world.works), k=max(len(world.works) // 1000, 1)):
        del world.works[number]
        world.deleted.append((number, day))
    rng.shuffle(lines)
    return lines


def _found_institutions(world: _World, count: int) -> None:
    weights = [weight for *_, weight in _COUNTRIES]
    for number in range(count):
        known = number < len(_COUNTRIES)
        code, country, city, _ = _COUNTRIES[number] if known else world.rng.choices(_COUNTRIES, weights=weights)[0]
        name = f"Example University {number} of {city.split(',')[0]}"
        institution: Work = {
            "id": f"{URL}I{FIRST_ID + number}",
            "display_name": name,
            "ror": f"https://ror.org/0{number % 36**8:08x}"[:25],
            "country_code": code if number % 50 != 49 else None,
            "type": world.rng.choice(_TYPES),
            "lineage": [f"{URL}I{FIRST_ID + number}"],
        }
        found = (institution, f"Department of Computer Science, {name}, {city}, {country}")
        world.institutions.append(found)
        world.nearby.setdefault(institution["country_code"], []).append(found)


def _new_work(world: _World, day: date) -> Work:
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
    location = {
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
    work: Work = {
        "id": f"{URL}W{number}",
        "doi": doi if rng.random() > 0.08 else None,
        "title": f"{topic[4]}: part {number - FIRST_ID}" if rng.random() > 0.005 else None,
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
        "authorships": authorships,
        "institutions": [],
        "countries_distinct_count": len({code for a in authorships for code in a["countries"]}),
        "institutions_distinct_count": len({i["id"] for a in authorships for i in a["institutions"]}),
        "corresponding_author_ids": [authorships[0]["author"]["id"]],
        "corresponding_institution_ids": [],
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
    work |= _subject(rng, topic)
    work |= {
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


def _authorships(world: _World, count: int) -> list[Work]:
    home = world.rng.choice(world.institutions)[0]["country_code"]
    return [_authorship(world, at, count, home) for at in range(count)]


def _authorship(world: _World, at: int, count: int, home: str | None) -> Work:
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


def _cite(world: _World, work: Work) -> None:
    work["cited_by_count"] += world.rng.randint(1, 9)


def _touch(world: _World, work: Work) -> None:
    """Only `updated_date` moves."""


def _correct(world: _World, work: Work) -> None:
    work["authorships"] = _authorships(world, len(work["authorships"]))


def _reclassify(world: _World, work: Work) -> None:
    work |= _subject(world.rng, world.rng.choice(_TOPICS))


def _retract(world: _World, work: Work) -> None:
    work["is_retracted"] = True


_CHANGES: list[Callable[[_World, Work], None]] = [_cite, _touch, _correct, _reclassify, _retract]
_CHANGE_WEIGHTS = [60, 12, 18, 8, 2]


def _broken_records(world: _World, day: date) -> list[bytes]:
    """A few records a day that cannot be loaded, each for another reason."""
    rng = world.rng
    victims: list[Work] = [dict(work) for work in rng.sample(list(world.works.values()), k=3)]
    for victim in victims:
        victim["id"] = f"{URL}W{world.next_id + 1_000_000_000 + rng.randrange(10**6)}"
        victim["updated_date"] = _stamp(rng, day)
    victims[0]["publication_year"] = 2999
    victims[1]["cited_by_count"] = "many"
    broken = [_encode(victims[0]), _encode(victims[1])]
    return [*broken, _encode(victims[2])[:400]]


def _stamp(rng: Random, day: date) -> str:
    moment = datetime(
        day.year, day.month, day.day, rng.randrange(24), rng.randrange(60), rng.randrange(60), rng.randrange(1, 10**6)
    )
    return moment.isoformat()
