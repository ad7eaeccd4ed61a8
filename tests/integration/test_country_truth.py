"""Corrections, ROR and rules applied to stored works: only those concerned change, exactly, with their reason; and what
the countries of a work rest on is told."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

import flows.cli
from flows import show_places
from schemas import tables as t
from schemas.overrides import Override
from schemas.settings import load_settings
from tasks import gates
from tasks import relocate as relocation
from tasks.night import Night
from tasks.registry import (
    in_force,
    is_located_anew,
    reference_at_hand,
    replace_organizations,
    replace_overrides,
)
from tasks.relocate import put_in_force, relocate, works_concerned, works_without_country
from tasks.ror import read_organization
from tasks.warehouse import Warehouse
from tests.factory import author, cell, contents, institution, proven, rows, run, work, write_snapshot

pytestmark = pytest.mark.usefixtures("unpublished")

ROR_OF_NOBODY, ROR_OF_IT = "00000aa01", "00000bb02"


def linked(text: str, *institutions: dict) -> dict:
    """An author with one string that institutions are linked to."""
    ids = [one["id"] for one in institutions]
    return author() | {
        "institutions": list(institutions),
        "affiliations": [{"raw_affiliation_string": text, "institution_ids": ids}],
        "raw_affiliation_strings": [text],
    }


WORKS = [
    work(11, [author("US"), author(strings=["Zanthor College"])]),
    work(12, [author("US"), author("CN")]),
    work(13, [linked("Lab, Rome", institution(None, 77, ror=f"https://ror.org/{ROR_OF_IT}")), author("FR")]),
    work(14, [linked("ANDRA, France", institution("AU", 78)), author("DE")]),
    work(15, [author(strings=["Dept of Physics"]), author("JP")]),
    work(
        16, [author(strings=["Lab, Paris, France; Lab, Berlin, Germany", "lab, paris, france; lab, berlin, germany."])]
    ),
    work(17, [author()]),
]


def organization(ror: str, name: str, *countries: str):
    record = {
        "id": ror,
        "names": [{"value": name, "types": ["ror_display"]}],
        "locations": [{"geonames_details": {"country_code": code}} for code in countries],
        "relationships": [],
        "status": "active",
        "types": ["education"],
    }
    found = read_organization(record)
    assert found is not None
    return found


REGISTRY = {
    one.ror: one
    for one in (
        organization(ROR_OF_NOBODY, "Zanthor College", "BR"),
        organization(ROR_OF_IT, "Istituto di Quiblia", "IT"),
        *(
            organization(f"0{n:06d}99", f"Somewhere {n} University", "US") for n in range(300)
        ),  # words that tell are rare
    )
}


def correction(kind: str, key: str, country: str) -> Override:
    return Override(kind, key, country, "reviewed", "a letter", date(2026, 1, 1))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory) -> Path:
    """Home of a warehouse file that holds WORKS; a night takes two seconds, a copy none."""
    folder = tmp_path_factory.mktemp("loaded")
    root = write_snapshot(folder / "s", {"2026-01-01": WORKS})
    run(load_settings(home=folder / "home", scope="all", workers=1, snapshot=str(root)))
    return folder


@pytest.fixture
def settings(tmp_path, settings_for, engine, request):
    if engine != "duckdb":
        made = settings_for(write_snapshot(tmp_path / "s", {"2026-01-01": WORKS}))
        run(made)
        return made
    shutil.copytree(request.getfixturevalue("loaded"), tmp_path, dirs_exist_ok=True, symlinks=True)
    return settings_for(tmp_path / "s")


def correct(settings, *overrides: Override):
    with Warehouse.open(settings) as warehouse:

        def change(conn):
            replaced = replace_overrides(conn, overrides)
            return (lambda conn: works_concerned(conn, replaced.concerned)) if replaced.concerned else None

        return put_in_force(warehouse, settings, change)


def update_ror(settings, organizations=REGISTRY):
    with Warehouse.open(settings) as warehouse:

        def change(conn):
            return (lambda _: works_without_country()) if replace_organizations(conn, organizations, "test") else None

        return put_in_force(warehouse, settings, change)


def decided(settings, work_id: int) -> list[tuple]:
    columns = ("country", "country_source", "rule", "evidence")
    of = t.affiliation.c
    query = sa.select(*(of[name] for name in columns)).where(of.work_id == work_id).order_by(of.position, of.seq)
    with Warehouse.open(settings) as warehouse:
        return [tuple(row.values()) for row in rows(warehouse, query)]


def reasons(settings) -> set[tuple[str, str]]:
    """(kind of batch, reason) of every row of the ledger of pairs."""
    ledger = t.ledger_of(t.pair_year).c
    query = sa.select(t.batch.c.kind, ledger.reason).join_from(
        t.ledger_of(t.pair_year), t.batch, t.batch.c.batch_id == ledger.batch_id
    )
    with Warehouse.open(settings) as warehouse:
        return {tuple(row.values()) for row in rows(warehouse, query)}


def test_a_correction_changes_the_works_concerned_and_no_other(settings):
    done = correct(settings, correction("string", "dept of physics", "BR"), correction("institution", "I78", "NZ"))
    assert (done.looked_at, done.changed) == (2, 2)
    assert decided(settings, 15)[0] == ("BR", "override", "override_string", "dept of physics")
    assert decided(settings, 14)[0] == ("NZ", "override", "override_institution", "I78")
    with Warehouse.open(settings) as warehouse:
        assert cell(warehouse, t.pair_year, territory_a="BR", territory_b="JP")["papers"] == 1
        assert cell(warehouse, t.pair_year, territory_a="DE", territory_b="FR")["papers"] == 1  # work 16
        assert cell(warehouse, t.pair_year, territory_a="DE", territory_b="NZ")["papers"] == 1
    assert reasons(settings) == {("works", "new"), ("corrections", "corrected")}
    proven(settings)


@pytest.mark.parametrize("damage", ["[", "\\udcff", None])
def test_reference_data_that_was_damaged_on_disk_is_made_anew(settings, damage):
    correct(settings, correction("string", "dept of physics", "BR"))
    (kept,) = (settings.home / "reference").glob("*/overrides.json")
    good = kept.read_bytes()
    kept.unlink() if damage is None else kept.write_bytes(damage.encode(errors="surrogateescape"))
    assert reference_at_hand(settings).override(None, None, "dept of physics").country == "BR"
    assert kept.read_bytes() == good


def test_applying_the_same_corrections_again_changes_nothing(settings):
    mine = correction("string", "dept of physics", "BR")
    correct(settings, mine)
    with Warehouse.open(settings) as warehouse:
        before = contents(warehouse)
    assert correct(settings, mine).looked_at == 0
    with Warehouse.open(settings) as warehouse:
        assert contents(warehouse) == before


def test_a_correction_that_is_withdrawn_leaves_everything_as_it_was(settings):
    with Warehouse.open(settings) as warehouse:
        before = contents(warehouse)
    correct(settings, correction("string", "dept of physics", "BR"))
    assert correct(settings).changed == 1
    with Warehouse.open(settings) as warehouse:
        assert contents(warehouse) == before
    proven(settings)


def test_ror_fills_null_countries_and_finds_names(settings):
    assert decided(settings, 11)[1][:2] == ("ZZ", "none")
    done = update_ror(settings)
    assert done.changed == 2
    found = decided(settings, 11)[1]
    assert found == ("BR", "ror_name", "ror_printed", f"zanthor college (ror.org/{ROR_OF_NOBODY})")
    assert decided(settings, 13)[0] == ("IT", "institution", "ror_record", ROR_OF_IT)
    with Warehouse.open(settings) as warehouse:
        held = rows(warehouse, sa.select(t.institution).where(t.institution.c.institution_id == 77))
        assert [(row["country"], row["ror_country"]) for row in held] == [(None, "IT")]
    proven(settings)
    assert update_ror(settings).changed == 0


def test_later_nights_decide_by_what_was_loaded(tmp_path, settings_for):
    """The same works, loaded before and after corrections and ROR, end in the same tables."""
    first, second = WORKS[:3], [*WORKS[3:], work(18, [author(strings=["Zanthor College"])])]
    root = write_snapshot(tmp_path / "s", {"2026-01-01": first, "2026-01-02": second})
    mine = correction("string", "dept of physics", "BR")
    early, late = settings_for(root, home=tmp_path / "early"), settings_for(root, home=tmp_path / "late")
    run(early, date(2026, 1, 1))
    update_ror(early)
    correct(early, mine)
    run(early)
    run(late)
    correct(late, mine)
    update_ror(late)
    found = []
    for settings in (early, late):
        with Warehouse.open(settings) as warehouse:
            found.append(contents(warehouse))
        proven(settings)
    assert found[0] == found[1]


def test_deciding_everything_again_changes_nothing(settings):
    update_ror(settings)
    with Warehouse.open(settings) as warehouse:
        before = contents(warehouse)
        done = relocate(warehouse, settings)
        assert (done.looked_at, done.changed) == (len(WORKS), 0)
        assert contents(warehouse) == before


def test_other_rules_wait_for_relocate(settings, monkeypatch):
    """Works that older rules decided stay as they are until somebody has them decided again."""
    with Warehouse.open(settings) as warehouse:
        with warehouse.transaction() as conn:
            conn.execute(sa.update(t.meta).where(t.meta.c.name == "located_by").values(value="older"))
            conn.execute(sa.update(t.affiliation).values(rule="unstated", confidence=0))
            conn.execute(sa.update(t.work).values(place_hash=0, content_hash=0))
        with warehouse.reading() as conn:
            assert not is_located_anew(conn)
        done = relocate(warehouse, settings)
        assert done.changed == len(WORKS)
        with warehouse.reading() as conn:
            assert is_located_anew(conn)
        assert rows(warehouse, sa.select(t.affiliation).where(t.affiliation.c.rule == "unstated")) == []
    proven(settings)


def test_a_correction_looks_at_every_work_if_those_before_were_not_up_to_date(settings):
    with Warehouse.open(settings) as warehouse, warehouse.transaction() as conn:
        conn.execute(sa.update(t.meta).where(t.meta.c.name == "located_by").values(value="older"))
    assert correct(settings, correction("string", "dept of physics", "BR")).looked_at == len(WORKS)


def test_a_relocation_that_was_killed_is_finished_by_the_next(settings, monkeypatch):
    small = settings.model_copy(update={"batch_works": 1})
    original, calls = relocation.relocate_some, []

    def die_second(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(relocation, "relocate_some", die_second)
    with pytest.raises(KeyboardInterrupt):
        update_ror(small)
    monkeypatch.undo()
    with Warehouse.open(settings) as warehouse:
        with warehouse.reading() as conn:
            assert not is_located_anew(conn)
        relocate(warehouse, settings)
        with warehouse.reading() as conn:
            assert is_located_anew(conn)
    assert decided(settings, 11)[1][0] == "BR"
    assert decided(settings, 13)[0][0] == "IT"
    proven(settings)


@pytest.mark.engines("postgresql")
def test_a_batch_that_was_decided_by_what_is_not_in_force_any_more_is_decided_again(tmp_path, settings_for):
    settings = settings_for(write_snapshot(tmp_path / "s", {"2026-01-01": WORKS}))
    with Night(settings) as night:
        (window,) = night.plan()
        landing = night.land_works(window)
        (batch,) = night.batches(landing)
        folder = night.derive(batch)
        report = night.validate(folder)
        update_ror(settings)  # by another run
        assert night.load(batch, folder, report) is None
        (again,) = night.batches(landing)
        assert again.reference != batch.reference
        folder = night.derive(again)
        assert night.load(again, folder, night.validate(folder)) is not None
    assert decided(settings, 11)[1][0] == "BR"
    proven(settings)


@pytest.mark.parametrize(("fewest", "expected"), [(1, False), (2, None)])
def test_a_country_whose_institutions_are_contradicted_is_named(tmp_path, settings_for, monkeypatch, fewest, expected):
    """A consortium's string that is printed for each author counts once."""
    monkeypatch.setattr(gates, "FEWEST_AFFILIATIONS", fewest)
    wrong = linked("ANDRA, France", institution("AU", 78))
    days = {"2026-01-01": [work(11, [wrong] * 5), work(12, [author("FR"), author("FR"), wrong])]}
    settings = settings_for(write_snapshot(tmp_path / "t", days), home=tmp_path / "other")
    run(settings)
    of = t.validation_result.c
    with Warehouse.open(settings) as warehouse:
        (found,) = rows(warehouse, sa.select(t.validation_result).where(of.rule == "country_conflict_rate"))
    assert (found["success"], found["severity"]) == (expected, "warn")
    if expected is False:
        assert found["observed"] == "1"
        assert "institutions of AU" in found["sample"]


