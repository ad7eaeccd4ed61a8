"""Raw lines in, staged Arrow tables out: parse, classify and locate each record of a batch.

The lines are cut into chunks; several workers take them when the batch is large. The result does not depend on how
many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.fields import AI, Subject, load_definitions
from schemas.mentions import load_mentions
from schemas.staging import STAGED, arrow_schema
from schemas.tables import OF_WORK
from schemas.work_ids import shown_id
from tasks.countries.locate import Located, Locator
from tasks.countries.reference import load_reference
from tasks.memory import no_collections
from tasks.reading.parsed import BadRecord, ParsedWork, Version, hash64
from tasks.reading.records import Line, Reader, Record, unread_digest, unread_key
from tasks.staging.workers import Workers

CHUNK_RECORDS = 250  # small enough for a core's cache: chunks of 1,000 took a quarter longer
_encode = msgspec.msgpack.Encoder().encode
Rows = dict[str, list[tuple[Any, ...]]]


@dataclass(slots=True)
class Outline:
    """As much of a record as its scope is decided by, or what is wrong with it."""

    line: Line
    record: Record | None = None
    subject: Subject | None = None
    version: Version | None = None
    fields: Sequence[tuple[str, str]] = ()
    mentions: Sequence[str] = ()
    bad: BadRecord | None = None


class Facts(NamedTuple):
    """What is stored of a work as such, in the order of core.work; its content hash is taken over this and the hashes
    of its parts."""

    corpus: str
    doi: str | None
    title: str | None
    publication_date: date | None
    year: int | None
    type: str
    language: str | None
    venue: str | None
    is_retracted: bool
    cited_by_count: int
    authors_count: int
    authors_located: int
    authors_truncated: bool
    references_count: int


@dataclass(frozen=True)
class Reading:
    """How the records of a landing are to be read."""

    reader: Reader
    scope: str
    max_record_bytes: int
    newest: datetime = datetime.max
    """UTC; a later version would hide all that follow, so it is refused."""
    reference: str | None = None
    """Folder of the corrections and organisations to decide by (tasks/countries/reference.py)."""


@lru_cache(maxsize=2)
def locator(reference: str | None) -> Locator:
    """The locator of this process for a reference."""
    return Locator(load_reference(reference))


def derive_lines(lines: Iterable[Line], reading: Reading) -> dict[str, pa.RecordBatch]:
    """Staged rows of some records: one Arrow record batch per staged table, shapes as in schemas/staging.py."""
    with no_collections():  # rows are a million small tuples; none may be left when it ends
        rows = _derive_rows(lines, reading)
        return {name: to_arrow(name, rows.pop(name)) for name in STAGED}


def _derive_rows(lines: Iterable[Line], reading: Reading) -> Rows:
    rows: Rows = {name: [] for name in STAGED}
    outlines = [_outline(line, reading) for line in lines]
    _classify([outline for outline in outlines if outline.subject], reading.scope)
    for outline in outlines:
        _derive_one(outline, reading, rows)
    return rows


def derive_packed(lines: Iterable[Line], reading: Reading) -> dict[str, bytes]:
    """The same as Arrow IPC messages: a quarter of the time that pickling record batches takes, column by column."""
    return {name: batch.serialize().to_pybytes() for name, batch in derive_lines(lines, reading).items()}


def _unpacked(packed: dict[str, bytes]) -> dict[str, pa.RecordBatch]:
    return {name: pa.ipc.read_record_batch(pa.py_buffer(data), arrow_schema(name)) for name, data in packed.items()}


def _outline(line: Line, reading: Reading) -> Outline:
    outline = Outline(line)
    try:
        if line.raw is None:
            raise BadRecord("read", "record_too_large", f"longer than {reading.max_record_bytes} bytes")
        record = reading.reader.read(line.stage_id, line.raw)
        version = outline.version = record.version
        if version.updated_at > reading.newest:
            reason = f"{version.updated_at} lies in the future"
            raise BadRecord("parse", "updated_date_future", reason, "$.updated_date")
        outline.record, outline.subject = record, record.subject
    except BadRecord as bad:
        outline.bad = bad
        outline.version = outline.version or bad.version
    return outline


def _classify(outlines: Sequence[Outline], scope: str) -> None:
    """Fields of works, and what those of AI name."""
    subjects = [outline.subject for outline in outlines if outline.subject]
    for outline, fields in zip(outlines, load_definitions().classify(subjects, scope=scope), strict=True):
        outline.fields = fields
    of_ai = [outline for outline in outlines if any(field == AI for field, _ in outline.fields)]
    named = load_mentions().find_in([outline.subject for outline in of_ai if outline.subject])
    for outline, mentions in zip(of_ai, named, strict=True):
        outline.mentions = mentions


def _derive_one(outline: Outline, reading: Reading, rows: Rows) -> None:
    line, version = outline.line, outline.version
    try:
        if outline.record and version:
            if outline.fields:
                _add_work(line.stage_id, outline.record.parse(), locator(reading.reference), outline, rows)
            rows["version"].append((line.stage_id, *version, bool(outline.fields)))
    except BadRecord as found:
        outline.bad = found
    if bad := outline.bad:
        tie = version.tie_hash if version else unread_digest(line, reading.reader)
        key = shown_id(version.work_id) if version else unread_key(tie)
        identity = (version.work_id, version.updated_at) if version else (None, None)
        problem = (line.stage_id, key, tie, *identity, bad.stage, bad.rule, bad.reason, bad.path, line.landed_at)
        rows["problem"].append(problem)


def hash_places(year: int | None, authorships: Sequence[tuple[Any, ...]], located: Located) -> int:
    """Digest of all that the places of a work's authors, and those tied to none of them, add to the warehouse."""
    evidence = [author.digest for author in (*located.authors, *located.of_work)]
    return hash64(_encode((year, authorships, evidence, located.credit.territories)))


