"""`GET /works`: parameters, pages, groups and the envelope."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tests.replay.answers import Answer, json_answer, not_replayed, paging_error, query_error, to_json, usd
from tests.replay.credits import cost_of
from tests.replay.filters import invalid_field
from tests.replay.index import Document, Hits, Index, Query, encode_cursor, read_cursor

PARAMETERS = (
    "apc_sum api-key api_key cited_by_count_sum corpus cursor data_version data-version filter format include_xpac "
    "include-xpac group_by group-by group_bys group-bys mailto page per_page per-page q sample seed search select sort "
    "warm"
).split()
UNREPLAYED = set(
    "apc_sum cited_by_count_sum format group_bys group-bys q sample search.exact search.semantic search.title "
    "search.title.exact search.title_and_abstract search.title_and_abstract.exact seed".split()
)
SELECTABLE = (
    "id doi title display_name relevance_score publication_year publication_date ids language primary_location "
    "sources type type_crossref indexed_in open_access authorships institution_assertions institutions "
    "countries_distinct_count institutions_distinct_count corresponding_author_ids corresponding_institution_ids "
    "apc_list apc_paid fwci is_authors_truncated has_fulltext fulltext_origin cited_by_count "
    "citation_normalized_percentile cited_by_percentile_year biblio is_retracted is_paratext is_xpac primary_topic "
    "topics keywords concepts mesh locations_count locations best_oa_location sustainable_development_goals awards "
    "funders datasets versions has_content content_urls referenced_works_count referenced_works related_works "
    "abstract_inverted_index cited_by_api_url counts_by_year updated_date created_date"
).split()
GROUPS = ("publication_year", "type", "primary_topic.id", "authorships.countries")
MOST_PER_PAGE = 200
MOST_BY_PAGE = 10_000
MOST_OF_REQUEST_LINE = 8190


def selected(params: Mapping[str, str]) -> frozenset[str] | None:
    """Fields asked for; None for all."""
    names = [name.strip() for name in params.get("select", "").split(",")]
    if names == [""]:
        return None
    for name in names:
        if name not in SELECTABLE:
            raise query_error(
                f"{name} is not a valid select field. Valid fields for select are: {', '.join(SELECTABLE)}."
            )
    return frozenset(names)


def list_works(index: Index, params: Mapping[str, str], cut_short: bool) -> Answer:
    """One page; cut short, if asked and possible, as when the index times out: with 200 and no next cursor."""
    began = time.perf_counter()
    _check(params)
    fields = selected(params)
    group = params.get("group_by") or params.get("group-by")
    page, per_page = _paging(params, group)
    cursor = params.get("cursor")
    hits = index.hits(_query(params))
    meta: dict[str, Any] = {
        "count": len(hits.documents),
        "db_response_time_ms": round((time.perf_counter() - began) * 1000),
        "page": None if cursor else page,
        "per_page": per_page,
    }
    if group:
        rows, after = _groups(hits, group, cursor, per_page)
        meta |= {"next_cursor": after} if cursor else {}
        meta |= {"groups_count": len(rows), "cost_usd": usd(cost_of("/works", params))}
        return json_answer(200, {"meta": meta, "group_by": rows})
    start = hits.after(cursor) if cursor else (page - 1) * per_page
    documents = hits.documents[start : start + per_page]
    cut_short = cut_short and len(documents) > 1
    if cut_short:
        documents = documents[: len(documents) // 2]
    if cursor:
        meta["next_cursor"] = hits.cursor_at(documents[-1]) if len(documents) == per_page else None
    meta |= {"groups_count": None, "cost_usd": usd(cost_of("/works", params))}
    return Answer(200, _envelope(meta, documents, fields), cut_short=cut_short)


def _envelope(meta: Mapping[str, object], documents: Sequence[Document], fields: frozenset[str] | None) -> bytes:
    """Put together from records encoded once: encoding them again would take most of the time of a page."""
    rows = [each.listed if fields is None else each.select(fields, in_list=True) for each in documents]
    return b'{"meta":' + to_json(meta) + b',"results":[' + b",".join(rows) + b'],"group_by":[]}'


def _check(params: Mapping[str, str]) -> None:
    for name in params:
        if name in UNREPLAYED:
            raise not_replayed(f"the parameter {name}")
        if name not in PARAMETERS:
            raise query_error(f"{name} is not a valid parameter. Valid parameters are: {', '.join(PARAMETERS)}.")
    if "select" in params and ("group_by" in params or "group-by" in params):
        raise query_error("select does not work with group_by.")


def _query(params: Mapping[str, str]) -> Query:
    corpus = params.get("corpus", "core")
    if corpus not in {"core", "expansion", "all"}:
        raise query_error(f"{corpus} is not a valid corpus. Valid values are: core, expansion, all.")
    if "true" in {params.get("include_xpac"), params.get("include-xpac")}:
        corpus = "all"
    return Query(params.get("filter", ""), params.get("search", ""), params.get("sort", ""), corpus)


def _number(params: Mapping[str, str], name: str, default: int) -> int:
    text = params.get(name) or params.get(name.replace("-", "_"))
    try:
        return int(text) if text else default
    except ValueError:
        raise query_error(f"Param {name} must be a number.") from None


def _paging(params: Mapping[str, str], group: str | None) -> tuple[int, int]:
    page = _number(params, "page", 1)
    per_page = _number(params, "per-page", MOST_PER_PAGE if group else 25)
    if group and page != 1:
        raise paging_error(
            "Unable to paginate beyond page 1. Group-by is limited to page 1 with up to 200 results at this time."
        )
    if page < 1:
        raise paging_error("Page parameter must be greater than 0.")
    if not 1 <= per_page <= MOST_PER_PAGE:
        raise paging_error(f"per-page parameter must be between 1 and {MOST_PER_PAGE}.")
    if params.get("cursor") and page != 1:
        raise paging_error("Cannot use page parameter with cursor.")
    if page * per_page > MOST_BY_PAGE:
        raise paging_error(
            f"Maximum results size of {MOST_BY_PAGE:,} records is exceeded. Cursor pagination is required for records "
            f"beyond {MOST_BY_PAGE:,}. See: https://developers.openalex.org/guides/page-through-results"
        )
    return page, per_page


def _groups(hits: Hits, group: str, cursor: str | None, per_page: int) -> tuple[list[dict[str, object]], str | None]:
    """Counts per value: the largest first, or by value when a cursor pages through them."""
    name, _, rest = group.partition(":")
    if name not in GROUPS:
        if name in {"publication_date", "cited_by_count", "authors_count"}:
            raise query_error("Cannot group by date, number, or search fields.")
        raise invalid_field(name)
    counts: Counter[str] = Counter()
    names: dict[str, str] = {}
    for document in hits.documents:
        values = _values(document, name)
        if not values and rest == "include_unknown":
            values = {"-111" if name == "publication_year" else "unknown": "unknown"}
        counts.update(values.keys())
        names |= values
    rows = sorted(counts.items(), key=lambda row: row[0] if cursor else (-row[1], row[0]))
    if cursor and cursor != "*":
        rows = [row for row in rows if row[0] > read_cursor(cursor)]
    rows = rows[:per_page]
    prefix = {"type": "types/", "authorships.countries": "countries/"}.get(name)
    groups: list[dict[str, object]] = [
        {
            "key": f"https://openalex.org/{prefix}{key}" if prefix and key != "unknown" else key,
            "key_display_name": names[key],
            "count": count,
        }
        for key, count in rows
    ]
    # Not null on the last page: the service pages groups until it finds none.
    return groups, encode_cursor(rows[-1][0]) if rows else None


def _values(document: Document, name: str) -> dict[str, str]:
    """What a record is counted under: keys and the names they are shown with."""
    facts = document.facts
    if name == "publication_year":
        return {} if facts.publication_year is None else {str(facts.publication_year): str(facts.publication_year)}
    if name == "type":
        return {each: each for each in facts.type}
    if name == "authorships.countries":
        return {each.upper(): each.upper() for each in facts.countries}
    topic = document.record.get("primary_topic") or {}
    return {topic["id"]: topic.get("display_name") or topic["id"]} if topic.get("id") else {}
