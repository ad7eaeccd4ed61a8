"""What can be filtered and sorted by, taken once from each record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LISTED_AUTHORS = 100  # lists cut authorships here, and the filter on countries sees only these


@dataclass(slots=True, frozen=True)
class Facts:
    """Terms are tuples of short lower-case names (none: the field is null), dates are milliseconds."""

    id: str
    openalex: tuple[str, ...]
    doi: tuple[str, ...]
    primary_topic: tuple[str, ...]
    primary_subfield: tuple[str, ...]
    topics: tuple[str, ...]
    type: tuple[str, ...]
    language: tuple[str, ...]
    countries: tuple[str, ...]
    publication_date: int | None
    updated_date: int | None
    created_date: int | None
    publication_year: int | None
    cited_by_count: int | None
    authors_count: int
    percentile: float | None
    is_retracted: bool | None
    is_oa: bool | None
    is_xpac: bool
    has_doi: bool
    has_abstract: bool
    has_references: bool
    words: frozenset[str]


def facts_of(work: Mapping[str, Any]) -> Facts:
    topic = work.get("primary_topic") or {}
    doi = short_name(work.get("doi") or (work.get("ids") or {}).get("doi"))
    authorships = work.get("authorships") or []
    listed = authorships[:LISTED_AUTHORS]
    return Facts(
        id=work["id"],
        openalex=short_name(work["id"]),
        doi=doi,
        primary_topic=short_name(topic.get("id")),
        primary_subfield=short_name((topic.get("subfield") or {}).get("id")),
        topics=tuple(name for each in work.get("topics") or () for name in short_name(each.get("id"))),
        type=short_name(work.get("type")),
        language=short_name(work.get("language")),
        countries=tuple(sorted({code.lower() for each in listed for code in each.get("countries") or ()})),
        publication_date=to_milliseconds(work.get("publication_date")),
        updated_date=to_milliseconds(work.get("updated_date")),
        created_date=to_milliseconds(work.get("created_date")),
        publication_year=work.get("publication_year"),
        cited_by_count=work.get("cited_by_count"),
        authors_count=len(authorships),
        percentile=(work.get("cited_by_percentile_year") or {}).get("max"),
        is_retracted=work.get("is_retracted"),
        is_oa=(work.get("open_access") or {}).get("is_oa"),
        is_xpac=bool(work.get("is_xpac")),
        has_doi=bool(doi),
        has_abstract=bool(work.get("abstract_inverted_index")),
        has_references=bool(work.get("referenced_works")),
        words=words_of(work.get("title") or ""),
    )


def short_name(value: str | None) -> tuple[str, ...]:
    """An id without its URL, in lower case: W123, T10028, 1702, article, 10.1/x."""
    if not value:
        return ()
    text = value.lower()
    for prefix in ("https://doi.org/", "https://openalex.org/"):
        if text.startswith(prefix):
            rest = text.removeprefix(prefix)
            return (rest if "doi" in prefix else rest.rsplit("/", 1)[-1],)
    return (text,)


def to_milliseconds(text: str | None) -> int | None:
    """A date or moment as Elasticsearch keeps it; without a zone it is UTC."""
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH) // timedelta(milliseconds=1)


def words_of(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))
