"""Country sets of conference papers beside those of the list's own normaliser: `make venues`.

Only accepted papers whose every affiliation the list itself gives a country. The normaliser calls Hong Kong, Macao and
Taiwan China, so ours are folded the same way; it is good, not gold: the differences printed are to be looked into.
"""

from __future__ import annotations

import gzip
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from schemas.places.evidence import EXPLICIT
from schemas.places.gazetteer import Kind, load_gazetteer
from schemas.places.territories import UNKNOWN
from schemas.words import fold
from tasks.countries.addresses import read_addresses
from tasks.countries.locate import Located, Locator
from tasks.countries.reference import Reference
from tasks.countries.ror_index import RorIndex
from tasks.reading.parsed import BadRecord
from tasks.reading.venue_papers import ListReader
from tests.bench.accuracy import DATA, GREATER_CHINA, NOT_ACCEPTED, read_registry, wilson

SHOWN = 20
SEED = 6
OTHERS = {"Georgia": "GE", "South Korea": "KR"}  # of the normaliser; in an address they could be something else


class Paper(NamedTuple):
    """Country sets of one paper, ours and the list's, and whether every string names a country or state."""

    title: str
    ours: frozenset[str]
    theirs: frozenset[str]
    is_explicit: bool
    strings: tuple[str, ...]


def countries_of(row: dict[str, Any]) -> frozenset[str] | None:
    """The list's own countries of a paper; None unless every slot has one."""
    slots = [slot for slot in (row.get("aff") or "").split(";") if slot.strip()]
    index = [at for at in (row.get("aff_country_unique_index") or "").split(";") if at.strip()]
    listed = (row.get("aff_country_unique") or "").split(";")
    if not slots or len(slots) != len(index):
        return None
    found = set()
    for at in (one for slot in index for one in slot.split("+")):
        name = listed[int(at)] if at.strip().isdigit() and int(at) < len(listed) else ""
        known = load_gazetteer().names.get(fold(name))
        code = OTHERS.get(name) or (known.country if known and known.kind in (Kind.COUNTRY, Kind.RISKY_COUNTRY) else "")
        if not code:
            return None
        found.add(code)
    return frozenset(found)


def papers() -> Iterator[Paper]:
    """Every paper that can be compared, decided the way of a load."""
    reader, locator = ListReader("venues", datetime(2026, 1, 1)), Locator(reference())
    with gzip.open(DATA / "venues" / "papers.jsonl.gz") as lines:
        for ordinal, line in enumerate(lines):
            row = json.loads(line)
            theirs = countries_of(row)
            if theirs is None or (row.get("status") or "").lower().startswith(NOT_ACCEPTED):
                continue
            try:
                located = locator.locate(reader.read(ordinal, line).parse())
            except BadRecord:
                continue
            strings = tuple(dict.fromkeys(row.raw_string for row in rows_of(located) if row.raw_string))
            is_explicit = all(any(one.rule in EXPLICIT for one in read_addresses(text)) for text in strings)
            ours = {row.country for row in rows_of(located)} or {UNKNOWN}
            yield Paper(row.get("title") or "", folded(ours), folded(theirs), is_explicit, strings)


def reference() -> Reference:
    """ROR as far as there is any here."""
    return Reference(index=RorIndex.build(list(read_registry().values())))


def rows_of(located: Located) -> list[Any]:
    return [row for found in (*located.authors, *located.of_work) for row in found.rows]


def folded(codes: set[str] | frozenset[str]) -> frozenset[str]:
    return frozenset("CN" if code in GREATER_CHINA else code for code in codes)


def main() -> None:
    """Print the shares of equal sets, and differences to look into."""
    began = time.perf_counter()
    every = list(papers())
    print(f"{len(every):,} papers in {time.perf_counter() - began:.0f} s")
    for title, some in (
        ("all", every),
        ("every string names a country or state", [paper for paper in every if paper.is_explicit]),
    ):
        equal = sum(paper.ours == paper.theirs for paper in some)
        print(f"  {title:<40} {len(some):>7,}  country sets equal {wilson(equal, len(some))}")
    differing = [paper for paper in every if paper.ours != paper.theirs]
    kinds = Counter("unknown to us" if UNKNOWN in paper.ours else "another country" for paper in differing)
    print(f"differences: {dict(kinds)}; {SHOWN} at random:")
    for paper in random.Random(SEED).sample(differing, min(SHOWN, len(differing))):
        ours, theirs = (" ".join(sorted(found)) for found in (paper.ours, paper.theirs))
        print(f"  ours {ours}, theirs {theirs}: {' | '.join(paper.strings)[:200]}")


if __name__ == "__main__":
    main()
