"""Reads the files of a venue list as JSON lines, whatever they are: JSON lines or CSV, compressed or not.

What a file is follows from its content, not from its name. Lines of JSON are passed on byte for byte; rows of CSV
become objects by their header. Nothing is judged here but the file as a whole; a bad line is for the parser.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from isal import igzip

from schemas.errors import SourceError
from schemas.venue_list import PAPERLISTS, PLAIN, SURPLUS, missing_columns
from tasks.sources.files import UNPACKING_ERRORS
from tasks.sources.venue_list import Brought

BOM = b"\xef\xbb\xbf"
GZIP = b"\x1f\x8b"
DELIMITERS = (",", ";", "\t")
LEAST_LIMIT = 1 << 20
LOOK = 4_096
NO_LIST = {b"PK": "a zip file or an Excel workbook", b"%PDF": "a PDF", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
LAYOUTS = "a list has title, year, venue and authors, affiliations (or author, aff); see schemas/README.md"
_keys = msgspec.json.Decoder(dict[str, msgspec.Raw])


class ListFile:
    """One file of a list."""

    def __init__(self, brought: Brought, max_record_bytes: int, max_expansion: int) -> None:
        """Look at the first bytes.

        Args:
            max_record_bytes: longer lines are passed on in pieces; longer cells of a CSV are refused.
            max_expansion: a compressed file that unpacks to more times its size is refused.

        Raises:
            SourceError: it is empty, or neither JSON lines nor a CSV that could be a list.
        """
        self.name, self._path = brought.name, brought.copy
        self._max_record_bytes, self._max_expansion = max_record_bytes, max_expansion
        with self._unpacked() as stream:
            start = stream.read(LOOK).removeprefix(BOM).lstrip()
        if not start:
            raise SourceError(f"{self.name} is empty", "give a list of papers")
        for beginning, what in NO_LIST.items():
            if start.startswith(beginning):
                raise SourceError(f"{self.name} is {what}", "save the list as CSV (UTF-8) or JSON lines")
        if start.startswith(b"["):
            hint = f"`jq -c '.[]' {self.name}` makes one object a line of it"
            raise SourceError(f"{self.name} is a JSON array", hint)
        self._is_json = start.startswith(b"{")

    def check(self) -> int:
        """Number of lines, if the columns are those of a list.

        Raises:
            SourceError: columns are missing, or the file is damaged; see also lines.
        """
        columns: dict[str, None] = {}
        count = 0
        bad = ""
        for line in self.lines():
            count += line.endswith(b"\n")
            if self._is_json:
                try:
                    columns |= dict.fromkeys(_keys.decode(line))
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
                    bad = bad or f"line {count}: {exc}"
        if not count:
            raise SourceError(f"{self.name} has no rows", LAYOUTS)
        if bad and not columns:
            raise SourceError(f"{self.name} has no line that is a JSON object; {bad}", LAYOUTS)
        if self._is_json:
            self._check_columns(columns)
        return count

    def _check_columns(self, columns: Collection[str]) -> None:
        if missing := missing_columns(columns):
            shown = ", ".join(sorted(filter(None, columns))[:20])[:300]
            raise SourceError(f"{self.name} lacks {', '.join(missing)}; it has {shown!a}", LAYOUTS)

    def lines(self) -> Iterator[bytes]:
        """The list as JSON lines; a line above the size limit comes in pieces, blank ones are left out.

        Raises:
            SourceError: cut, damaged or expanding beyond bounds; of a CSV: not UTF-8, or its quotation marks are wrong.
        """
        with self._unpacked() as stream:
            yield from self._json_lines(stream) if self._is_json else self._csv_lines(stream)

    def _json_lines(self, stream: io.BufferedReader[Any]) -> Iterator[bytes]:
        if stream.peek(len(BOM)).startswith(BOM):
            stream.read(len(BOM))
        is_begun = False
        while piece := stream.readline(self._max_record_bytes):
            if is_begun or piece.strip():
                is_begun = not piece.endswith(b"\n")
                yield piece
        if is_begun:
            yield b"\n"

    def _csv_lines(self, stream: io.BufferedReader[Any]) -> Iterator[bytes]:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        rows: Any = None
        csv.field_size_limit(self._max_record_bytes)
        try:
            first = text.readline(LEAST_LIMIT)
            delimiter = max(DELIMITERS, key=lambda one: _known(next(csv.reader([first], delimiter=one), [])))
            header = [name.strip().lower() for name in next(csv.reader([first], delimiter=delimiter, strict=True))]
            if repeated := [name for name, times in Counter(header).items() if name and times > 1]:
                raise SourceError(f"{self.name} has column {min(repeated)!a} twice", LAYOUTS)
            self._check_columns(header)
            rows = csv.reader(text, delimiter=delimiter, strict=True)
            yield from (_json_line(header, row) for row in rows if any(cell.strip() for cell in row))
        except UnicodeDecodeError as exc:
            cause = f"byte {exc.object[exc.start]:#04x} is none of UTF-8"
            raise SourceError(f"{self.name}: {cause}", "save it as CSV UTF-8, then bring it again") from None
        except csv.Error as exc:
            at = f"near line {rows.line_num + 1}" if rows is not None else "in the header"
            raise SourceError(f"{self.name}: {exc} {at}", "mend the quotation marks; cells hold them doubled") from None

    @contextmanager
    def _unpacked(self) -> Iterator[io.BufferedReader[Any]]:
        limit = max(self._path.stat().st_size * self._max_expansion, LEAST_LIMIT)
        try:
            with self._path.open("rb") as file:
                if file.peek(len(GZIP)).startswith(GZIP):
                    with igzip.open(file, "rb") as packed:
                        yield io.BufferedReader(_Bounded(packed, limit, self.name))
                else:
                    yield file
        except UNPACKING_ERRORS as exc:
            raise SourceError(f"{self.name} is cut or damaged: {exc}", "bring it again") from None


class _Bounded(io.RawIOBase):
    """A stream that refuses to give more than a limit."""

    def __init__(self, stream: Any, limit: int, name: str) -> None:
        self._stream, self._left, self._name = stream, limit, name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found: int = self._stream.readinto(buffer)
        self._left -= found
        if self._left < 0:
            hint = "if that is right, raise COLLAB_MAX_EXPANSION"
            raise SourceError(f"{self._name} unpacks to too many times its size", hint)
        return found


def _known(columns: list[str]) -> int:
    names = {name.strip().lower() for name in columns}
    return len(names & {"title", "year", "venue", *PLAIN, *PAPERLISTS})


def _json_line(header: list[str], row: list[str]) -> bytes:
    """A row as an object: cells that are empty are left out, those beyond the header come under a name of their own."""
    cells: dict[str, Any] = {name: cell for name, cell in zip(header, row, strict=False) if name and cell.strip()}
    if surplus := [cell for cell in row[len(header) :] if cell.strip()]:
        cells[SURPLUS] = surplus
    return msgspec.json.encode(cells) + b"\n"
