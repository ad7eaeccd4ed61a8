"""The live API for long: 50,000 works on more than 500 pages, one answer in ten faulty, the run killed ten times with
SIGKILL. The warehouse ends as after a faultless run, and little is paid twice."""

from __future__ import annotations

import gzip
import random
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import pytest

from flows.progress import Lines
from flows.steps import Summary, directly, run_night
from schemas.errors import SourceError
from schemas.settings import Settings, load_settings
from tasks.landing.harvest import ApiIntake
from tasks.night import Night
from tasks.storage.warehouse import Warehouse
from tests.factory import author, contents, prove, work
from tests.faults.kills import was_killed
from tests.replay import KEY, Faults, ReplayServer

FIRST, LAST = date(2024, 1, 1), date(2024, 6, 30)
COUNTRIES = ("US", "CN", "DE", "IN", "GB")


def settings_in(home: Path, url: str) -> Settings:
    quick = {"openalex_rate": 50, "openalex_wait": 0.02, "openalex_timeout": 20, "openalex_attempts": 12}
    return load_settings(home=home, scope="all", workers=1, openalex_url=url, openalex_api_key=KEY, **quick)


def harvest(home: Path, url: str) -> None:
    """Runs until all months are there, in a process of its own."""
    while True:
        with Night(settings_in(home, url), partial(ApiIntake, backfill=(FIRST, LAST))) as night:
            try:
                run_night(night, directly, Lines(), Summary())
                return
            except SourceError:
                continue


def end_of(home: Path, url: str) -> dict[str, list[tuple]]:
    """What the warehouse holds, the key nowhere."""
    for file in home.rglob("*"):
        raw = file.read_bytes() if file.is_file() and not file.is_symlink() else b""
        assert KEY.encode() not in (gzip.decompress(raw) if file.suffix == ".gz" else raw), file
    with Warehouse.open(settings_in(home, url), create=False) as warehouse:
        with warehouse.reading() as conn:
            prove(conn)
        return contents(warehouse)


def works_of(number: int) -> list[dict]:
    days = (LAST - FIRST).days + 1
    return [
        work(
            n,
            [author(COUNTRIES[n % 5]), author(COUNTRIES[n % 3])] * (51 if n % 2_000 == 0 else 1),
            publication_date=str(FIRST + timedelta(days=n % days)),
            publication_year=2024,
            cited_by_count=n % 11,
        )
        for n in range(1, number + 1)
    ]


def has_answered(server: ReplayServer, calls: float) -> bool:
    return len(server.calls) >= calls


def survive(number: int, kills: int, tmp_path: Path, seed: int) -> None:
    works, chance = works_of(number), random.Random(seed)
    with ReplayServer(works) as good, ReplayServer(works, faults=Faults(rate=0.1, seed=seed, retry_after=0)) as bad:
        assert not was_killed(harvest, tmp_path / "good", good.url, after=None)
        share = len(good.calls) / kills
        for _ in range(kills):
            last = len(bad.calls) + chance.uniform(0.4, 1.0) * share
            is_far = partial(has_answered, bad, last)
            assert was_killed(harvest, tmp_path / "bad", bad.url, after=is_far), "it had ended already"
        assert not was_killed(harvest, tmp_path / "bad", bad.url, after=None)
        faulty = sum(call.fault is not None for call in bad.calls)
        print(
            f"{len(good.calls)} calls without faults; {len(bad.calls)} with {faulty} faulty answers and {kills} kills"
        )
        assert end_of(tmp_path / "good", good.url) == end_of(tmp_path / "bad", bad.url)
        assert faulty >= len(bad.calls) / 20
        assert len(bad.calls) <= 1.25 * len(good.calls)


@pytest.mark.slow
def test_50_000_works_ten_kills_and_a_tenth_of_the_answers_faulty(tmp_path):
    survive(50_000, kills=10, tmp_path=tmp_path, seed=5)