def test_coverage_is_counted_by_hand(settings):
    with Warehouse.open(settings) as warehouse:
        of = t.coverage_year.c
        found = rows(warehouse, sa.select(t.coverage_year).where(of.field == "all"))
    measures = {row["evidence"]: tuple(row[name] for name in t.measures(t.coverage_year)) for row in found}
    # papers, all, some, none located; authors, located authors, conflicts
    assert measures == {
        "all": (7, 4, 2, 1, 12, 9, 1),
        "institution": (5, 3, 2, 0, 6, 6, 0),  # works 11, 12, 14, 15 and 13: one author of each, two of 12
        "string": (2, 2, 0, 0, 2, 2, 0),  # 13 (Rome) and 16
        "string_over_institution": (1, 1, 0, 0, 1, 1, 1),
        "none": (3, 0, 2, 1, 3, 0, 0),
    }


def test_an_institution_of_which_nothing_is_known_says_nothing(tmp_path, settings_for):
    """The sentinel I-1 beside a real institution: what is stored must say as much as the record."""
    nobody = institution(None, 1, type=None) | {"id": "https://openalex.org/I-1"}
    team = [linked("Quux Laboratory, Grenoble", nobody, institution("US", 80)), linked("Lab, Grenoble", nobody)]
    settings = settings_for(write_snapshot(tmp_path / "t", {"2026-01-01": [work(11, team)]}), home=tmp_path / "other")
    run(settings)
    assert [row[0] for row in decided(settings, 11)] == ["US", "FR"]
    with Warehouse.open(settings) as warehouse:
        assert relocate(warehouse, settings).changed == 0


