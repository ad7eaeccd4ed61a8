"""Small synthetic works in the shape of OpenAlex, snapshots made of them, and a way to look at a warehouse's
content."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from flows.progress import Lines
from flows.steps import Summary, directly, run_night
from schemas import tables as t
from schemas.reviewed import definitions_digest
from schemas.settings import Settings
from tasks.landing.intake import SnapshotIntake
from tasks.landing.land import WORKS
from tasks.loading.verify import verify
from tasks.night import Night
from tasks.storage.warehouse import Warehouse

STARTED = datetime(2026, 1, 1)
URL = "https://openalex.org/"
CATEGORIES = ("new", "updated", "unchanged", "superseded", "out_of_scope", "quarantined")  # of fetched records
IGNORED = {"batch_id"}  # which batch wrote a row depends on how versions were grouped


def topic(identifier: str, subfield: int) -> dict[str, Any]:
    """A topic of a work, in its subfield."""
    return {"id": f"{URL}{identifier}", "subfield": {"id": f"{URL}subfields/{subfield}"}}


OFF_TOPIC = topic("T11276", 2105)  # which no rule of AI admits


def institution(country: str | None, number: int | None = None, **more: Any) -> dict[str, Any]:
    """An institution with a number of its own for each country, unless one is given; keyword arguments replace keys."""
    identifier = number if number is not None else 1 + sum(ord(c) * 256**at for at, c in enumerate(country or "none"))
    return {
        "id": f"{URL}I{identifier}",
        "display_name": f"University {country}",
        "ror": None,
        "country_code": country,
        "type": "education",
    } | more


def author(*countries: str | None, strings: Sequence[str] | None = None, corresponding: bool = False) -> dict[str, Any]:
    """An author with one address and institution per country; `strings` replaces that by addresses without
    institutions."""
    institutions = [institution(c) for c in countries]
    affiliations = [
        {"raw_affiliation_string": f"Dept {c}", "institution_ids": [i["id"]]}
        for c, i in zip(countries, institutions, strict=True)
    ]
    if strings is not None:
        institutions, affiliations = [], [{"raw_affiliation_string": s, "institution_ids": []} for s in strings]
    return {
        "author_position": "first",
        "author": {"id": f"{URL}A1"},
        "institutions": institutions,
        "is_corresponding": corresponding,
        "raw_affiliation_strings": [a["raw_affiliation_string"] for a in affiliations],
        "affiliations": affiliations,
    }


def author_at(**more: Any) -> dict[str, Any]:
    """An author at an institution in the US; keyword arguments replace or add keys of the institution."""
    made = author("US")
    made["institutions"][0] |= more
    made["affiliations"][0]["institution_ids"] = [made["institutions"][0]["id"]]
    return made


def linked(text: str, *institutions: dict[str, Any]) -> dict[str, Any]:
    """An author with one address that these institutions are linked to."""
    ids = [one["id"] for one in institutions]
    return author() | {
        "institutions": list(institutions),
        "affiliations": [{"raw_affiliation_string": text, "institution_ids": ids}],
        "raw_affiliation_strings": [text],
    }


def inverted(text: str) -> dict[str, list[int]]:
    """An abstract as OpenAlex has it: the places of each word."""
    index: dict[str, list[int]] = {}
    for at, word in enumerate(text.split()):
        index.setdefault(word, []).append(at)
    return index


def work(
    number: int, authors: Sequence[dict[str, Any]] | None = None, *, updated: str = "2026-01-01T00:00:00", **more: Any
) -> dict[str, Any]:
    """A counted AI article of 2020; keyword arguments replace or add keys."""
    return {
        "id": f"{URL}W{number}",
        "doi": None,
        "title": f"Work {number}",
        "publication_year": 2020,
        "publication_date": "2020-05-05",
        "language": "en",
        "type": "article",
        "is_retracted": False,
        "cited_by_count": 1,
        "authorships": [author("US"), author("CN")] if authors is None else list(authors),
        "primary_topic": topic("T10028", 1702),
        "topics": [topic("T10028", 1702)],
        "referenced_works": [f"{URL}W1", f"{URL}W2"],
        "abstract_inverted_index": None,
        "updated_date": updated,
    } | more


def line(record: Mapping[str, Any] | bytes) -> bytes:
    """A record as a line of a file."""
    return record if isinstance(record, bytes) else json.dumps(record).encode()


def write_snapshot(
    root: Path,
    partitions: Mapping[str, Iterable[Mapping[str, Any] | bytes]],
    deleted: Mapping[int, str] | None = None,
    **manifest: Any,
) -> Path:
    """A snapshot with one part per date; records are dicts or raw lines.

    Keyword arguments replace keys of the manifest.
    """
    works = root / "data" / "jsonl" / "works"
    files, total = [], 0
    for day, records in sorted(partitions.items()):
        part = works / f"updated_date={day}" / "part_0000.gz"
        part.parent.mkdir(parents=True, exist_ok=True)
        lines = [line(record) for record in records]
        part.write_bytes(gzip.compress(b"".join(raw + b"\n" for raw in lines), mtime=0))
        files.append(
            {
                "url": f"s3://openalex/data/jsonl/works/updated_date={day}/part_0000.gz",
                "meta": {"content_length": part.stat().st_size, "record_count": len(lines)},
            }
        )
        total += len(lines)
    if deleted is not None:
        rows = "".join(f"{URL}W{number},{day}\n" for number, day in deleted.items())
        works.mkdir(parents=True, exist_ok=True)
        (works / "deleted_ids.csv").write_text("work_id,deleted_date\n" + rows)
    content = {
        "date": "2026-01-01",
        "format": "jsonl",
        "entity": "works",
        "record_count": total,
        "content_length": 0,
        "files": files,
    } | manifest
    works.mkdir(parents=True, exist_ok=True)
    (works / "manifest.json").write_text(json.dumps(content))
    return root


def run(settings: Settings, until: date | None = None) -> Summary:
    """One night without Prefect."""
    summary = Summary()
    with Night(settings, partial(SnapshotIntake, until=until)) as night:
        run_night(night, directly, Lines(), summary)
    return summary


def counts(summary: Summary) -> dict[str, int]:
    """Counts of all batches of a night, zeros left out."""
    sums = {name: sum(outcome.row[name] for outcome in summary.outcomes) for name in t.COUNTS}
    return {name: value for name, value in sums.items() if value}


def contents(
    warehouse: Warehouse, tables: Sequence[sa.Table] = (*t.CORE, t.institution, t.seen, *t.MART)
) -> dict[str, list[tuple[Any, ...]]]:
    """Rows of the tables, sorted, without what depends on grouping."""
    found = {}
    with warehouse.reading() as conn:
        for table in tables:
            columns = [c for c in table.columns if c.name not in IGNORED]
            found[table.name] = sorted(conn.execute(sa.select(*columns)).tuples().all(), key=repr)
    return found


def adds_up(batch: Mapping[str, Any]) -> bool:
    """Whether every record and every deletion of a batch is in one category."""
    is_whole = batch["fetched"] == sum(batch[name] for name in CATEGORIES)
    return bool(is_whole and batch["listed"] == batch["applied"] + batch["absent"])


def prove(conn: sa.Connection) -> None:
    """Fail on any difference that `collab verify` finds."""
    assert [finding for finding in verify(conn) if finding.differences] == []


def proven(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    """Content of a warehouse, proven."""
    with Warehouse.open(settings, create=False) as warehouse:
        with warehouse.reading() as conn:
            prove(conn)
        return contents(warehouse)


def stored(settings: Settings) -> set[int]:
    """Numbers of the works that a warehouse holds."""
    with Warehouse.open(settings) as warehouse:
        return {row["work_id"] for row in rows(warehouse, sa.select(t.work.c.work_id))}


def rows(warehouse: Warehouse, query: sa.Select[Any]) -> list[dict[str, Any]]:
    """Rows of a query by column name."""
    with warehouse.reading() as conn:
        return [dict(row) for row in conn.execute(query).mappings()]


def cell(warehouse: Warehouse, mart: sa.Table, **key: Any) -> dict[str, Any] | None:
    """One cell of a mart table; keys default to the openalex corpus, policy iso, field all, year 2020."""
    where = {"corpus": "openalex", "policy": "iso", "field": "all", "year": 2020} | key
    found = rows(warehouse, sa.select(mart).where(*(mart.c[name] == value for name, value in where.items())))
    return found[0] if found else None


def add_batch(conn, number: int, source="openalex-snapshot", window="w", **more) -> str:
    """A row of ops.batch, finished so many days after STARTED; returns its id."""
    zeros = {c.name: 0 for c in t.batch.columns if isinstance(c.type, sa.BigInteger) and not c.nullable}
    texts = {c.name: "" for c in t.batch.columns if isinstance(c.type, sa.String)}
    times = {"started_at": STARTED, "finished_at": STARTED + timedelta(days=number)}
    named = {"batch_id": f"{source}/{number}", "landing_id": f"{window}.{number}", "source": source, "kind": WORKS}
    made_by = {"definitions": definitions_digest(), "window_name": window}
    conn.execute(t.batch.insert(), {**zeros, **texts, **times, **named, **made_by, **more})
    return named["batch_id"]
