"""Files of venue lists: what is one, what is none and why, and that every line of it comes out."""

from __future__ import annotations

import codecs
import gzip
import json

import pytest

from schemas.errors import SourceError, UsageError
from tasks.landing.list_files import ListFile
from tasks.sources.venue_list import bring
from tests.lists import paper, plain, write_csv, write_list

ROWS = [plain(1), plain(2, abstract='Two\nlines, "quoted"'), plain(3, affiliations="")]


@pytest.fixture
def read(tmp_path, settings_for):
    """The lines of a file, decoded, and what a check counts."""

    def opened(file, **limits) -> list[dict]:
        limits = {"max_record_bytes": 100_000, "max_expansion": 200} | limits
        (brought,) = bring(settings_for(venue_list=str(file)), tmp_path / "copies")
        found = ListFile(brought, **limits)
        lines = b"".join(found.lines()).splitlines(keepends=True)
        assert found.check() == len(lines)
        return [json.loads(line) for line in lines]

    return opened


def with_cells(rows: list[dict]) -> list[dict]:
    return [{name: str(value) for name, value in row.items() if value != ""} for row in rows]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_of_any_delimiter(delimiter, encoding, tmp_path, read):
    rows = [{"abstract": ""} | row for row in ROWS]
    file = write_csv(tmp_path / "list.csv", rows, delimiter=delimiter, encoding=encoding)
    assert read(file) == with_cells(rows)
    packed = tmp_path / "list.csv.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert read(packed) == with_cells(rows)


def test_csv_rows_that_do_not_fit_the_header(tmp_path, read):
    file = tmp_path / "list.csv"
    file.write_text(" Title ,YEAR,venue,authors,affiliations\nA,2020,X,Ann,Y,Z\n\n,,,,\nB,2020,X,Ann\n")
    long, short = read(file)
    assert (long["title"], long[""], short) == (
        "A",
        ["Z"],
        {"title": "B", "year": "2020", "venue": "X", "authors": "Ann"},
    )


def test_json_lines_come_byte_for_byte(tmp_path, settings_for):
    lines = [json.dumps(paper(1)).encode(), b'{"title": "\xff"}', b"{", b" \t", b"x" * 250_000]
    content = b"\n".join(lines)
    for name, raw in {"a.jsonl": codecs.BOM_UTF8 + content, "a.jsonl.gz": gzip.compress(content)}.items():
        (tmp_path / name).write_bytes(raw)
        (brought,) = bring(settings_for(venue_list=str(tmp_path / name)), tmp_path / "copies")
        found = ListFile(brought, 100_000, 200)
        assert b"".join(found.lines()) == b"\n".join([*lines[:3], lines[4], b""])
        assert found.check() == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"%PDF-1.7\n", "is a PDF"),
        (b"PK\x03\x04", "Excel"),
        ("title".encode("utf-16"), "UTF-16"),
        (b'[{"title": "A"}]', "JSON array"),
        (b"{\n{\n", "no line that is a JSON object; line 1: "),
        (json.dumps({"title": "A", "year": 1, "venue": "X"}).encode(), "lacks authors, affiliations"),
        (json.dumps({"title": "A", "venue": "X", "author": "B"}).encode(), "lacks year; it has 'author, title, venue'"),
        (b"title,year,venue,authors\nA,2020,X,B\n", "lacks affiliations"),
        (b"name;when\nA;2020\n", "lacks title, year, venue, authors, affiliations"),
        (b"title,year,venue,authors,affiliations\n", "has no rows"),
        (b"title,title,year,venue,authors,affiliations\nA,A,1,X,B,C\n", "column 'title' twice"),
        ("title,year,venue,authors,affiliations\nA,1,X,José,B\n".encode("latin-1"), "none of UTF-8"),
        (b'title,year,venue,authors,affiliations\nA,1,X,B,C\n"A,1,X,B,C\n', "unexpected end of data"),
        (gzip.compress(b'{"title"' * 1000)[:-20], "cut or damaged"),
        (gzip.compress(b"")[:10] + bytes(40), "cut or damaged"),
        (b'{"title": "A", "year": NaN}\n', "no line that is a JSON object; line 1: "),
        (",".join(f"c{n}" for n in range(10_000)).encode() + b"\n1\n", "lacks title"),
        (gzip.compress(b'{"x": "' + b"0" * 3_000_000), "unpacks to too many times its size"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_list_says_why(content, message, tmp_path, read):
    (tmp_path / "list").write_bytes(content)
    with pytest.raises(SourceError, match=message):
        read(tmp_path / "list")


def test_a_folder_holds_lists_and_other_things(tmp_path, settings_for):
    folder = tmp_path / "lists"
    write_list(folder / "b.jsonl.gz", [paper(1)])
    write_csv(folder / "a.csv", [plain(1)])
    write_list(folder / "inner" / "c.jsonl", [paper(2)])
    (folder / "notes.txt").write_text("x")
    found = bring(settings_for(venue_list=str(folder)), tmp_path / "copies")
    assert [file.name for file in found] == ["a.csv", "b.jsonl.gz"]
    (tmp_path / "none").mkdir()
    for wrong, error in (("none", SourceError), ("absent.csv", SourceError), ("ftpx://a/b", UsageError)):
        address = wrong if "://" in wrong else str(tmp_path / wrong)
        with pytest.raises(error):
            bring(settings_for(venue_list=address), tmp_path / "copies")
    with pytest.raises(UsageError, match="COLLAB_VENUE_LIST"):
        bring(settings_for(), tmp_path / "copies")
