"""Records in every shape the source has had: read where the meaning is the same, refused with a path where not."""

from __future__ import annotations

import gzip
import json
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.reading.parse import parse_work, read_version, read_work
from tasks.reading.parsed import BadRecord, clean, tie_hash
from tasks.staging.derive import Line, Reading, derive_lines
from tasks.staging.readers import OpenAlexReader
from tests.factory import URL, author, institution, line, work

READING = Reading(OpenAlexReader(), "all", max_record_bytes=20_000_000)


def parse(record):
    raw = line(record)
    outline = read_work(raw)
    return parse_work(outline, read_version(outline, raw))


def test_what_is_stored_of_a_work():
    parsed = parse(
        work(
            11,
            doi="HTTPS://DOI.ORG/10.1234/ABC",
            referenced_works=[f"{URL}W3", f"{URL}W2", f"{URL}W3", None],
            cited_by_count=None,
        )
    )
    assert (parsed.version.work_id, parsed.doi, parsed.references, parsed.references_count, parsed.cited_by_count) == (
        11,
        "10.1234/abc",
        [2, 3],
        4,
        0,
    )
    assert str(parsed.version.updated_at) == "2026-01-01 00:00:00"


def test_dates_with_a_zone_are_turned_into_utc():
    assert str(parse(work(11, updated="2026-01-01T02:00:00+02:00")).version.updated_at) == "2026-01-01 00:00:00"


def test_the_order_of_affiliations_is_no_content():
    one = author("US", "CN")
    other = json.loads(json.dumps(one))
    other["affiliations"].reverse()
    other["raw_affiliation_strings"].reverse()
    found = [parse(work(11, [a])).authors[0].places for a in (one, other)]
    assert found[0].addresses == found[1].addresses


def test_old_shapes_mean_the_same():
    old = {
        "author": {"id": f"{URL}A1"},
        "institutions": [institution("US"), institution("CN")],
        "raw_affiliation_string": "Both",
    }
    (found,) = parse(work(11, [old])).authors
    assert [(a.raw_string, [i.country for i in a.institutions]) for a in found.places.addresses] == [
        ("Both", ["CN", "US"])
    ]
    assert found.places.loose_institutions == ()
    parsed = parse(
        work(
            11,
            title=None,
            display_name="Old title",
            host_venue={"display_name": "Old venue"},
            type="proceedings-article",
        )
    )
    assert (parsed.title, parsed.venue, parsed.type) == ("Old title", "Old venue", "article")


def test_real_old_shapes_are_read_or_refused_with_a_path(shared):
    lines = gzip.decompress((shared / "openalex" / "old-shapes.jsonl.gz").read_bytes()).splitlines()
    found = derive_lines([Line(n, f"old:{n}", raw) for n, raw in enumerate(lines)], READING)
    assert found["version"].num_rows + found["problem"].num_rows == len(lines) == 75
    assert found["work"].num_rows == 75, found["problem"].to_pylist()
    countries = set(found["affiliation"]["country"].to_pylist())
    assert {"CA", "US"} <= countries
    assert set(found["work"]["type"].to_pylist()) >= {"article", "grant"}


@pytest.mark.parametrize(
    ("count", "more", "truncated"),
    [
        (100, {}, False),
        (3, {"authors_count": 3}, False),
        (3, {"authors_count": 7}, True),
        (3, {"is_authors_truncated": True}, True),
    ],
)
def test_cut_author_lists_are_noticed(count, more, truncated):
    assert parse(work(11, [author("US")] * count, **more)).authors_truncated is truncated


