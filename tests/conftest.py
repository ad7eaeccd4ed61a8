"""Fixtures: settings in a new folder, and the shared real data (skipped with a reason where it is absent)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

from schemas.settings import Settings, load_settings

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
