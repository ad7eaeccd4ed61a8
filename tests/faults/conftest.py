"""Homes on each engine, a snapshot of a few nights, and the table of faults survived."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.settings import Settings, load_settings
from tests.factory import run, write_snapshot
from tests.faults.homes import DAYS, DELETED, of_api
from tests.faults.promises import promises_hold
from tests.faults.survivors import Survived, print_table
from tests.nights import TODAY, WORKS, night
from tests.replay import ReplayServer
from tests.servers import PostgresServer

NARROWEST = 160  # columns of the table of survivors; a log has any number
FOUND = pytest.StashKey[list[Survived]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FOUND] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    print_table(terminalreporter.config.stash[FOUND], max(terminalreporter._tw.fullwidth, NARROWEST))


@pytest.fixture(params=["duckdb", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def engine(request: pytest.FixtureRequest) -> str:
    """Name of the engine that warehouses are on."""
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
    return write_snapshot(tmp_path / "s", DAYS, deleted=DELETED)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple]]:
    """What the tables hold after a run on the snapshot that nothing disturbed; the same on every engine."""
    folder = tmp_path_factory.mktemp("undisturbed")
    root = write_snapshot(folder / "s", DAYS, deleted=DELETED)
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
