"""Other fields, mentions, policies and blocs: stored works are decided again, and end as if they had been loaded so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from uuid import uuid4

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import schemas.counting.sets as sets
import tasks.batches.batch as batches
import tasks.batches.rederive as rederiving
import tasks.countries.shares as shares
import tasks.loading.aggregate as aggregate
import tasks.loading.eligibility as loading
import tasks.staging.derive as derive
import tasks.storage.definitions as definitions
import tasks.storage.warehouse as warehouses
from schemas import tables as t
from schemas.errors import WarehouseError
from schemas.fields import load_definitions
from schemas.mentions import load_mentions
from schemas.places.blocs import members_by_year
from schemas.places.territories import Policy, policies
from schemas.settings import load_settings
from tasks.batches import internal_batches
from tasks.batches.rederive import rederive
from tasks.loading.ledger import changes_since
from tasks.staging.derive import Deriver
from tasks.staging.workers import LocalWorkers
from tasks.storage.definitions import is_outdated
from tasks.storage.warehouse import Warehouse
from tests.arrivals import Arrival, arrange, deletions, papers, take_in, versions
from tests.definitions import put_digest
from tests.factory import OFF_TOPIC, URL, author, contents, line, prove, rows, work
from tests.lists import paper

pytestmark = pytest.mark.usefixtures("unpublished")

WORKS = [
    line(work(11, [author("US"), author("FR", corresponding=True)], title="Robots", referenced_works=[f"{URL}W12"])),
    line(work(12, [author("DE"), author("FR")], title="Soup in PyTorch", referenced_works=[f"{URL}W11"])),
    line(work(13, [author("GB")], title="Patients", publication_year=2019, referenced_works=[f"{URL}W12"])),
    line(work(11, [author("US"), author("CN")], title="Robots in TensorFlow", updated="2026-01-02")),
]
LIST = Arrival("works", (line(paper(1)), line(paper(2, title="Robots"))), datetime(2026, 1, 3))


@pytest.fixture
def other(monkeypatch) -> Callable[[], None]:
    """Puts other definitions in place of ours: a field less and a rule more, a mention less, a policy more and one of
    another fold, and Germany out of its blocs."""

    def put() -> None:
        ours = load_definitions()
        healthcare = next(field for field in ours.fields if field.id == "healthcare")
        rule = replace(healthcare.rules[-1], id="other", values=("soup", "patients?"), hints=("soup", "patient"))
        kept = tuple(field for field in ours.fields if field.id not in ("healthcare", "robotics"))
        others = replace(ours, fields=(*kept, replace(healthcare, rules=(rule,))))
        named = load_mentions()
        fewer = replace(named, mentions=tuple(one for one in named.mentions if one.id != "pytorch"))
        folds = (*policies()[:-1], replace(policies()[-1], counts_as={"FR": "DE"}), Policy("more", {"GB": "US"}, ""))
        left = tuple(member for member in members_by_year() if member.territory != "DE")
        monkeypatch.setattr(derive, "load_definitions", lambda: others)
        monkeypatch.setattr(derive, "load_mentions", lambda: fewer)
        for module in (shares, sets):
            monkeypatch.setattr(module, "policies", lambda: folds)
        monkeypatch.setattr(definitions, "members_by_year", lambda: left)
        put_digest(monkeypatch, "other")
        forget()

    yield put
    forget()


def forget() -> None:
    """Forget what is remembered of definitions for as long as a process runs."""
    shares.credit.cache_clear()
    aggregate._made.clear()


def load(arrivals: list[Arrival], settings) -> None:
    with Warehouse.open(settings) as warehouse:
        for number, arrival in enumerate(arrivals):
            take_in(arrival, f"arrival-{number}", warehouse, Deriver(LocalWorkers(1)), settings)


def applied(settings) -> tuple[dict[str, list[tuple]], int]:
    """Content after the definitions in place are applied, and how many works keep an older classification."""
    with Warehouse.open(settings, any_definitions=True) as warehouse:
        done = rederive(warehouse, settings)
        with warehouse.reading() as conn:
            assert not is_outdated(conn)
            prove(conn)
            assert {row.reason for row in conn.execute(changes_since(None))} >= {"definition"}
        assert rederive(warehouse, settings).changed == 0
        return contents(warehouse), done.partial


def test_works_end_as_if_they_had_been_loaded_by_the_new_definitions(tmp_path, other):
    old, new = (load_settings(home=tmp_path / name, scope="all", workers=1) for name in ("old", "new"))
    arrivals = [Arrival("works", tuple(WORKS)), LIST]
    load(arrivals, old)
    other()
    with pytest.raises(WarehouseError, match=r"counted by definitions .*`collab rebuild`"):
        Warehouse.open(old)
    load(arrivals, new)
    with Warehouse.open(new) as warehouse:
        expected = contents(warehouse)
    assert {row[4] for row in expected["mention_year"]} == {"tensorflow"}
    found, partial = applied(old)
    assert found == expected
    assert partial == 0


def test_works_whose_records_are_gone_keep_their_classification(tmp_path, other):
    settings = load_settings(home=tmp_path / "home", scope="all", workers=1)
    load([Arrival("works", tuple(WORKS)), LIST], settings)
    shutil.rmtree(settings.landing / "test")
    other()
    found, partial = applied(settings)
    assert partial == 3  # the works of OpenAlex; the papers' records are still there
    mentions, policy_rows = {row[1] for row in found["work_mention"]}, {row[1] for row in found["work_policy"]}
    assert mentions == {"tensorflow", "pytorch"}
    assert policy_rows == {"iso", "mainland-sar", "greater-china", "more"}
    with Warehouse.open(settings) as warehouse:
        noted = rows(warehouse, sa.select(t.meta.c.value).where(t.meta.c.name == definitions.PARTIAL))
        assert noted == [{"value": "3"}]


def test_a_change_of_policies_alone_needs_no_records(tmp_path, other, monkeypatch):
    settings = load_settings(home=tmp_path / "home", scope="all", workers=1)
    load([Arrival("works", tuple(WORKS))], settings)
    shutil.rmtree(settings.landing / "test")
    with monkeypatch.context() as context:
        folds = (*policies(), Policy("more", {"GB": "US"}, ""))
        for module in (shares, sets):
            context.setattr(module, "policies", lambda: folds)
        for module in (definitions, warehouses):
            context.setattr(module, "counting_digest", lambda: "other")
        forget()
        found, partial = applied(settings)
    assert partial == 0
    assert ("US", "more") in {(row[4], row[1]) for row in found["country_year"]}


def test_what_leaves_and_enters_the_scope_is_deleted_like_any_other(tmp_path, monkeypatch):
    """Version order must follow what is stored: else a deletion of a work that other definitions admit is ignored."""
    settings = load_settings(home=tmp_path / "home", scope="ai", workers=1)
    works = [work(11), work(12), work(12, updated="2026-01-02", primary_topic=OFF_TOPIC)]
    load([Arrival("works", (line(one),)) for one in works], settings)
    ours = load_definitions()
    ai = next(field for field in ours.fields if field.admits)
    admits = replace(ai, rules=(replace(ai.rules[0], values=("2105",)),))
    monkeypatch.setattr(derive, "load_definitions", lambda: replace(ours, fields=(admits, *ours.fields[1:])))
    put_digest(monkeypatch, "other")
    assert {row[0] for row in applied(settings)[0]["work"]} == {12}
    with Warehouse.open(settings) as warehouse:
        seen = {row["work_id"]: row["state"] for row in rows(warehouse, sa.select(t.seen))}
        assert seen == {11: "out_of_scope", 12: "stored"}
        gone = Arrival("deletions", (f"{URL}W12,2026-01-03".encode(), f"{URL}W11,2026-01-03".encode()))
        take_in(gone, "gone", warehouse, Deriver(LocalWorkers(1)), settings)
        assert contents(warehouse)["work"] == []
        counts = rows(warehouse, sa.select(t.batch.c.applied, t.batch.c.absent).where(t.batch.c.kind == "deletions"))
        assert counts == [{"applied": 1, "absent": 1}]


def test_a_change_of_the_types_that_count_reaches_every_work(tmp_path, monkeypatch):
    """Whether a work counts is no part of its content; a change of the allow-list must reach it all the same, with and
    without its record, and the duplicate of a work that does not count any more."""
    settings = load_settings(home=tmp_path / "home", scope="all", workers=1)
    kinds = ("dataset", "article", "article", "review", "review")

    def arrival(first: int) -> Arrival:
        made = [
            work(first + at, type=kind, doi=f"https://doi.org/10.1234/{first}{kind}" if at else None)
            for at, kind in enumerate(kinds)
        ]
        return Arrival("works", tuple(map(line, made)))

    load([arrival(11), arrival(21)], settings)
    shutil.rmtree(settings.landing / "test" / "arrival-1")
    types = loading.work_types()
    monkeypatch.setattr(
        loading, "work_types", lambda: replace(types, counted=types.counted - {"article"} | {"dataset"})
    )
    put_digest(monkeypatch, "other")
    applied(settings)
    with Warehouse.open(settings) as warehouse:
        found = rows(warehouse, sa.select(t.work.c.work_id, t.work.c.excluded_reason))
    assert {row["work_id"]: row["excluded_reason"] for row in found} == {
        **dict.fromkeys((11, 14, 21, 24)),
        **dict.fromkeys((12, 13, 22, 23), "type"),
        **dict.fromkeys((15, 25), "duplicate_doi"),
    }


def test_a_rebuild_that_was_killed_fits_no_definitions(tmp_path, monkeypatch):
    settings = load_settings(home=tmp_path / "home", scope="all", workers=1)
    load([Arrival("works", tuple(WORKS))], settings)
    with monkeypatch.context() as context:
        put_digest(context, "other")
        context.setattr(rederiving, "rebuild", lambda conn: 1 / 0)
        with Warehouse.open(settings, any_definitions=True) as warehouse, pytest.raises(ZeroDivisionError):
            rederive(warehouse, settings)
    with pytest.raises(WarehouseError, match="not on all works yet"):  # also not those before
        Warehouse.open(settings)
    with Warehouse.open(settings, any_definitions=True) as warehouse:
        rederive(warehouse, settings)
    Warehouse.open(settings).close()


@pytest.mark.engines("duckdb")
@pytest.mark.slow
@pytest.mark.long
@hypothesis_settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    works=st.lists(versions, min_size=1, max_size=6),
    listed=st.lists(papers, max_size=3),
    gone=st.lists(deletions, max_size=2),
    is_kept=st.booleans(),
)
def test_any_corpus_under_other_definitions(works, listed, gone, is_kept, tmp_path, other, fast_rules, monkeypatch):
    home = tmp_path / uuid4().hex
    arrivals = arrange(works, gone, [], [])
    arrivals += [Arrival("works", tuple(listed), datetime(2026, 1, 3))] if listed else []
    old, new = (load_settings(home=home / name, scope="all", workers=1) for name in ("old", "new"))
    monkeypatch.setattr(internal_batches, "check_gates", batches.check_gates)
    with monkeypatch.context():
        load(arrivals, old)
        other()
        if not is_kept:
            shutil.rmtree(old.landing)
        found, partial = applied_by_any(old)
        if is_kept:
            load(arrivals, new)
            with Warehouse.open(new) as warehouse:
                assert found == contents(warehouse)
            assert partial == 0
    monkeypatch.undo()


def applied_by_any(settings) -> tuple[dict[str, list[tuple]], int]:
    with Warehouse.open(settings, any_definitions=True) as warehouse:
        done = rederive(warehouse, settings)
        with warehouse.reading() as conn:
            prove(conn)
        return contents(warehouse), done.partial