@pytest.mark.parametrize(
    ("record", "rule", "path"),
    [
        (work(11, cited_by_count="x"), "contract", "$.cited_by_count"),
        (work(11, [author("US"), author("US") | {"institutions": 7}]), "contract", "$.authorships[1].institutions"),
        (work(11, [author("US") | {"author": {"id": "x"}}]), "author_id_shape", "$.authorships[0].author.id"),
        (work(11, referenced_works=[f"{URL}W1\n{URL}W2"]), "reference_shape", "$.referenced_works[...]"),
        (work(11, referenced_works=[f"{URL}W" + "9" * 30]), "reference_shape", "$.referenced_works[...]"),
        (work(11, id=f"{URL}W٣"), "work_id_shape", "$.id"),
        (work(11) | {"id": None}, "contract", "$.id"),
        (b'{"id": "https://openalex.org/W1", "updated_date": "2026", "title": "\xff"}', "json", "$"),
        (b"\xef\xbb\xbf{}", "json", "$"),
        (work(11, publication_year=2**31), "contract", "$.publication_year"),
        (work(11, cited_by_count=2**63), "contract", "$.cited_by_count"),
        (line(work(11)).replace(b"Dept US", b"Dept \xff"), "json", "$.authorships[0].affiliations"),
        (work(11, updated="0001-01-01T00:00:00+14:00"), "updated_date_shape", "$.updated_date"),
    ],
)
def test_refusals_name_rule_and_path(record, rule, path):
    with pytest.raises(BadRecord) as refused:
        parse(record)
    assert (refused.value.rule, refused.value.path) == (rule, path)


@pytest.mark.parametrize(
    ("record", "key"),
    [
        (work(11, cited_by_count="x"), "W11"),
        (work(11) | {"authorships": "none", "title": 7}, "W11"),
        (work(11, cited_by_count="x", id=7), "record-"),
        (work(11, cited_by_count="x", updated="yesterday"), "record-"),
        (line(work(11))[:-5], "record-"),
    ],
)
def test_a_record_that_breaks_the_contract_is_known_by_its_id_if_that_can_be_read(record, key):
    (problem,) = derive_lines([Line(0, "x:1", line(record))], READING)["problem"].to_pylist()
    assert problem["source_key"].startswith(key)
    is_known = key == "W11"
    assert (problem["work_id"] == 11) is is_known
    assert (problem["source_updated_at"] == datetime(2026, 1, 1)) is is_known


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.integers(2**30, 2**66) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    ),
    st.sampled_from(sorted(work(11))),
)
def test_any_value_in_any_field_is_read_or_refused(value, field):
    found = derive_lines([Line(0, "x:1", json.dumps(work(11) | {field: value}).encode())], READING)
    assert found["version"].num_rows + found["problem"].num_rows == 1


@given(st.integers(0, len(line(work(11))) - 1), st.integers(0, 255))
def test_a_record_with_any_byte_changed_is_read_or_refused(at, byte):
    raw = bytearray(line(work(11)))
    raw[at] = byte
    found = derive_lines([Line(0, "x:1", bytes(raw))], READING)
    assert found["version"].num_rows + found["problem"].num_rows == 1


def test_a_version_from_the_future_is_refused_because_it_would_hide_all_that_follow():
    reading = Reading(OpenAlexReader(), "all", max_record_bytes=20_000_000, newest=datetime(2026, 1, 2))
    found = derive_lines([Line(0, "x:1", line(work(11, updated="2026-01-02T00:00:01")))], reading)
    (problem,) = found["problem"].to_pylist()
    assert (problem["rule"], problem["source_key"]) == ("updated_date_future", "W11")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw):
    found = derive_lines([Line(0, "x:1", raw)], READING)
    assert found["problem"].num_rows == 1


def test_of_two_records_of_one_date_the_fuller_comes_last():
    empty, full = line(work(11, [author()])), line(work(11, [author("US")]))
    assert tie_hash(full) > tie_hash(empty)
    assert tie_hash(full + b"\n") == tie_hash(full)


def test_hostile_text_is_bounded_and_harmless():
    assert clean("a\x00b\x1b[31mc", 100) == "a b [31mc"
    parsed = parse(
        work(
            11,
            [author(strings=["x" * 10_000])],
            title="\x00" + "t" * 10_000,
        )
    )
    assert len(parsed.title) == 2_000
    assert "\x00" not in parsed.title
    assert len(parsed.authors[0].places.addresses[0].raw_string) == 4_000
    assert {repair.rule for repair in parsed.repairs} == {"text_too_long"}


def test_records_above_the_size_limit_are_held_unread():
    found = derive_lines([Line(0, "part-0000:1", None)], READING)
    assert found["problem"].to_pylist()[0]["rule"] == "record_too_large"