def test_two_addresses_in_one_string_share_its_unit(settings):
    assert [row[0] for row in decided(settings, 16)] == ["FR", "DE", "FR", "DE"]
    with Warehouse.open(settings) as warehouse:
        parts = t.work_territory.c
        found = rows(
            warehouse, sa.select(parts.territory, parts.share).where(parts.work_id == 16, parts.policy == "iso")
        )
    assert {row["territory"]: float(row["share"]) for row in found} == {"DE": 0.5, "FR": 0.5}


# ------------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def collab(settings, monkeypatch):
    monkeypatch.setenv("COLLAB_HOME", str(settings.home))
    monkeypatch.setenv("COLLAB_SCOPE", settings.scope)
    runner = CliRunner()

    def call(*args: object, **more) -> tuple[int, str]:
        result = runner.invoke(flows.cli.app, [str(arg) for arg in args], **more)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    return call


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


def test_without_a_warehouse_strings_are_located_by_what_ships(tmp_path, settings_for):
    settings = settings_for(home=tmp_path / "nothing")
    assert reference_at_hand(settings).override(None, None, "orcid, inc") is not None
    assert not (settings.home / "warehouse.duckdb").exists()


def test_reference_data_is_named_by_what_it_holds(settings):
    with Warehouse.open(settings) as warehouse, warehouse.reading() as conn:
        assert in_force(conn) == ""
    correct(settings, correction("string", "dept of physics", "BR"))
    with Warehouse.open(settings) as warehouse, warehouse.reading() as conn:
        one = in_force(conn)
    correct(settings)
    with Warehouse.open(settings) as warehouse, warehouse.reading() as conn:
        assert in_force(conn) == ""
    assert one.startswith("none-")


def test_an_error_of_a_command_is_one_line(collab, tmp_path):
    for args in (("ror", "update", tmp_path), ("override", "apply", tmp_path), ("explain", "")):
        code, said = collab(*args)
        assert code in (1, 2)
        assert len(said.strip().splitlines()) == 1
