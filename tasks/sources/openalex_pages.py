"""Fetches a window of the OpenAlex API page by page into a folder, so that whoever comes after a kill, a fault or an
empty budget goes on at the page where it ended.

A page is one file: a line that says what was asked and answered, then the records as gzip members, which concatenated
are a part to land. Every slice is reconciled with the number of works the source says it has: a slow shard shortens a
page silently, and records move between pages of a live index. What does not agree is halved and fetched again.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
from isal import igzip

from schemas.errors import UNREADABLE_JSON, LandingError, QuestionRefused, SourceUnavailable
from tasks.reading.parse import parse_updated_date, parse_work_id
from tasks.reading.parsed import BadRecord
from tasks.sources.openalex_api import ROWS_PER_PAGE, Query, Slice, Window
from tasks.sources.openalex_client import RUN_AGAIN, OpenAlex, Page

IDS = "ids"  # folder of the works that were asked for by id
STATE, SPLIT, WANTED = "window.json", "split", "wanted.json"
LIST_LIMIT = 100  # list answers of the API hold at most this many authors
LISTED_FIELDS = "id,updated_date"
SHORT_PAGE_ATTEMPTS = 2
MOST_FAILED_SLICES = 64
MOST_SKIPPED = 3  # works of a window that cannot be had whole; more mean that the source is away
MOST_PAGES_BEYOND = 20  # the twofold of what a list should have, and some
SECONDS_BETWEEN_LINES = 15
log = logging.getLogger("collab")


class Row(msgspec.Struct):
    """What is looked at of a record before it is parsed; `id` as the source writes it."""

    id: str
    updated_date: str | None = None
    authorships: list[msgspec.Raw] | None = None


class PageHead(msgspec.Struct):
    """What was asked and answered. `rows` are work ids with their date of change (null where it is none)."""

    asked: str
    next_cursor: str | None
    count: int
    rows: list[tuple[int, datetime | None]]
    records: int
    credits: int
    body_crc: int
    absent: list[int] = []
    left_out: int = 0


class WindowState(msgspec.Struct):
    """What the folder of a window was begun with; pages of another question are of no use."""

    question: list[str]
    was_seen: bool
    """Whether they only list; then they are of no use for a window that is to be fetched whole."""


class Meter(Protocol):
    """Tells what was spent."""

    @property
    def spent(self) -> int:
        """Credits spent by this run."""


Choose = Callable[[dict[int, datetime | None]], Sequence[int]]
"""Of the works a window lists, with their dates of change: those to fetch by id."""


class StoredPage(NamedTuple):
    """A page on disk."""

    path: Path
    head: PageHead


@dataclass(frozen=True)
class Fetched:
    """A window that is whole on disk: pages by query (or `ids`), what the source said it holds and did list, the cost,
    works that are gone, and how many were left out because they could not be had whole."""

    pages: dict[str, list[StoredPage]]
    source_records: int
    source_listed: int
    credits: int
    absent: list[int]
    left_out: int


class WindowFetch:
    """One window on its way into a folder."""

    def __init__(self, client: OpenAlex, meter: Meter, folder: Path, window: Window, queries: Sequence[Query]) -> None:
        """Go on with what the folder holds, unless it was asked another question."""
        self._client, self._meter, self._folder, self._window = client, meter, folder, window
        self._slices = [] if window.is_undated else window.slices(queries)
        self._failed = self._wasted = self._faults = 0
        self._spoke = time.monotonic()
        state = WindowState([part.filter for part in self._slices], window.lists_first)
        try:
            have = msgspec.json.decode((folder / STATE).read_bytes(), type=WindowState)
        except UNREADABLE_JSON:
            have = None
        try:
            if have is None or have.question != state.question or have.was_seen > state.was_seen:
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                _write(folder / STATE, msgspec.json.encode(state))
                have = state
        except OSError as exc:
            raise _cannot_keep(folder, exc) from None
        self._lists_only = have.was_seen

    def run(self, choose: Choose) -> Fetched:
        """Fetch what is not there yet.

        Args:
            choose: asked once, when the list is whole.

        Raises:
            SourceUnavailable: the source does not answer, or contradicts itself; pages so far are kept.
            BudgetExhausted: the same for the day's credits.
            LandingError: the disk is full.
        """
        try:
            slices = {part.query.name: self._collect(part, self._folder / part.query.name) for part in self._slices}
            pages = {name: [page for leaf in leaves for page in leaf] for name, leaves in slices.items()}
            listed = {work_id: stamp for found in pages.values() for page in found for work_id, stamp in page.head.rows}
            by_id = self._fetch_wanted(self._choose_once(listed, choose))
        except OSError as exc:
            raise _cannot_keep(self._folder, exc) from None
        every = [page.head for found in (*pages.values(), by_id) for page in found]
        return Fetched(
            pages={**pages, IDS: by_id},
            source_records=sum(_count(leaf) for leaves in slices.values() for leaf in leaves),
            source_listed=sum(len(_found(leaf)) for leaves in slices.values() for leaf in leaves),
            credits=self._wasted + sum(head.credits for head in every),
            absent=sorted({work_id for head in every for work_id in head.absent}),
            left_out=sum(head.left_out for head in every),
        )

    def _collect(self, part: Slice, folder: Path) -> list[list[StoredPage]]:
        """Pages of a slice, or of its halves where they did not agree with the count."""
        halves = part.halves()
        if not (folder / SPLIT).exists():
            pages = self._page_through(part, folder)
            found, count = len(_found(pages)), _count(pages)
            if found >= count:
                return [pages]
            self._failed += 1
            self._wasted += sum(page.head.credits for page in pages)
            log.info("%s: %s of %s works came", part, f"{found:,}", f"{count:,}")
            is_given_up = halves is None or self._failed > MOST_FAILED_SLICES
            if not is_given_up:
                _write(folder / SPLIT, b"")
            for page in pages:
                page.path.unlink()
            if is_given_up:
                raise SourceUnavailable(f"OpenAlex says {part} holds {count:,} works and lists {found:,}", RUN_AGAIN)
        return [leaf for number, half in enumerate(halves or ()) for leaf in self._collect(half, folder / str(number))]

    def _page_through(self, part: Slice, folder: Path) -> list[StoredPage]:
        folder.mkdir(parents=True, exist_ok=True)
        pages: list[StoredPage] = []
        seen: set[int] = set()
        cursor: str | None = "*"
        while cursor is not None:
            path = folder / f"{len(pages):06d}.page"
            head = _read_head(path, cursor)
            if head is None:
                try:
                    head = self._fetch_page(part, cursor, seen, path)
                except QuestionRefused as exc:
                    if not pages:
                        raise
                    shutil.rmtree(folder)  # the cursor is good no more
                    raise SourceUnavailable(f"{exc.message}; the list is begun anew", RUN_AGAIN) from None
                self._say(part, len(seen) + len(head.rows), head.count)
            pages.append(StoredPage(path, head))
            seen.update(row[0] for row in head.rows)
            cursor = head.next_cursor
            if len(pages) > MOST_PAGES_BEYOND + 2 * head.count // ROWS_PER_PAGE:
                shutil.rmtree(folder)
                raise SourceUnavailable(f"OpenAlex lists {part} without end", RUN_AGAIN)
        return pages

    def _fetch_page(self, part: Slice, cursor: str, seen: set[int], path: Path) -> PageHead:
        """Fetch one page. An end that comes before all works did is asked for again: it may have been a slow shard."""
        before = self._meter.spent
        select = LISTED_FIELDS if self._lists_only else None
        for _ in range(1 + SHORT_PAGE_ATTEMPTS):
            page = self._client.list_works(part.filter, cursor=cursor, select=select)
            if page.meta.next_cursor or len(seen.union(_ids(page))) >= page.meta.count:
                break
        return self._keep(path, page, cursor, before, keeps_rows=not self._lists_only)

    def _fetch_wanted(self, wanted: Sequence[int]) -> list[StoredPage]:
        folder = self._folder / IDS
        folder.mkdir(exist_ok=True)
        pages = []
        for number, at in enumerate(range(0, len(wanted), ROWS_PER_PAGE)):
            ids, path = wanted[at : at + ROWS_PER_PAGE], folder / f"{number:06d}.page"
            asked = "|".join(f"W{work_id}" for work_id in ids)
            head = _read_head(path, asked) or self._fetch_by_id(ids, asked, path)
            pages.append(StoredPage(path, head))
        return pages

    def _fetch_by_id(self, ids: Sequence[int], asked: str, path: Path) -> PageHead:
        before = self._meter.spent
        for _ in range(1 + SHORT_PAGE_ATTEMPTS):
            page = self._client.list_works(f"ids.openalex:{asked}")
            if len(_ids(page)) >= min(page.meta.count, len(ids)):
                break
        return self._keep(path, page, asked, before, keeps_rows=True, missing=sorted(set(ids) - _ids(page)))

    def _keep(
        self, path: Path, page: Page, asked: str, before: int, *, keeps_rows: bool, missing: Sequence[int] = ()
    ) -> PageHead:
        """Write a page. Author lists are cut at 100: such works, and those that a list lacks, are fetched singly."""
        lines: list[bytes] = []
        rows: list[tuple[int, datetime | None]] = []
        absent: list[int] = []
        left_out = 0
        for raw in page.results:
            record, row = bytes(raw), _read_row(raw)
            if row is not None and row[2]:
                single = self._whole(row[0])
                lines += [single] if single else []
                left_out += single is None
            elif keeps_rows:
                lines.append(record)
            rows.append((_key(record, row), row[1] if row else None))
        for work_id in missing:
            single = self._single(work_id, absent)
            lines += [single] if single else []
        content = b"".join(_one_line(line) for line in lines)
        cost = self._meter.spent - before
        packed = igzip.compress(content, compresslevel=1, mtime=0) if content else b""
        crc = zlib.crc32(packed)
        head = PageHead(asked, page.meta.next_cursor, page.meta.count, rows, len(lines), cost, crc, absent, left_out)
        _write(path, msgspec.json.encode(head) + b"\n" + packed)
        return head

    def _whole(self, work_id: int) -> bytes | None:
        """A listed work with all its authors; None where that cannot be had. It is left out then, and counts as changed
        the next time its month is listed, because no such version was seen."""
        record = self._ask_for(work_id)
        if isinstance(record, bytes) and is_record_of(work_id, record):
            return record
        log.warning("W%s is listed, and cannot be had with all its authors; left out for now", work_id)
        return None

    def _single(self, work_id: int, absent: list[int]) -> bytes | None:
        """A stored work that no list holds. Gone, or merged into another, it is noted as absent; left alone where the
        source fails on it."""
        record = self._ask_for(work_id)
        if isinstance(record, SourceUnavailable):
            return None
        if not is_record_of(work_id, record):
            absent.append(work_id)
        return record

    def _ask_for(self, work_id: int) -> bytes | SourceUnavailable | None:
        """One work, or the fault of the source, of which a few are borne in a window."""
        try:
            return self._client.work(work_id)
        except SourceUnavailable as exc:
            self._faults += 1
            if self._faults > MOST_SKIPPED:
                raise
            return exc

    def _choose_once(self, listed: dict[int, datetime | None], choose: Choose) -> list[int]:
        path = self._folder / WANTED
        try:
            return msgspec.json.decode(path.read_bytes(), type=list[int])
        except UNREADABLE_JSON:
            wanted = sorted(choose(listed))
        _write(path, msgspec.json.encode(wanted))
        return wanted

    def _say(self, part: Slice, rows: int, count: int) -> None:
        if time.monotonic() - self._spoke >= SECONDS_BETWEEN_LINES:
            log.info("%s, %s: %s of %s works", self._window.name, part.query.name, f"{rows:,}", f"{count:,}")
            self._spoke = time.monotonic()


def is_record_of(work_id: int, record: bytes | None) -> bool:
    """Whether the answer to a question for one work is that work, and not the one it was merged into, or none."""
    row = _read_row(msgspec.Raw(record)) if record else None
    return row is not None and row[0] == work_id


def blocks_of(pages: Sequence[StoredPage]) -> Iterator[bytes]:
    """Compressed records of some pages, one after the other."""
    for page in pages:
        yield page.path.read_bytes().partition(b"\n")[2]


def digest_of(parts: Iterable[Sequence[StoredPage]]) -> str:
    """Eight hex digits that stand for the records of some parts."""
    digest = hashlib.sha256()
    for pages in parts:
        for block in blocks_of(pages):
            digest.update(block)
    return digest.hexdigest()[:8]


def _found(pages: Sequence[StoredPage]) -> set[int]:
    return {row[0] for page in pages for row in page.head.rows}


def _count(pages: Sequence[StoredPage]) -> int:
    """Works of a list as the source counts them. Pages differ when the index changes meanwhile: all must have come."""
    return max(page.head.count for page in pages)


def _read_head(path: Path, asked: str) -> PageHead | None:
    """Head of a page that answers a question; None if it is not there, or damaged, or answers another."""
    try:
        first, _, packed = path.read_bytes().partition(b"\n")
        head = msgspec.json.decode(first, type=PageHead)
    except UNREADABLE_JSON:
        return None
    return head if head.asked == asked and head.body_crc == zlib.crc32(packed) else None


def _ids(page: Page) -> set[int]:
    return {_key(bytes(raw), _read_row(raw)) for raw in page.results}


def _key(record: bytes, row: tuple[int, datetime | None, bool] | None) -> int:
    """Number of a work; below zero for a record without one: it is counted, and parse refuses it."""
    return row[0] if row else -1 - zlib.crc32(record)


def _read_row(raw: msgspec.Raw) -> tuple[int, datetime | None, bool] | None:
    """Number, date of change, and whether the author list may be cut; None for a record that parse will refuse."""
    try:
        row = msgspec.json.decode(raw, type=Row)
        work_id = parse_work_id(row.id)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, BadRecord):
        return None
    try:
        stamp = parse_updated_date(row.updated_date or "")
    except BadRecord:
        stamp = None
    return work_id, stamp, len(row.authorships or ()) >= LIST_LIMIT


def _one_line(record: bytes) -> bytes:
    """A record without line breaks outside its strings, which cannot hold any."""
    return record.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n"


def _write(path: Path, content: bytes) -> None:
    """All or nothing, also when the run is killed here."""
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def _cannot_keep(folder: Path, exc: OSError) -> LandingError:
    return LandingError(
        f"cannot keep pages in {folder}: {exc.strerror or exc}", "free space or mend permissions, then run again"
    )
