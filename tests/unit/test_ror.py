"""Records and dumps of ROR, where organisations are, and how they are found in strings."""

from __future__ import annotations

import gzip
import json
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SourceError, UsageError
from tasks.countries.reference import Reference
from tasks.countries.ror import countries_of, read_organization
from tasks.countries.ror_index import RorIndex
from tasks.sources.ror_dump import read_dump


def v2(ror: str, name: str, *countries: str | None, status: str = "active", successors=(), **more) -> dict:
    names = [{"value": name, "types": ["ror_display", "label"], "lang": "en"}]
    names += [{"value": other, "types": ["alias"], "lang": None} for other in more.pop("aliases", ())]
    names += [{"value": other, "types": ["acronym"], "lang": None} for other in more.pop("acronyms", ())]
    return {
        "id": f"https://ror.org/{ror}",
        "names": names[::-1],
        "locations": [{"geonames_details": {"country_code": code}} for code in countries],
        "relationships": [{"type": "successor", "id": f"https://ror.org/{one}"} for one in successors],
        "status": status,
        "types": ["funder", "education"],
    } | more


def v1(ror: str, name: str, country: str, **more) -> dict:
    return {
        "id": f"https://ror.org/{ror}",
        "name": name,
        "aliases": ["Alias of it"],
        "labels": [{"label": "Étiquette", "iso639": "fr"}],
        "acronyms": ["ACR"],
        "country": {"country_code": country},
        "relationships": [],
        "status": "active",
        "types": ["Education"],
    } | more


A, B, C, D = "00000aa01", "00000bb02", "00000cc03", "00000dd04"


def test_both_schema_versions_say_the_same():
    second = read_organization(v2(A, "University of X", "FR", aliases=["X University"], acronyms=["UX"]))
    assert second is not None
    assert (second.ror, second.name, second.names, second.acronyms) == (
        A,
        "University of X",
        ("University of X", "X University"),
        ("UX",),
    )
    assert (second.countries, second.type, second.status) == (("FR",), "education", "active")
    first = read_organization(v1(B, "University of Y", "UK"))  # an alias of GB
    assert first is not None
    assert (first.names, first.countries, first.type) == (
        ("University of Y", "Étiquette", "Alias of it"),
        ("GB",),
        "education",
    )


def test_all_locations_are_kept_each_once():
    found = read_organization(v2(A, "Observatory", "CL", "US", "CL"))
    assert found is not None
    assert found.countries == ("CL", "US")
    nowhere = read_organization(v2(A, "Nowhere", None))
    assert nowhere is not None
    assert nowhere.countries == ()


def test_withdrawn_records_follow_their_successors():
    records = [
        v2(A, "Old", "FR", status="withdrawn", successors=[B]),
        v2(B, "Newer", "DE", status="withdrawn", successors=[C]),
        v2(C, "Newest", "IT"),
        v2(D, "Lost", "ES", status="withdrawn", successors=["00000zz99"]),
    ]
    held = {one.ror: one for one in map(read_organization, records) if one}
    assert countries_of(held) == {A: ("IT",), B: ("IT",), C: ("IT",), D: ("ES",)}


def test_successors_in_a_circle_end():
    records = [
        v2(A, "One", "FR", status="withdrawn", successors=[B]),
        v2(B, "Two", "DE", status="withdrawn", successors=[A]),
    ]
    held = {one.ror: one for one in map(read_organization, records) if one}
    assert countries_of(held) == {A: ("FR",), B: ("DE",)}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(v2(A, "x", "FR"))), inner),
    max_leaves=12,
)


@given(JSON, st.sampled_from(list(v2(A, "x", "FR")) + list(v1(A, "x", "FR"))))
def test_any_record_is_read_without_harm(value, key):
    read_organization(value)
    read_organization(v2(A, "x", "FR") | {key: value})
    read_organization(v1(A, "x", "FR") | {key: value})


RECORDS = [
    v2(A, "University of Zanthor", "FR", aliases=["Université de Zanthor"]),
    v2(B, "Institute of Applied Quiblics", "DE"),
    v2(C, "Center of Excellence", "NL"),
    v2("00000ee05", "Excellence in Quoits", "BR"),
    *(v2(f"0000{n:04d}x", f"Center of Robotics {n}", code) for n, code in enumerate(("US", "CN", "BG", "IT"))),
    *(v2(f"0000{n:04d}y", f"University of Something{n} Applied Science", "US") for n in range(300)),
]


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> RorIndex:
    """The index of RECORDS, as it is read from disk."""
    folder = tmp_path_factory.mktemp("index")
    RorIndex.build([one for one in map(read_organization, RECORDS) if one]).save(folder)
    return RorIndex.load(folder)


@pytest.mark.parametrize(
    ("text", "country", "is_printed"),
    [
        ("University of Zanthor", "FR", True),
        ("Dept of Physics, Univ. de Zanthor, Room 5", "FR", True),
        ("Faculty of Law University of Zanthor", "FR", True),
        ("Inst. Appl. Quiblics", "DE", False),
        ("Institute for Applied Quiblics", "DE", True),
        ("Institute of Aplied Quiblics", "DE", False),
        ("Machine Learning Center of Excellence, Someone & Co.", None, False),  # no word that tells
        ("Center of Robotics", None, False),
        ("", None, False),
        ("?!", None, False),
        ("Zanthor" * 100_000, None, False),
    ],
)
def test_organisations_are_found_by_their_names(index, text, country, is_printed):
    found = index.find(text)
    assert (found.country if found else None) == country
    assert found is None or (found.score == 100) == is_printed


