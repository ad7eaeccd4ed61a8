"""Ready questions and exports as a user types them: right figures with their unknown part, bad input in one line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from schemas.settings import Settings, load_settings
from tests.commands import invoke
from tests.factory import author, run, work, write_snapshot
from tests.marts import put

pytestmark = pytest.mark.engines("duckdb")  # a release is a DuckDB file, whatever the engine of the warehouse

WORKS = [
    *(work(n, [author("US"), author("CN")], publication_year=2020) for n in range(11, 15)),
    work(15, [author("US"), author("HK")], publication_year=2020),
    work(16, [author("US"), author()], publication_year=2020),
    work(17, [author("IN"), author("DE")], publication_year=2020),
    work(18, [author("IN"), author("US"), author("DE")], publication_year=2021),
    work(19, [author("BR"), author("IN")], publication_year=2021),
    work(20, [author("GB")], publication_year=2021),
]
CITED_MORE = {"cited_by_count": 8, "referenced_works": ["https://openalex.org/W20"]}


@pytest.fixture(scope="module")
def home(engine, tmp_path_factory) -> Settings:
    """Two releases; the newer one brings a paper and a correction."""
    folder = tmp_path_factory.mktemp("ask")
    settings = load_settings(home=folder / "home", scope="all", workers=1, snapshot=str(folder / "s"))
    write_snapshot(folder / "s", {"2026-01-01": WORKS})
    run(settings)
    later = [
        work(21, [author("US"), author("CN")], updated="2026-01-02", publication_year=2020),
        work(17, [author("IN"), author("FR")], updated="2026-01-02", publication_year=2020),
        work(19, [author("BR"), author("IN")], updated="2026-01-02", publication_year=2021, **CITED_MORE),
        work(20, [author("GB"), author("GB"), author()], updated="2026-01-02", publication_year=2021),
    ]
    write_snapshot(folder / "s", {"2026-01-01": WORKS, "2026-01-02": later})
    run(settings)
    return settings


@pytest.fixture
def collab(home, monkeypatch):
    """Runs a command in this process; returns (exit code, stdout, stderr)."""
    monkeypatch.setenv("COLLAB_HOME", str(home.home))

    def call(*args: object) -> tuple[int, str, str]:
        result = invoke(*args)
        return result.exit_code, result.stdout, result.stderr

    return call


@pytest.fixture
def ask(collab):
    """Rows of an answer, as JSON."""

    def call(*args: object) -> list[dict]:
        code, out, err = collab("ask", *args, "--format", "json")
        assert code == 0, err
        return json.loads(out)["rows"]

    return call


def test_without_a_name_the_questions_are_listed(collab):
    code, out, _ = collab("ask")
    assert code == 0
    names = [line.split()[2] for line in out.splitlines()]
    assert names == ["non-western", "share", "partners", "pair", "changes", "flows", "mentions"]


def test_share_has_numerator_denominator_unknown_and_bounds_under_each_policy(ask):
    rows = {
        row["policy"]: row
        for row in ask("share", "--a", "us", "--b", "China", "--from", 2020, "--to", 2020, "--field", "all")
    }
    iso = {"field": "all", "policy": "iso", "year": 2020, "papers": 5, "of": 8, "with_unknown": 1}
    assert rows["iso"] == iso | {"share_low": 5 / 8, "share_high": 6 / 8, "share_of_located": 5 / 7}
    assert {policy: row["papers"] for policy, row in rows.items()} == {"iso": 5, "mainland-sar": 6, "greater-china": 6}
    shown = ask("share", "--a", "US", "--b", "HK", "--from", 2020, "--to", 2020, "--field", "all")
    assert [(row["policy"], row["papers"]) for row in shown] == [("iso", 1)]


def test_partners_have_rank_and_interval(ask):
    rows = ask("partners", "--country", "India", "--field", "all", "--from", 2020, "--to", 2021)
    assert [(row["rank"], row["partner"], row["papers"]) for row in rows] == [
        (1, "Brazil", 1),
        (1, "Germany", 1),
        (1, "France", 1),
        (1, "United States", 1),
    ]
    us = rows[-1]
    assert (us["code"], us["low_n"]) == ("US", True)
    links_in, links_us, links = 1 + 2 + 1, 6 + 2, 7 + 3 + 1  # of India, of the US, of all: by works of 2020 and 2021
    assert us["ric"] == pytest.approx((1 / links_in) / ((links_us - 1) / (links - links_in)))
    assert us["ric_low"] < us["ric"] < us["ric_high"]
    assert rows[0]["ric"] is None  # Brazil has no other link


def test_partners_year_by_year(ask):
    yearly = ask("partners", "--country", "IN", "--field", "all", "--from", 2020, "--to", 2021, "--per-year")
    assert (yearly[0]["year"], yearly[0]["partner"]) == (2020, "France")
    assert len(yearly) == 4


def test_a_long_span_of_empty_years_is_named_by_its_ends(collab, tmp_path):
    span = ("--field", "all", "--from", 1900, "--to", 9999)
    _, out, _ = collab("ask", "partners", "--country", "US", *span, "--format", "json")
    (note,) = [note for note in json.loads(out)["notes"] if "not complete" in note]
    assert note.endswith("1900 to 9999; years not complete or without works: 1900 to 2019, 2022 to 9999")
    assert collab("export", "matrix", *span, "--out", tmp_path)[0] == 0
    readme = (tmp_path / "README-matrix-all.txt").read_text()
    assert "1900 to 9999 (of which not complete or empty: 1900 to 2019, 2022 to 9999)" in readme


def test_pair_by_field_and_year(ask):
    rows = ask("pair", "--a", "germany", "--b", "IND", "--from", 2020, "--to", 2021)
    assert {(row["field"], row["year"], row["papers"]) for row in rows} >= {("all", 2021, 1), ("ai", 2021, 1)}
    assert all(row["international_DE"] == 1 and row["international_IN"] == 2 for row in rows)


def test_changes_are_told_with_their_reasons(ask):
    rows = {row["cell"]: row for row in ask("changes", "--field", "all", "--policy", "iso")}
    assert rows["China - United States"]["papers_by_reason"] == "+1 new"
    assert (rows["Germany - India"]["papers_by_reason"], rows["Germany - India"]["papers"]) == ("-1 corrected", -1)
    assert rows["France - India"]["papers_by_reason"] == "+1 corrected"
    brazil = rows["Brazil - India"]  # was cited more
    assert (brazil["papers_by_reason"], brazil["papers"]) == ("", 0)
    assert (brazil["citations_by_reason"], brazil["citations"]) == ("+7 citations", 7)
    assert ask("changes", "--field", "all", "--of", "world")[0]["papers"] == 1
    flows = {row["cell"]: row for row in ask("changes", "--field", "all", "--of", "flow")}
    assert flows["Brazil - United Kingdom"]["citations_by_reason"] == "+1 citations"
    countries = {(row["cell"], row["year"]): row for row in ask("changes", "--field", "all", "--of", "country")}
    britain = countries["United Kingdom", 2021]  # one author of three is not located any more: a smaller share
    assert (britain["papers_by_reason"], britain["citations_by_reason"]) == ("+0 corrected", "")
    blocs = {row["cell"]: row["papers"] for row in ask("changes", "--field", "all", "--of", "bloc_pair", "--top", 999)}
    assert blocs["asia - northern-america"] == 1


DECLARED = "0 papers: no counted work of this corpus is in field icml"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (
            ["mentions", "--country", "US", "--mention", "Qwen"],
            "0 papers: no counted work of the release, of any country",
        ),
        (["mentions", "--country", "US", "--mention", "qwen", "--with", "CN"], "or year, names qwen"),
        (
            ["share", "--a", "US", "--b", "CN", "--venues"],
            "31 fields; 0 papers: no counted work of this corpus is in one",
        ),
        (["share", "--a", "US", "--b", "CN", "--field", "icml"], DECLARED),
        (["partners", "--country", "Chad"], "Partners of Chad: 0 international papers of 0, 0 undetermined"),
        (["partners", "--country", "US", "--field", "icml"], f"2020 to 2021; {DECLARED}"),
        (["partners", "--country", "US", "--field", "icml", "--per-year"], DECLARED),
        (["partners", "--country", "US", "--field", "icml", "--from", "2030", "--to", "2031"], f"2031; {DECLARED}"),
        (["pair", "--a", "US", "--b", "CN", "--field", "icml"], DECLARED),
        (["flows", "--country", "US", "--field", "icml"], DECLARED),
        (["non-western", "--field", "icml"], DECLARED),
        (["changes", "--field", "icml"], "0 cells of pair_year"),
    ],
)
def test_what_is_declared_and_has_no_papers_has_0_and_is_told_so(collab, args, said):
    code, out, err = collab("ask", *args, "--format", "json")
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert answer["rows"] == []
    assert said in " | ".join([answer["title"], *answer["notes"]])
    assert "nothing found" in collab("ask", *args)[1]


def test_an_empty_field_is_not_exported(collab, tmp_path):
    code, _, err = collab("export", "matrix", "--field", "icml", "--out", tmp_path / "out")
    assert (code, err.count("\n")) == (2, 1)
    assert "no counted works in field icml of corpus openalex -> choose another --field" in err
    assert not (tmp_path / "out").exists()


def test_an_answer_as_csv_and_as_a_table(collab):
    _, out, _ = collab("ask", "share", "--a", "US", "--b", "CN", "--policy", "iso", "--field", "all", "--format", "csv")
    (row, *_) = csv.DictReader(io.StringIO(out))
    assert (row["policy"], row["year"], row["papers"], row["of"]) == ("iso", "2020", "5", "8")
    _, out, _ = collab("ask", "share", "--a", "US", "--b", "CN", "--field", "all")
    assert "with unknown" in out
    assert "share_high: if every paper with an unknown author had both" in out.replace("\n", " ")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["partners", "--country", "Chna"], r"unknown country 'Chna' -> did you mean China (CN)"),
        (["partners", "--country", "congo"], "'congo' can be more than one country -> give its code: CD (DR Congo) or"),
        (["pair", "--a", "Korea", "--b", "US"], "'Korea' can be more than one country -> give its code: KP (North"),
        (["flows", "--country", "Virgin  Islands"], "give its code: VG (British Virgin Islands) or VI (US Virgin"),
        (["partners", "--country", "ZZ"], "unknown country 'ZZ'"),
        (["partners", "--country", "\x1b[31m=HYPERLINK"], "unknown country '\\x1b[31m=HYPERLINK'"),
        (["partners", "--country", "US", "--field", "helthcare"], "unknown field 'helthcare'"),
        (["partners", "--country", "US", "--policy", "isso"], "unknown policy 'isso' -> did you mean iso?"),
        (["partners", "--country", "US", "--corpus", "neurips"], "unknown corpus 'neurips' -> known: openalex"),
        (["partners", "--country", "US", "--from", "2021", "--to", "2020"], "--from 2021 comes after --to 2020"),
        (["partners", "--country", "US", "--from", "2050"], "the release has 2020 to 2021"),
        (["partners", "--country", "HK", "--policy", "mainland-sar"], "policy mainland-sar counts Hong Kong as China"),
        (["partners", "--country", "US", "--release", "../../etc"], "unknown release"),
        (["partners", "--country", "US", "--format", "xml"], "unknown --format 'xml'"),
        (["share", "--a", "US", "--b", "usa"], "US and usa are the same country"),
        (["share", "--a", "US", "--b", "CN", "--venues", "--corpus", "mine"], "unknown corpus 'mine' -> known: open"),
        (["mentions", "--country", "US", "--mention", "quen"], "unknown mention 'quen' -> did you mean"),
        (["changes", "--field", "helthcare"], "unknown field 'helthcare' -> did you mean healthcare?"),
        (["changes", "--of", "pairs"], "unknown --of 'pairs' -> did you mean"),
    ],
)
def test_bad_input_is_one_line(collab, args, said):
    code, out, err = collab("ask", *args)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert said in err
    assert "\x1b" not in err


def test_without_a_release_a_question_says_how_to_make_one(collab, tmp_path, monkeypatch):
    monkeypatch.setenv("COLLAB_HOME", str(tmp_path))
    code, _, err = collab("ask", "partners", "--country", "US")
    assert (code, err.count("\n")) == (2, 1)
    assert "-> `collab run` loads and publishes" in err


@contextmanager
def copy_of_release(home: Settings, folder: Path, *tables: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """The current release of another home, with these tables of ours; all that ours has is in its schema `new`."""
    (folder / "published" / "current").mkdir(parents=True)
    with duckdb.connect(str(folder / "published" / "current" / "atlas.duckdb")) as copy:
        copy.execute(f"ATTACH '{home.published / 'current' / 'atlas.duckdb'}' AS new (READ_ONLY)")
        for table in tables:
            copy.execute(f"CREATE TABLE {table} AS FROM new.{table}")
        yield copy


def test_a_release_of_before_completeness_says_so(collab, home, tmp_path, monkeypatch):
    with copy_of_release(home, tmp_path, "world_year", "country_year", "pair_year"):
        pass
    monkeypatch.setenv("COLLAB_HOME", str(tmp_path))
    code, _, err = collab("ask", "partners", "--country", "US")
    assert code == 2
    assert "has no table completeness -> `collab publish`" in err


def test_exports_of_a_slice(collab, tmp_path):
    out = tmp_path / "out"
    slice_ = ("--field", "all", "--from", 2020, "--to", 2020, "--policy", "mainland-sar")
    for kind in ("network", "matrix"):
        code, _, err = collab("export", kind, *slice_, "--out", out)
        assert code == 0, err
    with (out / "pairs-all.csv").open(newline="") as file:
        found = {(row["territory_a"], row["territory_b"]): row["papers"] for row in csv.DictReader(file)}
    assert found == {("CN", "US"): "6", ("FR", "IN"): "1"}
    assert "2020" in (out / "README-matrix-all.txt").read_text()


def test_an_export_in_the_layout_of_eto(collab, tmp_path):
    assert collab("export", "eto", "--out", tmp_path / "out")[0] == 0
    assert list((tmp_path / "out").rglob("publications_yearly_articles.csv"))


def test_an_export_into_a_file_is_refused(collab, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = collab("export", "matrix", "--out", tmp_path / "file")
    assert (code, err.count("\n")) == (2, 1)
    assert "cannot write into" in err


@pytest.fixture
def by_hand(home, tmp_path):
    """The release with other blocs, flows and mentions."""
    with copy_of_release(home, tmp_path, "country_year", "pair_year", "completeness") as made:
        made.execute("CREATE TABLE world_year AS SELECT * REPLACE (10 AS references_listed) FROM new.world_year")
        for table in ("flow_year", "mention_year", "mention_pair_year", "bloc_member"):
            made.execute(f"CREATE TABLE {table} AS FROM new.{table} LIMIT 0")
        for member in (("CN", 1, 9999), ("IN", 1, 2020), ("BR", 2000, 9999)):
            made.execute("INSERT INTO bloc_member VALUES ('non-western', 'rest-of-world', ?, ?, ?)", member)
        edges = [("US", "CN", 4, 3), ("US", "US", 2, 1), ("CN", "US", 3, 1)]
        columns = ("territory_citing", "territory_cited", "citations", "fractional")
        put(made, "flow_year", [dict(zip(columns, edge, strict=True)) for edge in edges])
        put(made, "mention_year", [{"mention": "qwen", "territory": code, "papers": 2} for code in ("US", "ZZ")])
        put(made, "mention_pair_year", [{"mention": "qwen", "territory_a": "CN", "territory_b": "US", "papers": 1}])
    return tmp_path


@pytest.fixture
def ask_by_hand(by_hand, ask, monkeypatch):
    """Rows of an answer from that release."""
    monkeypatch.setenv("COLLAB_HOME", str(by_hand))
    return ask


def test_non_western_countries_with_their_first_three_partners(ask_by_hand):
    rows = ask_by_hand("non-western", "--field", "all", "--from", 2020, "--to", 2021)
    assert [(row["country"], row["international"], row["first"], row["second"]) for row in rows] == [
        ("China", 5, "United States (5)", None),
        ("Brazil", 1, "India (1)", None),
        ("India", 1, "France (1)", None),  # a member until 2020: its papers of 2021 do not count
    ]


def test_whom_a_country_cites_and_who_cites_it(ask_by_hand):
    span = ("--from", 2020, "--to", 2020)
    china, own = ask_by_hand("flows", "--country", "US", *span)
    assert (china["country"], china["cites"], china["cited_by"]) == ("China", 4, 3)
    assert (china["of_its_citing"], own["of_its_being_cited"]) == (0.75, 0.5)


def test_mentions_of_a_country_alone_and_with_another(ask_by_hand):
    span = ("--from", 2020, "--to", 2020)
    (row,) = ask_by_hand("mentions", "--country", "US", "--mention", "qwen", *span)
    assert (row["papers"], row["of"], row["world_with_unknown"]) == (2, 7, 2)
    (both,) = ask_by_hand("mentions", "--country", "US", "--with", "CN", *span)
    assert (both["papers"], both["of"]) == (1, 5)


@pytest.fixture
def released(by_hand, collab, monkeypatch):
    """Changes that release with a statement, and makes it the one that is asked."""
    monkeypatch.setenv("COLLAB_HOME", str(by_hand))

    def change(statement: str) -> None:
        with duckdb.connect(str(by_hand / "published" / "current" / "atlas.duckdb")) as made:
            made.execute(statement)

    return change


def test_a_field_that_a_scope_does_not_count_is_unknown(released, collab):
    released("DELETE FROM world_year WHERE field = 'all'")  # as in a warehouse of scope ai
    code, _, err = collab("ask", "flows", "--country", "US", "--field", "all")
    assert (code, err.count("\n")) == (2, 1)
    assert "unknown field 'all'" in err


def test_venues_with_works_in_other_years_only_are_refused(released, collab):
    released("INSERT INTO world_year SELECT * REPLACE ('icml' AS field) FROM world_year WHERE field = 'ai'")
    ask = ("ask", "share", "--a", "US", "--b", "CN", "--venues", "--policy", "iso", "--format", "csv")
    fields = [line.split(",")[0] for line in collab(*ask)[1].splitlines()]
    assert fields == ["field", "icml", "icml"]
    code, _, err = collab(*ask, "--from", "2030")
    assert (code, err.count("\n")) == (2, 1)
    assert "no venues in corpus openalex in these years" in err


def test_an_older_release_has_no_such_table(released, collab):
    released("DROP TABLE flow_year")
    code, _, err = collab("ask", "flows", "--country", "US")
    assert (code, err.count("\n")) == (2, 1)
    assert "has no table flow_year -> `collab publish`" in err