def hash_content(facts: Facts, place_hash: int, field_hash: int, reference_hash: int) -> int:
    """Digest of all columns we store of a work."""
    return hash64(_encode((facts, place_hash, field_hash, reference_hash)))


def place_rows(stage_id: int, work_id: int, located: Located, rows: Rows) -> None:
    """Staged rows of a work's places."""
    credit = located.credit
    rows["affiliation"] += [
        (stage_id, work_id, at, *row) for at, author in enumerate(located.authors, start=1) for row in author.rows
    ]
    rows["affiliation"] += [
        (stage_id, work_id, OF_WORK, *row._replace(unit=None)) for found in located.of_work for row in found.rows
    ]
    rows["work_evidence"] += [(stage_id, work_id, *row) for row in located.evidence()]
    rows["work_policy"] += [(stage_id, work_id, *row) for row in credit.policies]
    rows["work_territory"] += [(stage_id, work_id, *row) for row in credit.territories]


def hash_classes(fields: Sequence[tuple[str, str]], mentions: Sequence[str]) -> int:
    """Digest of what a work is about: of its fields alone, if it names no building block."""
    return hash64(_encode((fields, mentions) if mentions else fields))


def _add_work(stage_id: int, work: ParsedWork, locator: Locator, outline: Outline, rows: Rows) -> None:
    located = locator.locate(work)
    work_id, updated_at, _ = work.version
    authorships = [(at, author.author_id, author.is_corresponding) for at, author in enumerate(work.authors, start=1)]
    place_hash = hash_places(work.year, authorships, located)
    field_hash = hash_classes(outline.fields, outline.mentions)
    reference_hash = hash64(_encode(work.references))
    facts = Facts(
        corpus=work.corpus,
        doi=work.doi,
        title=work.title,
        publication_date=work.publication_date,
        year=work.year,
        type=work.type,
        language=work.language,
        venue=work.venue,
        is_retracted=work.is_retracted,
        cited_by_count=work.cited_by_count,
        authors_count=len(work.authors),
        authors_located=located.credit.authors_located,
        authors_truncated=work.authors_truncated,
        references_count=work.references_count,
    )
    content_hash = hash_content(facts, place_hash, field_hash, reference_hash)

    rows["work"].append(
        (stage_id, work_id, *facts, content_hash, place_hash, field_hash, reference_hash, bool(located.of_work))
    )
    rows["authorship"] += [(stage_id, work_id, *row) for row in authorships]
    place_rows(stage_id, work_id, located, rows)
    rows["work_field"] += [(stage_id, work_id, *row) for row in outline.fields]
    rows["work_mention"] += [(stage_id, work_id, mention) for mention in outline.mentions]
    rows["reference"].append((stage_id, work.references))
    rows["institution"] += [
        (stage_id, *it, updated_at, digest, locator.reference.country_of_ror(it.ror))
        for author in located.authors
        for it, digest in author.institutions
    ]
    rows["repair"] += [(stage_id, work_id, *repair) for repair in work.repairs]


