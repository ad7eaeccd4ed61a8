"""The commands that say and correct countries: explain, locate, override, ror."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from flows.show import places as show_places
from schemas import tables as t
from tasks.countries.registry import is_located_anew
from tasks.storage.warehouse import Warehouse
from tests.commands import set_environment
from tests.countries import REGISTRY, WORKS
from tests.factory import author, run, work, write_snapshot

pytestmark = pytest.mark.usefixtures("unpublished")


@pytest.fixture
def settings(country_works):
    """Those of a warehouse that holds the works of tests/countries.py."""
    return country_works


@pytest.fixture
def home(settings, monkeypatch) -> Path:
    """The home of the stored works is that of the commands."""
    set_environment(monkeypatch, settings, "home", "scope")
    return settings.home


def test_explain_tells_every_author_and_policy(collab):
    for name in ("W14", "14", "https://openalex.org/W14"):
        code, said = collab("explain", name)
        assert code == 0
        told = " ".join(said.split())
        assert "ANDRA, France" in told
        assert "FR France" in told
        assert "(unsupported_institution): France" in told
        assert "the string names FR, the institution is in AU" in told
        assert "iso: shares DE 0.5, FR 0.5 -> international" in told
        assert "greater-china: shares DE 0.5, FR 0.5 -> international" in told
    assert "undetermined" in collab("explain", "W11")[1]
    assert "no affiliation in the record" in " ".join(collab("explain", "W17")[1].split())


def test_long_strings_are_cut_around_the_words_that_decided(collab, tmp_path):
    long = f"{'a ' * 400}Paris, France {'b ' * 400}"
    assert "Paris, France" in show_places.excerpt(long, "Paris, France")
    assert len(show_places.excerpt(long, "Paris, France")) <= show_places.LONGEST_EVIDENCE
    assert show_places.excerpt(f"{'a ' * 400}Italy", "").endswith("Italy")
    write_snapshot(tmp_path / "s", {"2026-01-02": [work(30, [author("US")] * 70, updated="2026-01-02")]})
    collab("run", "--no-prefect", "--snapshot", tmp_path / "s")
    assert "and 10 more rows; --all shows them" in collab("explain", "W30")[1]
    assert "70 A1" in collab("explain", "W30", "--all")[1]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("W999", "not stored -> no run has met it, or only versions outside the scope"),
        ("x", "not the id of a work"),
        ("W1 OR 1=1", "not the id of a work"),
    ],
)
def test_explain_says_what_it_cannot_explain(collab, name, why):
    code, said = collab("explain", name)
    assert code == 2
    assert why in said


def test_corrections_from_a_file(collab, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("kind,key,country,reason,source,date\nstring,Dept of Physics.,BR,asked them,letter,2026-01-02\n")
    code, said = collab("override", "apply", path)
    assert code == 0
    assert "corrections: 0 kept, 1 added, 0 changed, 0 withdrawn" in said
    assert "1 works looked at, 1 changed; release" in said
    assert "`collab undo` takes back only what is loaded from now on" in said
    code, refused = collab("undo", "/00000000")
    assert (code, "decided stored works again after" in refused) == (1, True)
    assert "asked them" in collab("override", "list")[1]
    assert "BR" in collab("locate", "dept of physics")[1]
    said = collab("override", "apply", path)[1]
    assert "0 works looked at, 0 changed" in said
    assert "undo" not in said
    path.write_text("kind,key,country,reason,source,date\nstring,x,XX,r,s,2026-01-02\n")
    code, said = collab("override", "apply", path)
    assert code == 2
    assert "line 2: country 'XX'" in said
    assert "asked them" in collab("override", "list")[1]
    assert collab("override", "apply", tmp_path / "none.csv")[0] == 2


def write_registry(path: Path) -> Path:
    """REGISTRY as a dump of ROR."""
    records = [
        {
            "id": one.ror,
            "names": [{"value": one.name, "types": ["ror_display"]}],
            "locations": [{"geonames_details": {"country_code": country}} for country in one.countries],
        }
        for one in REGISTRY.values()
    ]
    path.write_text("\n".join(map(json.dumps, records)))
    return path


def test_the_first_load_is_decided_with_what_came_before_it(collab, settings_for, tmp_path, monkeypatch, engine):
    fresh = settings_for(write_snapshot(tmp_path / "s", {"2026-01-01": WORKS}), home=tmp_path / "fresh")
    monkeypatch.setenv("COLLAB_HOME", str(fresh.home))
    if engine == "duckdb":
        assert collab("ror", "update", tmp_path / "none")[0] == 1
        assert not (fresh.home / "warehouse.duckdb").exists()  # a file that is not there makes none
    code, said = collab("ror", "update", write_registry(tmp_path / "ror.jsonl"))
    assert code == 0
    assert "0 works looked at, 0 changed\n" in said
    path = tmp_path / "mine.csv"
    path.write_text("kind,key,country,reason,source,date\nstring,Dept of Physics.,BR,asked them,letter,2026-01-02\n")
    code, said = collab("override", "apply", path)
    assert code == 0
    assert "about no stored work yet: string dept of physics" in said
    run(fresh)
    assert "Zanthor College" in collab("explain", "W11")[1]
    with Warehouse.open(fresh) as warehouse, warehouse.reading() as conn:
        assert is_located_anew(conn)
        of = t.affiliation.c
        brazil = conn.execute(sa.select(of.work_id, of.country_source).where(of.country == "BR")).all()
    assert sorted(map(tuple, brazil)) == [(11, "ror_name"), (15, "override")]


def test_ror_from_a_file(collab, tmp_path):
    code, said = collab("ror", "update", write_registry(tmp_path / "ror.jsonl"))
    assert code == 0
    assert "302 organisations" in said
    assert "2 changed; release" in said
    assert "BR" in collab("locate", "Zanthor College")[1]
    code, said = collab("ror", "update", tmp_path / "none")
    assert code == 1
    assert "No such file" in said
    assert "BR" in collab("locate", "Zanthor College")[1]
    for damage in (lambda file: file.write_bytes(b""), lambda file: file.unlink()):
        (array,) = tmp_path.rglob("owner.npy")
        damage(array)
        assert "BR" in collab("locate", "Zanthor College")[1]  # made anew from the warehouse


def test_strings_are_located_from_the_command_line(collab):
    code, said = collab("locate", "--json", input="Lab, Rome, Italy\n\n=cmd|x\nA, Paris, France; B, Bonn, Germany\n")
    assert code == 0
    found = [json.loads(line) for line in said.splitlines()]
    assert [[one["country"] for one in row["countries"]] for row in found] == [["IT"], [], [], ["FR", "DE"]]
    assert found[0]["countries"][0] == {
        "country": "IT",
        "country_source": "string",
        "rule": "country",
        "evidence": "Italy",
        "confidence": 99,
    }


@pytest.mark.parametrize(
    ("args", "code"), [(("ror", "update", "."), 1), (("override", "apply", "."), 2), (("explain", ""), 2)]
)
def test_an_error_of_a_command_is_one_line(collab, args, code):
    found, said = collab(*args)
    assert (found, len(said.strip().splitlines())) == (code, 1)
