"""Runs are killed with SIGKILL at random moments and run again: the tables end as if nothing had happened.

Snapshot (real records) and live API (a replay), on DuckDB and PostgreSQL. COLLAB_TEST_KILLS says how many kills the
four share (200), COLLAB_TEST_SEED at which moments. The children run the steps of the night without Prefect.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from schemas.settings import load_settings
from tests.factory import run
from tests.faults.homes import of_api
from tests.faults.kills import KILLS, REST_OF_A_NIGHT, SEED, was_killed
from tests.faults.promises import promises_hold
from tests.nights import TODAY, night
from tests.real import snapshot_in

UNTIL = date(2025, 2, 28)


def from_snapshot(values: dict[str, object]) -> None:
    run(load_settings(**values), UNTIL)


def from_api(values: dict[str, object]) -> None:
    night(load_settings(**values), TODAY)


def moments(kills: int, chance: random.Random) -> Iterator[float]:
    """Random shares of a run, of which each so many lie one in every slice of it: a few kills meet early and late steps
    too."""
    while True:
        slices = list(range(kills))
        chance.shuffle(slices)
        yield from ((at + chance.random()) / kills for at in slices)


def survive(
    kills: int, one_night: Callable[[dict], None], values_of: Callable[[str], dict], seed: int, ends: int = 2
) -> None:
    """Kill runs in homes of their own; each ends like one that was left alone, also when it ends `ends` times."""
    chance = random.Random(seed)
    began = time.monotonic()
    assert not was_killed(one_night, values_of("whole"), after=600)
    length = time.monotonic() - began
    expected = promises_hold(load_settings(**values_of("whole")))
    done, home, shares = 0, 0, moments(kills, chance)
    while done < kills:
        values = values_of(f"home-{home}")
        done += was_killed(one_night, values, after=max(0.6 * length * next(shares), 0.05))
        if chance.random() < REST_OF_A_NIGHT or done == kills:
            for _ in range(ends):
                assert not was_killed(one_night, values, after=600)
                assert promises_hold(load_settings(**values)) == expected
            home += 1


def values_in(folder: Path, database: Callable[[], str | None] = lambda: None, **more: object) -> Callable:
    urls: dict[str, str | None] = {}

    def values(name: str) -> dict[str, object]:
        if name not in urls:
            urls[name] = database()
        return {"home": folder / name, "scope": "all", "workers": 1, "warehouse_url": urls[name], **more}

    return values


def of_real_works(shared: Path) -> dict[str, object]:
    return {"snapshot": str(snapshot_in(shared)), "batch_works": 150}  # several transactions a run


@pytest.mark.long
def test_kills_end_in_the_same_tables(shared, tmp_path):
    """Five; the slow suite kills the same run 50 times."""
    survive(5, from_snapshot, values_in(tmp_path, **of_real_works(shared)), seed=1, ends=1)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["snapshot", "api"])
def test_kills_at_random_moments(request, tmp_path, database, api, survived, source):
    share = max(KILLS // 4, 1)
    if source == "snapshot":
        more = of_real_works(request.getfixturevalue("shared"))
        survive(share, from_snapshot, values_in(tmp_path, database, **more), SEED)
    else:
        survive(share, from_api, values_in(tmp_path, database, **of_api(api()), batch_works=30), SEED)
    survived(f"SIGKILL during a run on {source}", "nothing: it was dead", "run again", share)
