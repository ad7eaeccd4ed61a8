"""One line of a venue list: whose affiliation is whose, what is mended, what is refused, and what keeps its id."""

from __future__ import annotations

import json
import pickle
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.fields import load_definitions
from schemas.tables import STRING_LIMIT
from schemas.work_ids import FIRST_OF_LISTS, list_id, read_id, shown_id
from tasks.reading.parsed import BadRecord
from tasks.reading.records import Reader
from tasks.reading.venue_papers import ListReader
from tasks.staging.derive import Line, Reading, derive_lines
from tasks.staging.readers import KeptReader, OpenAlexReader
from tests.factory import line, work
from tests.lists import CHINA, FRANCE, JAPAN, paper, plain

BROUGHT = datetime(2026, 1, 2, 3, 4, 5)
READER = ListReader("venues", BROUGHT)


def read(row: dict, ordinal: int = 0, reader: Reader = READER):
    return reader.read(ordinal, json.dumps(row).encode())


def parsed(**more):
    return read(paper(1, **more)).parse()


def strings(work) -> list[list[str]]:
    return [[address.raw_string for address in author.places.addresses] for author in work.authors]


def of_work(work) -> list[str] | None:
    return work.common and [address.raw_string for address in work.common.addresses]


def repairs(work) -> dict[str, tuple]:
    return {repair.rule: (repair.before, repair.after) for repair in work.repairs}


@pytest.mark.parametrize(
    ("author", "aff", "tied"),
    [
        ("A;B", "X;Y", [["X"], ["Y"]]),
        ("A; B;", "X; Y;", [["X"], ["Y"]]),
        ("A;B;C", "X;;Z", [["X"], [], ["Z"]]),
        ("A;B", ";Y", [[], ["Y"]]),
        ("A;B", "X+Y;Z + X", [["X", "Y"], ["X", "Z"]]),
        ("A, B, C", "X;Y;Z", [["X"], ["Y"], ["Z"]]),
        ("A，B、C", "X;Y;Z", [["X"], ["Y"], ["Z"]]),
        ("Ada King, Bob Dobbs, Jr.", "X;Y", [["X"], ["Y"]]),
        ("King, Ada;Dobbs, Bob", "X;Y", [["X"], ["Y"]]),
        ("King, Ada;", "X", [["X"]]),
        ("A;B;A;B", "X;Y", [["X"], ["Y"]]),
        ("A;B;A;B", "X;Y;Z;W", [["X"], ["Y"], ["Z"], ["W"]]),
        ("A;;A;;", "X;Y", [["X"], ["Y"]]),
        ("Wei Wang;Wei Wang", "X;Y", [["X"], ["Y"]]),
        ("A", "X;Y", [["X", "Y"]]),
        ("A;;B", "X;Y", [["X"], ["Y"]]),
        ("A;B", "X;n/a", [["X"], []]),
        ("A;B", "N/A; -; 1", [[], []]),
        ("A;B", None, [[], []]),
        ("A;B", "  ", [[], []]),
        ("A;B", "AT&amp;amp;T Labs;R&#x26;D&nbsp;Paris", [["AT&T Labs"], ["R&D Paris"]]),
        ("A;B", "R&D; Texas A&M", [["R&D"], ["Texas A&M"]]),
        ("A;B", "X&#xD800;Y", [["X&#xD800"], ["Y"]]),  # half a character cannot be stored
        (None, None, []),
    ],
)
def test_slot_k_belongs_to_author_k(author, aff, tied):
    found = parsed(author=author, aff=aff)
    assert (strings(found), found.common) == (tied, None)


@pytest.mark.parametrize(
    ("author", "aff", "authors", "whole"),
    [
        ("A, B, C, D", "X; Y", 4, ["X", "Y"]),
        ("A;B", "X;Y;Z+X", 2, ["X", "Y", "Z"]),
        ("A;B;C", "X", 3, ["X"]),
        ("A;B;A;B", "X;Y;Z", 2, ["X", "Y", "Z"]),
        (None, "X;Y", 0, ["X", "Y"]),
    ],
)
def test_affiliations_of_another_number_belong_to_the_paper(author, aff, authors, whole):
    found = parsed(author=author, aff=aff)
    assert (strings(found), of_work(found)) == ([[]] * authors, whole)
    assert repairs(found)["affiliations_untied"][1] == "true"


