"""Homes on each engine, a snapshot of a few nights, and the table of faults survived."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from schemas.settings import Settings, load_settings
from tests.factory import author, run, work, write_snapshot
from tests.faults.promises import promises_hold
from tests.faults.survivors import Survived, print_table
from tests.nights import KEY, TODAY, WORKS, night
from tests.replay import ReplayServer
from tests.servers import Missing, PostgresServer

NARROWEST = 160  # columns of the table of survivors; a log has any number
FOUND = pytest.StashKey[list[Survived]]()
DAYS = {
    f"2026-01-{day:02}": [
        work(100 * day + n, [author("US"), author(("CN", "DE", "FR")[n % 3])], updated=f"2026-01-{day:02}")
        for n in range(12)
    ]
    + [work(101, cited_by_count=day, updated=f"2026-01-{day:02}")]
    + ([work(202, [author("IN"), author()], updated="2026-01-04")] if day == 4 else [])
    for day in range(1, 5)
}


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FOUND] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    print_table(terminalreporter.config.stash[FOUND], max(terminalreporter._tw.fullwidth, NARROWEST))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    try:
        server = PostgresServer()
    except Missing as why:
        pytest.skip(str(why))
    with server:
        yield server


@pytest.fixture(params=["duckdb", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database(request: pytest.FixtureRequest, engine: str) -> Callable[..., str | None]:
    """Makes a place for a warehouse: a database of its own, or none, which is a file in its home."""
    if engine == "duckdb":
        return lambda like=None: None
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database


@pytest.fixture
def survived(request: pytest.FixtureRequest, engine: str, tmp_path: Path) -> Callable[..., None]:
    """Notes a fault in the table; paths of the test are shortened there."""

    def note(fault: str, said: object, went_on: str, times: int = 1) -> None:
        request.config.stash[FOUND].append(
            Survived(fault, engine, times, str(said).replace(str(tmp_path), "..."), went_on)
        )

    return note


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """Four nights of works of two countries each, one of them corrected on the last."""
    return write_snapshot(tmp_path / "s", DAYS, deleted={104: "2026-01-03"})


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple]]:
    """What the tables hold after a run on the snapshot that nothing disturbed; the same on every engine."""
    folder = tmp_path_factory.mktemp("undisturbed")
    root = write_snapshot(folder / "s", DAYS, deleted={104: "2026-01-03"})
    settings = load_settings(home=folder / "home", scope="all", workers=1, batch_works=30, snapshot=str(root))
    run(settings)
    return promises_hold(settings)


@pytest.fixture(scope="session")
def undisturbed_api(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple]]:
    """The same for a night on the replay of the live API."""
    home = tmp_path_factory.mktemp("undisturbed-api")
    with ReplayServer(WORKS) as server:
        settings = load_settings(home=home, workers=1, batch_works=30, **of_api(server))
        night(settings, TODAY)
    return promises_hold(settings)


@pytest.fixture
def home_of(tmp_path: Path, database: Callable[[], str | None]) -> Callable[..., Settings]:
    """Settings of a home by its name; each has a warehouse of its own."""
    urls: dict[str, str | None] = {}

    def settings(name: str = "home", **more: object) -> Settings:
        if name not in urls:
            urls[name] = database()
        values = {"home": tmp_path / name, "scope": "all", "workers": 1, "batch_works": 30, "warehouse_url": urls[name]}
        return load_settings(**(values | more))

    return settings


@pytest.fixture
def api() -> Iterator[Callable[..., ReplayServer]]:
    """Replay servers, closed at the end."""
    opened: list[ReplayServer] = []

    def make(works=WORKS, **more) -> ReplayServer:
        opened.append(ReplayServer(works, **more))
        return opened[-1].__enter__()

    yield make
    for server in opened:
        server.__exit__(None, None, None)


def of_api(server: ReplayServer) -> dict[str, object]:
    """Settings for a replay of the live API."""
    quick = {"openalex_rate": 50, "openalex_wait": 0, "openalex_timeout": 5, "openalex_attempts": 12}
    return {**quick, "openalex_url": server.url, "openalex_api_key": KEY, "scope": "ai"}


def is_root() -> bool:
    return os.geteuid() == 0
