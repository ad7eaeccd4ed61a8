"""Every integration test runs on each engine: a home has its warehouse where the engine of the test keeps it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from uuid import uuid4

import duckdb
import pytest
import sqlalchemy as sa

import tasks.batches.batch as batches
from schemas.fields import Definitions
from schemas.settings import Settings, load_settings
from tasks.storage import definitions
from tasks.storage.engines.duckdb import DuckDB
from tasks.storage.warehouse import Warehouse
from tests import countries
from tests.arrivals import plain_gates, reject_by_year
from tests.commands import invoke
from tests.definitions import put_definitions
from tests.factory import author, counts, run, work, write_snapshot
from tests.real import RECORDS, WORKS, snapshot_in
from tests.replay import KEY, ReplayServer
from tests.servers import CitusCluster

CITUS = "COLLAB_TEST_CITUS_URL"
ENGINES = (
    "duckdb",
    pytest.param("postgresql", marks=pytest.mark.postgresql),
    pytest.param("citus", marks=pytest.mark.citus),
)


# The modules whose statements reach every table in every way; the others repeat them and take minutes.
ON_POSTGRESQL = {f"test_{name}.py" for name in "citus foreign_servers migrate properties side_by_side views".split()}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test marked with engines runs on no other; what PostgreSQL runs of the rest is left to `make faults`."""
    others = []
    for item in items:
        engine, marker = _engine_of(item), item.get_closest_marker("engines")
        if marker and engine not in marker.args:
            others.append(item)
        if engine == "postgresql" and (item.get_closest_marker("long") or item.path.name not in ON_POSTGRESQL):
            item.add_marker(pytest.mark.slow)
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


def _engine_of(item: pytest.Item) -> str:
    return str(item.callspec.params.get("engine", "duckdb")) if hasattr(item, "callspec") else "duckdb"


@pytest.fixture(scope="session")
def citus() -> Iterator[CitusCluster]:
    """The Citus coordinator that COLLAB_TEST_CITUS_URL names."""
    if not os.environ.get(CITUS):
        pytest.skip(f"{CITUS} is not set: no Citus coordinator to run on")
    with CitusCluster(os.environ[CITUS]) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def databases() -> dict[Path, str]:
    """Databases by the home that they belong to."""
    return {}


@pytest.fixture(scope="session", autouse=True, params=ENGINES)
def engine(request: pytest.FixtureRequest, databases: dict[Path, str]) -> Iterator[str]:
    """Name of the engine; settings that name no warehouse get a database of their own for each home."""
    if request.param == "duckdb":
        yield request.param
        return
    server = request.getfixturevalue("postgres" if request.param == "postgresql" else "citus")

    def url(settings: Settings) -> sa.URL:
        if settings.warehouse_url:
            return original(settings)
        if settings.home not in databases:
            databases[settings.home] = server.new_database()
        return original(settings.model_copy(update={"warehouse_url": databases[settings.home]}))

    original = Settings.url.fget
    assert original is not None
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Settings, "url", property(url))
        yield request.param


@pytest.fixture(scope="session", autouse=True)
def _warehouses_are_copied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A new DuckDB warehouse is a copy of the first that was made of its kind: making 500 comments takes half a
    second."""
    made: dict[str, Path] = {}
    make, usual = DuckDB._make_file, definitions.counting_digest()

    def copy(self: DuckDB, url: sa.URL, file: Path, settings: Settings, create: Callable[[sa.Engine], None]) -> None:
        is_begun = file.with_name(f"{file.name}.new").exists()
        if is_begun or settings.scope not in made or definitions.counting_digest() != usual:
            make(self, url, file, settings, create)
            if definitions.counting_digest() == usual:
                made[settings.scope] = tmp_path_factory.mktemp("warehouse") / file.name
                shutil.copyfile(file, made[settings.scope])
            return
        shutil.copyfile(made[settings.scope], file)
        with duckdb.connect(str(file)) as warehouse:
            own = "UPDATE ops.meta SET value = ? WHERE name = 'warehouse_id'"
            warehouse.execute(own, [uuid4().hex])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(DuckDB, "_make_file", copy)
        yield


@pytest.fixture(scope="module")
def warehouse_of_rows(engine, tmp_path_factory) -> Iterator[Warehouse]:
    """A warehouse for modules that look at a few rows without running a night."""
    del engine  # decides where the warehouse is
    with Warehouse.open(load_settings(home=tmp_path_factory.mktemp("rows"), scope="all", workers=1)) as opened:
        yield opened


@pytest.fixture
def conn(warehouse_of_rows) -> Iterator[sa.Connection]:
    """A transaction in an empty warehouse, rolled back at the end."""
    with warehouse_of_rows.engine.connect() as open_one:
        yield open_one
        open_one.rollback()


@pytest.fixture
def unpublished(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nights that end before they publish, for modules about what is stored; their tests marked `publishes` do."""
    if not request.node.get_closest_marker("publishes"):
        monkeypatch.setattr("tasks.night.publish", lambda warehouse, settings: None)