def test_repairs_say_what_was_mended():
    found = repairs(parsed(author="A;B;A;B", aff="Caf&eacute;;unknown", doi="n.a."))
    assert found["authors_twice"] == ("A; B; A; B", "2 authors")
    assert "authors_twice" not in repairs(parsed(author="Wei Zhang;Wei Zhang", aff=None))
    assert found["html_entity"] == ("Caf&eacute;;unknown", "Café;unknown")
    assert found["affiliation_placeholder"] == ("unknown", None)
    assert found["doi_shape"] == ("n.a.", None)
    address = "https://link.springer.com/chapter/10.1007/978-3-031-19787-1_4?x=1"
    in_address = parsed(doi=address)
    assert (in_address.doi, list(repairs(in_address))) == ("10.1007/978-3-031-19787-1_4", ["doi_in_address"])
    assert repairs(parsed(author="A, B", aff=None)) == {"authors_by_comma": ("A, B", "2 authors")}
    for prefix in ("https://doi.org/", "http://dx.doi.org/", "https://www.doi.org/", "doi.org/", "doi: ", "DOI:", ""):
        found = parsed(doi=f"{prefix}10.1234/ABC")
        assert (found.doi, repairs(found)) == ("10.1234/abc", {})
    assert parsed(doi="doi:https://doi.org/10.1234/doi:x").doi == "10.1234/doi:x"
    assert list(repairs(parsed(doi="notdoi.org/10.1234/x"))) == ["doi_shape"]
    assert repairs(parsed()) == {}
    (cut,) = parsed(author="A", aff="x" * (STRING_LIMIT + 1)).repairs
    assert cut.column == "affiliation.raw_string"


def test_plain_text_is_split_by_semicolons_alone():
    found = read(plain(1, authors="King, Ada; Dobbs, Bob", affiliations=f"{FRANCE} + {CHINA}; {JAPAN}")).parse()
    assert strings(found) == [[FRANCE, CHINA], [JAPAN]]
    assert found.repairs == []


def test_json_lists_are_taken_as_they_are():
    row = plain(1, authors=["King; Ada", "B", "C", "D"], affiliations=[["C+O; Lab", "X"], "Y & co", None, [None, ""]])
    assert strings(read(row).parse()) == [["C+O; Lab", "X"], ["Y & co"], [], []]


@pytest.mark.parametrize(
    ("status", "is_accepted"),
    [
        *[(status, True) for status in (None, "", "Poster", "Oral", "Findings", "Workshop", "Top-25%", "Accept")],
        *[
            (status, False)
            for status in ("Reject", "REJECTED", "Withdraw", "withdrawn ", "Desk Reject", "Desk-rejected")
        ],
        *[(status, False) for status in ("Active", "Under review", "pending")],
    ],
)
def test_only_accepted_papers_are_in_scope(status, is_accepted):
    assert (read(paper(1, status=status)).subject is not None) is is_accepted


@pytest.mark.parametrize(
    ("title", "type_"),
    [
        *[(title, "paratext") for title in ("Preface", "Frontmatter", "Front Matter and Preface", "Index")],
        ("Preface: Conference on Learning Theory (COLT), 2017", "paratext"),
        ("Proceedings of the Fortieth Conference on Uncertainty in Artificial Intelligence – Preface", "paratext"),
        ("Preface: A Data-driven Volumetric Prior for Few-shot Face Synthesis", "conference-paper"),
        *[(title, "conference-paper") for title in ("Message Passing", "Cover learning", "Indexing", "Paper 1")],
    ],
)
def test_front_matter_is_not_counted(title, type_):
    assert parsed(title=title).type == type_


def test_what_is_stored_of_a_paper():
    found = parsed(title="  A\ntitle ", year="2024.0", doi="https://doi.org/10.1234/ABC", status="Retracted")
    assert (found.title, found.year, found.doi, found.venue) == ("A title", 2024, "10.1234/abc", "nips")
    assert (found.corpus, found.is_retracted, found.cited_by_count, found.references) == ("venues", True, 0, [])
    assert not parsed().is_retracted


@pytest.mark.parametrize(
    ("raw", "rule", "path"),
    [
        (b"{", "json", "$"),
        (b"\xff\xfe", "json", "$"),
        (b'{"author": 3}', "contract", "$.author"),
        (b"[" * 100_000, "contract", "$"),
        (json.dumps(paper(1, year=None)).encode(), "year_shape", "$.year"),
        (json.dumps(paper(1, year="soon")).encode(), "year_shape", "$.year"),
        (json.dumps(paper(1, year="2024.5")).encode(), "year_shape", "$.year"),
        (json.dumps(paper(1, venue=" ")).encode(), "venue_missing", "$.venue"),
        (json.dumps(paper(1, id=None, title=None)).encode(), "identity_missing", "$.id"),
        (json.dumps(paper(1, id="", author=None)).encode(), "identity_missing", "$.id"),
        (json.dumps(paper(1) | {"": ["x"]}).encode(), "row_shape", "$"),
        (json.dumps(paper(1, author="A;" * 10_001)).encode(), "authors_implausible", "$.authors"),
    ],
)
def test_what_cannot_be_used_says_why(raw, rule, path):
    with pytest.raises(BadRecord) as bad:
        READER.read(0, raw).parse()
    assert (bad.value.rule, bad.value.path) == (rule, path)