def test_an_organisation_is_looked_up_by_its_id(index):
    assert (index.country_of(A), index.country_of("09zzzzz99")) == ("FR", None)


def test_namesakes_in_other_countries_are_not_left_out():
    """Of six namesakes among twenty names with the same words all must be looked at."""
    others = [v2(f"0000{n:04d}z", f"Institut de Quiblologie pour le Bien {n}", "FR") for n in range(30)]
    namesakes = [v2(f"0000{n:04d}w", "Institut de Quiblologie", code) for n, code in enumerate(("CG", "SN", "BO"))]
    index = RorIndex.build([one for one in map(read_organization, [*RECORDS, *others, *namesakes]) if one])
    assert index.find("Institut de Quiblologie") is None


def test_names_are_one_line():
    found = read_organization(v2(A, "University\nof \x07X", "FR"))
    assert found is not None
    assert found.names == ("University of X",)


def test_an_address_gives_a_name_without_its_options_and_no_secrets(tmp_path):
    write(tmp_path, "jsonl", [v2(A, "One", "FR")]).rename(tmp_path / "dump.jsonl?download=1")
    assert read_dump(f"file://{tmp_path}/dump.jsonl?download=1", tmp_path).name == "dump.jsonl"
    with pytest.raises(UsageError, match="no secrets in an address") as refused:
        read_dump("https://host/dump.zip?X-Amz-Signature=hunter2", tmp_path)
    assert "hunter2" not in str(refused.value)


def test_a_damaged_zip_is_refused(tmp_path):
    path = write(tmp_path, "zip", RECORDS)
    content = bytearray(path.read_bytes())
    at = content.find(b"schema_v2.json") + 40
    content[at : at + 40] = b"\xff" * 40
    path.write_bytes(content)
    with pytest.raises(SourceError):
        read_dump(str(path), tmp_path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_with_any_byte_changed_is_refused_or_read(tmp_path, method):
    path = tmp_path / "dump.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("ror.json", json.dumps([v2(A, "One", "FR")]))
    good = path.read_bytes()
    refused = 0
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :])
        try:
            read_dump(str(path), tmp_path)
        except SourceError:
            refused += 1
    assert refused > len(good) / 4


def test_ids_that_come_twice_are_counted(tmp_path):
    found = read_dump(str(write(tmp_path, "jsonl", [v2(A, "One", "FR"), v2(A, "One", "DE")])), tmp_path)
    assert (found.repeated, found.organizations[A].countries) == (1, ("DE",))


def test_a_name_in_two_countries_decides_nothing():
    twins = [v2(A, "Zanthor College", "FR"), v2(B, "Zanthor College", "US")]
    index = RorIndex.build([one for one in map(read_organization, twins) if one])
    assert index.find("Zanthor College") is None


def test_an_empty_registry_finds_nothing():
    index = RorIndex.build([])
    assert index.find("University of Zanthor") is None
    assert index.country_of(A) is None
    assert Reference().find("University of Zanthor") is None


@given(st.text(max_size=200))
def test_any_string_is_searched_without_harm(index, text):
    index.find(text)


def write(folder, kind: str, records: list[dict]):
    content = {
        "json": json.dumps(records).encode(),
        "jsonl": "\n".join(map(json.dumps, records)).encode(),
        "wrapped": "\n".join(json.dumps({"_release": "v2", "record": one}) for one in records).encode(),
    }
    content["jsonl.gz"] = gzip.compress(content["jsonl"])
    path = folder / f"ror.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("v2.1-ror-data.json", json.dumps([v1(D, "Old schema", "US")] * 50))
            archive.writestr("v2.1-ror-data_schema_v2.json", content["json"])
            archive.writestr("v2.1-ror-data.csv", "id,name")
    else:
        path.write_bytes(content[kind])
    return path


@pytest.mark.parametrize("kind", ["json", "jsonl", "jsonl.gz", "wrapped", "zip"])
def test_dumps_are_read(tmp_path, kind):
    found = read_dump(str(write(tmp_path, kind, [v2(A, "One", "FR"), v1(B, "Two", "DE")])), tmp_path)
    assert {ror: one.countries for ror, one in found.organizations.items()} == {A: ("FR",), B: ("DE",)}
    assert found.records == 2
    assert not (tmp_path / "ror-dump").exists()


def test_a_record_that_is_none_is_counted_and_shown(tmp_path):
    records = [v2(f"0000{n:04d}a", f"University {n}", "FR") for n in range(200)]
    found = read_dump(str(write(tmp_path, "jsonl", [*records, {"id": "nonsense"}])), tmp_path)
    assert (len(found.organizations), found.unreadable_count, found.unreadable) == (200, 1, ['{"id": "nonsense"}'])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"hello",
        b"{",
        b"[1, 2",
        b"\x1f\x8b\x08broken",
        b"PK\x03\x04broken",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe\x00",
        b'{"id": "https://ror.org/0x"}',
        b'[{"meta": {"count": 120000}, "items": []}]',
        b"x" * 20_000_000,
    ],
)
def test_what_is_no_dump_is_refused(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(SourceError, match="no dump of ROR"):
        read_dump(str(path), tmp_path)


def test_a_dump_that_is_not_there_is_said(tmp_path):
    for address, said in ((tmp_path / "none.zip", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(SourceError, match=said):
            read_dump(str(address), tmp_path)
    with pytest.raises(UsageError, match="cannot open nowhere://x"):
        read_dump("nowhere://x", tmp_path)


def test_an_empty_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(SourceError, match="no JSON file"):
        read_dump(str(tmp_path / "x.zip"), tmp_path)