def to_arrow(name: str, rows: Sequence[tuple[Any, ...]]) -> pa.RecordBatch:
    """Rows of a staged table as Arrow; shares are given in units of 1e-9."""
    schema = arrow_schema(name)
    if name == "reference":  # one row a work here, one a citation there
        lists = pa.array([cited for _, cited in rows], pa.list_(pa.int64()))
        owners = pa.array([stage_id for stage_id, _ in rows], pa.int64()).take(pc.list_parent_indices(lists))
        return pa.record_batch([owners, lists.flatten()], schema=schema)
    columns: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    return pa.record_batch(
        [_array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema=schema
    )


def _array(values: Sequence[Any], type_: pa.DataType) -> pa.Array:
    if not pa.types.is_decimal(type_):
        return pa.array(values, type_)
    # Shares are integers of 1e-9; a decimal128 is that integer in 16 bytes.
    low = np.fromiter(values, np.int64, len(values))
    return pa.Array.from_buffers(type_, len(values), [None, pa.py_buffer(np.column_stack((low, low >> 63)).tobytes())])


class Deriver:
    """Derives batches, by several workers where there are several and the batch is large enough to pay for them."""

    def __init__(self, workers: Workers, on_records: Callable[[int], None] = lambda _: None) -> None:
        self._workers = workers
        self._on_records = on_records

    def derive(self, lines: Iterator[Line], reading: Reading, folder: Path) -> None:
        """Write one Arrow IPC file per staged table into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            writers = {
                name: stack.enter_context(
                    pa.ipc.new_file(
                        stack.enter_context(pa.OSFile(str(folder / f"{name}.arrow"), "wb")), arrow_schema(name)
                    )
                )
                for name in STAGED
            }
            for derived in self._chunks(lines, reading):
                for name, batch in derived.items():
                    writers[name].write_batch(batch)
                self._on_records(derived["version"].num_rows + derived["problem"].num_rows)

    def _chunks(self, lines: Iterator[Line], reading: Reading) -> Iterator[Mapping[str, pa.RecordBatch]]:
        pending: deque[Future[dict[str, bytes]]] = deque()
        chunk = _take(lines, CHUNK_RECORDS)
        following = _take(lines, CHUNK_RECORDS)
        if self._workers.count == 1 or not following:
            while chunk:
                yield derive_lines(chunk, reading)
                chunk, following = following, _take(lines, CHUNK_RECORDS)
            return
        while chunk:
            pending.append(self._workers.submit(derive_packed, chunk, reading))
            chunk, following = following, _take(lines, CHUNK_RECORDS)
            if len(pending) > 2 * self._workers.count:  # bounds memory: at most this many chunks are under way
                yield _unpacked(pending.popleft().result())
        while pending:
            yield _unpacked(pending.popleft().result())


def _take(lines: Iterator[Line], count: int) -> list[Line]:
    return [line for _, line in zip(range(count), lines, strict=False)]
