"""`collab undo` and its release are killed with SIGKILL at random moments and called again: the tables, what is kept
out and the release end as if nothing had happened. COLLAB_TEST_KILLS says how many kills (a tenth of them for each).
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import flows.cli
from schemas import tables as t
from schemas.settings import load_settings
from tasks.storage.warehouse import Warehouse
from tests.factory import rows, run
from tests.faults.homes import DAYS
from tests.faults.kills import KILLS, REST_OF_A_NIGHT, SEED, was_killed
from tests.faults.promises import promises_hold

Values = dict[str, Any]


def undo(values: Values, *arguments: str) -> None:
    """The command, in a process of its own."""
    os.environ |= {f"COLLAB_{name.upper()}": str(value) for name, value in values.items() if value is not None}
    assert not flows.cli.app(["undo", *arguments], standalone_mode=False)


@pytest.fixture
def copy_of(tmp_path: Path, database: Callable[..., str | None]) -> Callable[[Values, str], Values]:
    """Copies a home with its warehouse."""

    def copy(values: Values, name: str) -> Values:
        home = tmp_path / name
        shutil.copytree(values["home"], home, symlinks=True)
        return {**values, "home": home, "warehouse_url": database(values["warehouse_url"])}

    return copy


@pytest.fixture
def loaded(tmp_path: Path, snapshot: Path, database: Callable[..., str | None]) -> tuple[Values, str]:
    """A home with four nights, and the batch of the second."""
    values = {"home": tmp_path / "loaded", "scope": "all", "workers": 1, "warehouse_url": database()}
    settings = load_settings(**values, snapshot=str(snapshot))
    for day in DAYS:
        run(settings, date.fromisoformat(day))
    of = t.batch.c
    with Warehouse.open(settings) as warehouse:
        loads = rows(warehouse, sa.select(of.batch_id).where(of.kind == "works").order_by(of.finished_at))
    return values, loads[1]["batch_id"]


def end_of(values: Values) -> tuple[dict[str, list[tuple]], list[tuple]]:
    """What the tables hold, every promise looked at, and what may not come back."""
    settings = load_settings(**values)
    found = promises_hold(settings)
    with Warehouse.open(settings) as warehouse, warehouse.reading() as conn:
        return found, sorted(tuple(row) for row in conn.execute(sa.select(t.blocked)))


@pytest.mark.slow
@pytest.mark.parametrize("what", ["undo", "release"])
def test_undo_that_is_killed_is_called_again(loaded, copy_of, survived, what):
    begin, batch_id = loaded
    arguments = (batch_id, "--with-later")
    if what == "release":
        assert not was_killed(undo, begin, *arguments, after=600)
        arguments = (batch_id, "--release")
    whole = copy_of(begin, "whole")
    began = time.monotonic()
    assert not was_killed(undo, whole, *arguments, after=600)
    length = time.monotonic() - began
    expected = end_of(whole)
    chance, kills = random.Random(SEED), max(KILLS // 10, 1)
    done, number = 0, 0
    values = copy_of(begin, "home-0")
    while done < kills:
        done += was_killed(undo, values, *arguments, after=chance.uniform(0.05, 0.8 * length))
        if chance.random() < REST_OF_A_NIGHT or done == kills:
            for _ in range(2):
                assert not was_killed(undo, values, *arguments, after=600)
                assert end_of(values) == expected
            shutil.rmtree(values["home"])
            number += 1
            values = copy_of(begin, f"home-{number}")
    survived(f"SIGKILL during collab {what}", "nothing: it was dead", "call it again", kills)
