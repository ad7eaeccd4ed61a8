"""The index the replay answers from: records, their order, and the place a cursor points at."""

from __future__ import annotations

import base64
import json
import threading
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.replay.answers import paging_error, query_error, to_json
from tests.replay.facts import LISTED_AUTHORS, Facts, facts_of, words_of
from tests.replay.filters import invalid_field, parse_filter

LONG = 9_223_372_036_854_775_807  # what Elasticsearch sorts a missing integer or date as: last, either way
SORTS = {
    "authors_count": "authors_count",
    "cited_by_count": "cited_by_count",
    "cited_by_percentile_year.max": "percentile",
    "created_date": "created_date",
    "ids.openalex": "id",
    "openalex": "id",
    "openalex_id": "id",
    "publication_date": "publication_date",
    "publication_year": "publication_date",  # the service sorts years by date
    "updated_date": "updated_date",
}
BY_RANK = (("percentile", True), ("cited_by_count", True), ("id", False))
BY_RELEVANCE = (("score", True), ("publication_date", False), ("id", False))
SCORE = 1.0  # every hit of a search is as relevant as the other


class Backwards(str):
    """Text in falling order."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)


@dataclass(frozen=True)
class Document:
    number: int
    record: Mapping[str, Any]
    facts: Facts
    full: bytes
    listed: bytes  # with authorships cut

    def select(self, names: frozenset[str], in_list: bool) -> bytes:
        record = {name: value for name, value in self.record.items() if name in names}
        if in_list and "authorships" in record:
            record["authorships"] = record["authorships"][:LISTED_AUTHORS]
        return to_json(record)


@dataclass(frozen=True)
class Query:
    """What decides which records a list holds, and in which order."""

    filter: str = ""
    search: str = ""
    sort: str = ""
    corpus: str = "core"

    @property
    def orders(self) -> tuple[tuple[str, bool], ...]:
        """Facts to sort by, and whether they fall; the default order breaks ties."""
        default = BY_RELEVANCE if self.search else BY_RANK
        orders = []
        for part in filter(None, self.sort.split(",")):
            name, _, direction = part.partition(":")
            if name == "relevance_score" and not self.search:
                raise query_error(
                    "Must include a search query (such as ?search=example or /filter=fulltext.search:example) in "
                    "order to sort by relevance_score."
                )
            fact = "score" if name == "relevance_score" else SORTS.get(name.replace("-", "_"))
            if fact is None:
                raise invalid_field(name)
            orders.append((fact, direction == "desc"))
        return (*orders, *BY_RANK) if orders else default


class Hits:
    """Records of a query in its order."""

    def __init__(self, documents: Iterable[Document], orders: Sequence[tuple[str, bool]]) -> None:
        self._orders = orders
        ordered = sorted(((self._key(self.sort_values(each)), each) for each in documents), key=lambda pair: pair[0])
        self._keys = [key for key, _ in ordered]
        self.documents = [document for _, document in ordered]

    def sort_values(self, document: Document) -> list[Any]:
        """The values Elasticsearch would sort a record by, as a cursor shows them."""
        values: list[Any] = []
        for fact, falls in self._orders:
            value = SCORE if fact == "score" else getattr(document.facts, fact)
            if fact == "percentile":
                value = float(value) if value is not None else "-Infinity" if falls else "Infinity"
            elif value is None:
                value = -LONG - 1 if falls else LONG
            values.append(value)
        return values

    def _key(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Sort values turned so that all rise."""
        key: list[Any] = []
        for value, (fact, falls) in zip(values, self._orders, strict=True):
            if fact == "id":
                key.append(Backwards(value) if falls else str(value))
            else:
                number = float(value) if fact in {"percentile", "score"} else int(value)
                key.append(-number if falls else number)
        return tuple(key)

    def after(self, cursor: str) -> int:
        """Where the records after a cursor begin. It holds no place but values: the index may have changed since."""
        if cursor == "*":
            return 0
        try:
            return bisect_right(self._keys, self._key(decode_cursor(cursor)))
        except (TypeError, ValueError):
            raise paging_error("Cursor value is invalid.") from None

    def cursor_at(self, document: Document) -> str:
        return encode_cursor(self.sort_values(document))


def encode_cursor(value: Any) -> str:
    """Base64 of a JSON string of what Python prints: not JSON values, but `str` of the list."""
    return base64.b64encode(json.dumps(str(value)).encode()).decode()


def read_cursor(cursor: str) -> str:
    if cursor.lower() in {"null", "none"}:
        raise paging_error("Cursor is null. Likely reached end of results.")
    try:
        text = base64.b64decode(cursor).decode()
    except ValueError:
        raise paging_error("Invalid cursor value") from None
    return text.replace('"', "").replace("'", '"').replace("None", "null")


def decode_cursor(cursor: str) -> list[Any]:
    try:
        return list(json.loads(read_cursor(cursor)))
    except (TypeError, ValueError):
        raise paging_error("Invalid cursor value") from None


class Index:
    """Records by number. Sorted hits are kept until a record changes."""

    def __init__(self, works: Iterable[Mapping[str, Any]]) -> None:
        self._lock = threading.RLock()
        self._documents: dict[int, Document] = {}
        self._merged: dict[int, int] = {}
        self._hits: dict[Query, Hits] = {}
        for work in works:
            self.put(work)

    def put(self, work: Mapping[str, Any]) -> None:
        number = int(work["id"].rsplit("/W", 1)[1])
        full = to_json(work)
        authorships = work.get("authorships") or []
        cut = len(authorships) > LISTED_AUTHORS
        listed = to_json({**work, "authorships": authorships[:LISTED_AUTHORS]}) if cut else full
        document = Document(number, work, facts_of(work), full, listed)
        with self._lock:
            self._documents[number] = document
            self._merged.pop(number, None)
            self._hits.clear()

    def remove(self, number: int) -> None:
        with self._lock:
            del self._documents[number]
            self._hits.clear()

    def merge(self, number: int, into: int) -> None:
        with self._lock:
            self.remove(number)
            self._merged[number] = into

    def get(self, number: int) -> Document | None:
        return self._documents.get(number)

    def merged_into(self, number: int) -> int | None:
        return self._merged.get(number)

    def with_doi(self, doi: str) -> Document | None:
        with self._lock:
            return next((each for each in self._documents.values() if doi in each.facts.doi), None)

    def hits(self, query: Query) -> Hits:
        with self._lock:
            found = self._hits.get(query)
            if found is None:
                found = self._hits[query] = self._find(query)
            return found

    def _find(self, query: Query) -> Hits:
        tests = parse_filter(query.filter)
        orders = query.orders
        documents: Iterable[Document] = self._documents.values()
        if query.corpus != "all":
            expansion = query.corpus == "expansion"
            documents = [each for each in documents if each.facts.is_xpac is expansion]
        if query.search:
            words = words_of(query.search)
            documents = [each for each in documents if words <= each.facts.words]
        for test in tests:
            documents = [each for each in documents if test(each.facts)]
        return Hits(documents, orders)