@pytest.fixture(scope="session")
def give_back(request: pytest.FixtureRequest, engine: str, databases: dict[Path, str]) -> Callable[[Path], None]:
    """Ends the database of a home early, where databases are dear."""

    def end(home: Path) -> None:
        if engine == "citus" and home in databases:
            request.getfixturevalue("citus").give_back(databases.pop(home))

    return end


@pytest.fixture(autouse=True)
def _give_back(give_back: Callable[[Path], None], databases: dict[Path, str]) -> Iterator[None]:
    """The databases of a test end with it; those of its module stay."""
    before = set(databases)
    yield
    for home in set(databases) - before:
        give_back(home)


@pytest.fixture
def fast_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules and gates without Great Expectations (tests/arrivals.py)."""
    monkeypatch.setattr(batches, "validate_staged", reject_by_year)
    monkeypatch.setattr(batches, "check_gates", plain_gates)


@pytest.fixture
def redefine(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Definitions], Definitions]], None]:
    """Puts other definitions of fields in the place of ours (tests/definitions.py)."""
    return partial(put_definitions, monkeypatch)


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """Prefect's test server: starting it takes many seconds."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture
def settings_of(settings_for) -> Callable[..., Settings]:
    """Settings of a quick client of a replay, of scope ai; keyword arguments as in Settings."""

    def make(server: ReplayServer, **more) -> Settings:
        quick = {"openalex_rate": 50, "openalex_wait": 0, "openalex_timeout": 5, "scope": "ai"}
        return settings_for(**{**quick, "openalex_url": server.url, "openalex_api_key": KEY, **more})

    return make


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A new home for commands and flows, by their environment: of all works, in one process."""
    monkeypatch.setenv("COLLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLLAB_SCOPE", "all")
    monkeypatch.setenv("COLLAB_WORKERS", "1")
    return tmp_path / "home"


@pytest.fixture
def collab(home) -> Callable[..., tuple[int, str]]:
    """Runs a command in this process; returns (exit code, what it printed)."""

    def call(*args: object, **more: object) -> tuple[int, str]:
        result = invoke(*args, **more)
        return result.exit_code, result.output

    return call


@pytest.fixture
def snapshot(tmp_path) -> Path:
    """Two dates: works of which one is refused, then one that is deleted."""
    days = {
        "2026-01-01": [work(11), work(12, [author("US"), author()]), work(13, publication_year=2999)],
        "2026-01-02": [work(14, updated="2026-01-02")],
    }
    return write_snapshot(tmp_path / "s", days, deleted={14: "2026-01-02"})


@pytest.fixture(scope="session")
def loaded_countries(tmp_path_factory) -> Path:
    """Home of a warehouse file that holds the works of tests/countries.py; a night takes two seconds, a copy none."""
    folder = tmp_path_factory.mktemp("loaded")
    root = write_snapshot(folder / "s", {"2026-01-01": countries.WORKS})
    run(load_settings(home=folder / "home", scope="all", workers=1, snapshot=str(root)))
    return folder


@pytest.fixture
def country_works(tmp_path, settings_for, engine, request) -> Settings:
    """Settings of a warehouse that holds the works of tests/countries.py, for modules that are `unpublished`."""
    if engine != "duckdb":
        made = settings_for(write_snapshot(tmp_path / "s", {"2026-01-01": countries.WORKS}))
        run(made)
        return made
    shutil.copytree(request.getfixturevalue("loaded_countries"), tmp_path, dirs_exist_ok=True, symlinks=True)
    return settings_for(tmp_path / "s")


@pytest.fixture(scope="session")
def real_works(engine, shared, tmp_path_factory) -> Settings:
    """Settings of a warehouse that holds the real records, published: all partitions in one run. Whoever runs another
    night on it must leave it as it is."""
    home = tmp_path_factory.mktemp(f"real-{engine}")
    settings = load_settings(home=home, scope="all", workers=1, snapshot=str(snapshot_in(shared)))
    assert counts(run(settings)) == {"fetched": RECORDS, "new": WORKS, "superseded": RECORDS - WORKS}
    return settings
