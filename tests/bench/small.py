"""Small works, without abstract and with few references, else of the shape of OpenAlex; and snapshots of them: a base
in parts, and nights of changes to it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

from tests.bench.common import WORKS, fresh_folder, write_manifest, write_part

PART_RECORDS = 50_000
BASE_DAY = date(2026, 6, 1)
SHARES = {"citations": 0.60, "new": 0.20, "corrected": 0.12, "reclassified": 0.05, "retracted": 0.015, "deleted": 0.015}
GENERATOR = 3  # raise it when the works change
FIRST_ID, ID_GAP = 1_000_000_000, 1_000  # far apart, as in OpenAlex: numbered from 1, DuckDB joins by arrays of all
URL = "https://openalex.org/"
COUNTRIES = {"US": 24, "CN": 22, "GB": 7, "DE": 6, "IN": 6} | dict.fromkeys(["CA", "FR", "JP", "KR"], 4)
COUNTRIES |= dict.fromkeys(["IT", "AU", "ES"], 3) | dict.fromkeys(["HK", "SG", "CH", "TW", "BR", "NL", "SE"], 2)
COUNTRIES |= dict.fromkeys(["IL", "ZA", "NG", "KE", "PL", "IR"], 1)
SUBJECTS = [  # topic, subfield, title: each in `all`, `ai` and one to three other fields
    ("T10028", "1702", "Topic models of news"),
    ("T10181", "1702", "Translation with large language models"),
    ("T10320", "1702", "Sparse networks"),
    ("T11689", "1702", "Robust classifiers under adversarial attacks"),
    ("T10036", "1707", "Detection in crowds"),
    ("T10052", "1707", "Image segmentation for cancer diagnosis"),
    ("T10586", "1707", "Paths for autonomous vehicles"),
]


def write_base(folder: Path, numbers: Sequence[int]) -> None:
    """A snapshot of works that never were there before, in place of what the folder held; parts are named by their
    first work, so that no two snapshots share one."""
    works, files = fresh_folder(folder) / WORKS, []
    for first in range(0, len(numbers), PART_RECORDS):
        part = numbers[first : first + PART_RECORDS]
        files.append(write_part(works, f"{BASE_DAY}", part[0], (small_work(n, f"{BASE_DAY}") for n in part)))
    write_manifest(works, files)


def write_night(folder: Path, stored: int, changed: int, turn: int = 0) -> None:
    """A snapshot of one night of changes to a base of `stored` works: changed ones are drawn evenly from all of them.
    Each turn is a day of its own and draws others."""
    works, day = fresh_folder(folder) / WORKS, f"{BASE_DAY + timedelta(days=turn + 1)}"
    rng = Random(changed + turn)
    counts = {kind: round(changed * share) for kind, share in SHARES.items()}
    numbers = iter(rng.sample(range(1, stored + 1), k=changed - counts["new"]))
    last = stored + turn * counts["new"]
    lines = [small_work(last + n, day) for n in range(1, counts["new"] + 1)]
    for kind in ("citations", "corrected", "reclassified", "retracted"):
        lines += [small_work(next(numbers), day, kind) for _ in range(counts[kind])]
    rng.shuffle(lines)
    deleted = [f"{_id_of(number)},{day}" for number in numbers]
    write_manifest(works, [write_part(works, day, 0, lines)], deleted)


def small_work(number: int, day: str, change: str = "") -> bytes:
    """A work without abstract and with few references, as it stands or after a change; the same arguments give the same
    bytes."""
    rng = Random(number)
    year = 2026 - min(int(rng.expovariate(0.2)), 12)
    named_after = number if rng.random() > 0.005 else max(number - rng.randint(1, 50), 1)
    doi = f"https://doi.org/10.5555/bench.{named_after}" if rng.random() > 0.08 else None
    topic, subfield, title = SUBJECTS[(number + (change == "reclassified")) % len(SUBJECTS)]
    subject = {"id": URL + topic, "subfield": {"id": f"{URL}subfields/{subfield}"}}
    work = {
        "id": _id_of(number),
        "doi": doi,
        "title": f"{title} {number}",
        "publication_year": year,
        "publication_date": f"{year}-0{rng.randint(1, 5)}-{rng.randint(10, 28)}",
        "language": "en",
        "type": rng.choices(["article", "preprint", "review", "editorial"], weights=[75, 15, 8, 2])[0],
        "is_retracted": change == "retracted" or rng.random() < 0.003,
        "cited_by_count": int(rng.expovariate(0.1)) + 3 * (change == "citations"),
        "primary_topic": subject,
        "topics": [subject],
        "referenced_works": [_id_of(rng.randint(1, number)) for _ in range(3)],
        "authorships": _team(Random(number * 2 + 1) if change == "corrected" else rng),
        "updated_date": f"{day}T{rng.randint(10, 23)}:00:00.{number % 10**6:06d}",
    }
    return json.dumps(work).encode() + b"\n"


def _id_of(number: int) -> str:
    return f"{URL}W{FIRST_ID + number * ID_GAP}"


def _team(rng: Random) -> list[dict[str, Any]]:
    """One to eight authors, nine of ten in the country of the team."""
    codes, weights = list(COUNTRIES), list(COUNTRIES.values())
    home = rng.choices(codes, weights)[0]
    size = rng.choice([1, 2, 3, 3, 4, 4, 5, 8])
    return [_author(rng, at, home if rng.random() < 0.9 else rng.choices(codes, weights)[0]) for at in range(size)]


def _author(rng: Random, at: int, code: str) -> dict[str, Any]:
    institution = {
        "id": f"{URL}I{list(COUNTRIES).index(code) * 1000 + rng.randint(1, COUNTRIES[code] * 20)}",
        "display_name": f"University of {code}",
        "country_code": code,
        "type": "education",
    }
    address = f"Department of Computing, University of {code}, {code}"
    affiliation = {"raw_affiliation_string": address, "institution_ids": [institution["id"]]}
    is_located = rng.random() > 0.04
    return {
        "author": {"id": f"{URL}A{rng.randint(1, 10**6)}"},
        "institutions": [institution] if is_located else [],
        "affiliations": [affiliation] if is_located else [],
        "is_corresponding": at == 0,
    }