def identity(**more) -> int:
    return read(paper(1, **more)).version.work_id


def test_ids_are_stable_and_in_a_range_of_their_own():
    assert identity() == 8046113166545391067 == identity(title="Other", author="C", status="Oral", venue="NIPS ")
    unnamed = identity(id=None)
    assert unnamed == identity(id="", title="PAPER   1!", author="ann  a, C")
    others = [identity(venue="icml"), identity(year=2021), identity(id="p2"), identity(id=None, title="Paper 2")]
    others += [identity(id=None, author="Bob B;Ann A"), read(paper(1), reader=ListReader("b", BROUGHT)).version.work_id]
    assert len({identity(), unnamed, *others}) == 8
    assert all(FIRST_OF_LISTS <= one < 2 * FIRST_OF_LISTS for one in others)


@given(st.lists(st.text(), min_size=1))
def test_shown_ids_are_read_again(parts):
    number = list_id(*parts)
    assert shown_id(number) == f"L{number}"
    assert read_id(f" {shown_id(number).lower()}") == read_id(str(number)) == number


def test_each_letter_has_its_range():
    assert read_id("https://openalex.org/W2741809807") == read_id("w2741809807") == 2741809807
    for wrong in ("L2741809807", f"W{FIRST_OF_LISTS}", f"L{2**63}", "W0", "X1", "", "L"):
        with pytest.raises(ValueError, match="is not the id of a work"):
            read_id(wrong)


def test_later_lines_and_later_lists_are_newer():
    first, second = read(paper(1), 0).version, read(paper(1, title="x"), 1).version
    later = read(paper(1), 0, ListReader("venues", BROUGHT + timedelta(seconds=1))).version
    assert first.updated_at < second.updated_at < later.updated_at
    assert first.tie_hash == later.tie_hash


def test_what_the_quarantine_keeps_is_read_as_the_same_version():
    raw = json.dumps(paper(1, year="soon")).encode() + b"\n"
    kept = READER.keep(7, raw)
    assert KeptReader().keep(3, kept) == kept
    assert KeptReader().digest(kept) == READER.digest(raw)
    good = json.dumps(paper(1)).encode()
    assert KeptReader().read(0, READER.keep(7, good)).version == READER.read(7, good).version
    record = line(work(11))
    assert KeptReader().read(0, record).version == OpenAlexReader().read(0, record).version
    assert pickle.loads(pickle.dumps(READER)) == READER


@pytest.mark.parametrize(("scope", "more"), [("ai", {}), ("all", {"all": "scope"})])
def test_fields_of_a_paper(scope, more):
    def fields(**columns) -> dict[str, str]:
        (found,) = load_definitions().classify([read(paper(1, **columns)).subject], scope=scope)
        return dict(found)

    assert fields(title="Soup") == more | {"ai": "venue-list", "neurips": "neurips-name"}
    by_title = fields(title="Neural networks")
    assert by_title.items() >= {"ai": "venue-list", "machine-learning": "ml-title"}.items()
    rules = [rule for field in load_definitions().fields for rule in field.rules if rule.kind == "text"]
    assert rules
    assert len(fields(title="Soup", abstract="We chat with large language models.")) > len(more) + 2


def test_shares_of_untied_affiliations_are_unknown():
    rows = [paper(1, author="A;B;C", aff=f"{FRANCE};{CHINA}"), paper(2, author="A;B", aff="Foo;Bar;Baz")]
    lines = [Line(at, f"x:{at}", json.dumps(row).encode()) for at, row in enumerate(rows)]
    found = derive_lines(lines, Reading(READER, "ai", 1_000_000))
    territories = [row for row in found["work_territory"].to_pylist() if row["policy"] == "iso"]
    shown = [(row["stage_id"], row["territory"], int(row["share"]), row["authors"]) for row in territories]
    assert shown == [(0, "CN", 0, 0), (0, "FR", 0, 0), (0, "ZZ", 1, 3), (1, "ZZ", 1, 2)]
    policy = next(row for row in found["work_policy"].to_pylist() if row["policy"] == "iso")
    assert (policy["territories"], int(policy["unknown_share"])) == (2, 1)
    first, second = found["work"].to_pylist()
    assert (first["is_unassigned"], first["authors_count"], first["authors_located"]) == (True, 3, 0)
    assert second["is_unassigned"]
    kept = [(row["stage_id"], row["position"], row["unit"], row["country"]) for row in found["affiliation"].to_pylist()]
    assert kept == [(0, 0, None, "FR"), (0, 0, None, "CN"), *[(1, 0, None, "ZZ")] * 3]
