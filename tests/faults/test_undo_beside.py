"""`collab undo` on a server beside a run that loads, and from a home that did not load the batch."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from schemas import tables as t
from schemas.settings import Settings, load_settings
from tasks.batches.undo import release
from tasks.storage.warehouse import Warehouse
from tests.commands import invoke
from tests.factory import contents, rows, run
from tests.faults.homes import DAYS
from tests.faults.kills import SEED, START
from tests.faults.promises import promises_hold

ROUNDS = int(os.environ.get("COLLAB_TEST_ROUNDS", "8"))
FIRST, *_, LAST = DAYS
pytestmark = [pytest.mark.slow, pytest.mark.postgresql]


def load(values: dict[str, Any]) -> None:
    """A night, in a process of its own."""
    run(load_settings(**values))


def loads_of(settings: Settings) -> list[dict[str, Any]]:
    """Batches of works, oldest first."""
    of = t.batch.c
    with Warehouse.open(settings) as warehouse:
        return rows(warehouse, sa.select(t.batch).where(of.kind == "works").order_by(of.finished_at))


@pytest.fixture
def collab(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Runs a command with some settings; returns (exit code, what it printed)."""

    def call(values: dict[str, Any], *arguments: str) -> tuple[int, str]:
        for name, value in values.items():
            monkeypatch.setenv(f"COLLAB_{name.upper()}", str(value))
        result = invoke(*arguments)
        return result.exit_code, result.output

    return call


@pytest.fixture
def values(tmp_path: Path, snapshot: Path, postgres: Any) -> Callable[[str], dict[str, Any]]:
    """Settings of a home by its name; all of them have one database."""
    url = postgres.new_database()
    common = {"scope": "all", "workers": 1, "batch_works": 5, "warehouse_url": url, "snapshot": str(snapshot)}
    return lambda home: common | {"home": tmp_path / home}


def test_undo_beside_a_load_ends_as_one_after_the_other(tmp_path, snapshot, postgres, collab):
    chance, said = random.Random(SEED), []
    common = {"scope": "all", "workers": 1, "batch_works": 5, "snapshot": str(snapshot)}
    alone = common | {"home": tmp_path / "alone", "warehouse_url": postgres.new_database()}
    for until in (date.fromisoformat(FIRST), None):
        run(load_settings(**alone), until)
    expected = promises_hold(load_settings(**alone))
    for number in range(ROUNDS):
        values = common | {"home": tmp_path / str(number), "warehouse_url": postgres.new_database()}
        settings = load_settings(**values)
        run(settings, date.fromisoformat(FIRST))
        begun = loads_of(settings)[0]["batch_id"]
        beside = START.Process(target=load, args=(values,))
        beside.start()
        beside.join(chance.uniform(0, 3))
        code, output = collab(values, "undo", begun, "--with-later")
        beside.join(600)
        assert beside.exitcode == 0
        assert code in (0, 1, 2), output
        said.append(output)
        if code:
            assert "loaded after" in output
        found = promises_hold(settings)
        undone = [row["batch_id"] for row in loads_of(settings) if row["undone_at"] is not None]
        assert undone or code
        assert undone or found == expected
        with Warehouse.open(settings) as warehouse:
            for batch_id in undone:
                release(warehouse, settings, batch_id)
        run(settings)
        assert promises_hold(settings) == expected
    print(*said, sep="\n")


def test_undo_from_another_home_is_refused_and_says_where(values, collab, tmp_path):
    of_a: list[str] = []
    for home, until in (("a", FIRST), ("b", LAST)):
        code, output = collab(values(home), "run", "--no-prefect", "--until", until)
        assert code == 0, output
        settings = load_settings(**values("a"))
        loads = [row["batch_id"] for row in loads_of(settings)]
        of_a = loads if home == "a" else of_a
    oldest, newest, first_of_b = loads[0], loads[-1], loads[len(of_a)]
    with Warehouse.open(settings) as warehouse:
        before = contents(warehouse)
    for home, batch_id, other in (("a", newest, "b"), ("b", oldest, "a")):
        code, output = collab(values(home), "undo", batch_id, "--with-later")
        assert code == 1
        assert f"with COLLAB_HOME={tmp_path / other}" in output
        with Warehouse.open(settings) as warehouse:
            assert contents(warehouse) == before
    code, output = collab(values("b"), "undo", first_of_b, "--with-later")
    assert code == 0, output
    code, output = collab(values("a"), "undo", oldest, "--with-later")
    assert code == 0, output
    code, output = collab(values("b"), "status")
    assert code == 1
    assert "UNPUBLISHED" in output
