"""Fixtures of all tests: settings in a new folder, the shared real data and a PostgreSQL server (both skipped with a
reason where they are absent), and replays of the OpenAlex API."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest

from schemas.settings import Settings, load_settings
from tests.debian import Missing
from tests.nights import WORKS
from tests.replay import ReplayServer
from tests.servers import PostgresServer

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
for name in [name for name in os.environ if name.startswith("COLLAB_") and not name.startswith("COLLAB_TEST_")]:
    del os.environ[name]
hypothesis.settings.register_profile("untimed", deadline=None)  # the machines of tests are busy
hypothesis.settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that take minutes go first: one process runs them while the other runs the rest."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the real data, beside the project."""
    if not SHARED.is_dir():
        pytest.skip(f"real data is not here: no {SHARED.parent.name}/{SHARED.name} beside the project")
    return SHARED


@pytest.fixture
def settings_for(tmp_path: Path) -> Callable[..., Settings]:
    """Settings with a home in a new folder; keyword arguments as in Settings."""

    def make(snapshot: Path | None = None, **more: object) -> Settings:
        values = {
            "home": tmp_path / "home",
            "scope": "all",
            "workers": 1,
            "snapshot": str(snapshot) if snapshot else None,
        } | more
        return load_settings(**values)

    return make


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this session."""
    try:
        server = PostgresServer()
    except Missing as why:
        pytest.skip(str(why))
    with server:
        yield server


@pytest.fixture
def api() -> Iterator[Callable[..., ReplayServer]]:
    """Replays of the OpenAlex API, of the works of tests/nights.py or those given; all are closed at the end."""
    with ExitStack() as opened:
        yield lambda works=WORKS, **more: opened.enter_context(ReplayServer(works, **more))
