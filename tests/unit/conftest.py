"""Fixtures of several modules of unit tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import duckdb
import pytest

from tests.marts import make_mart
from tests.replay import KEY
from tests.replay.client import Client


@pytest.fixture
def serve(api):
    """Replays of the OpenAlex API, each with a client that has this key; all are closed at the end."""
    with ExitStack() as opened:

        def make(works=(), key=KEY, **more):
            server = api(works, **more)
            return server, opened.enter_context(Client(server, key))

        yield make


@pytest.fixture(scope="session")
def mart() -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty mart with all views of a release (tests/marts.py)."""
    with duckdb.connect() as conn:
        make_mart(conn)
        yield conn


@pytest.fixture
def atlas(mart) -> Iterator[duckdb.DuckDBPyConnection]:
    """That mart in a transaction, which is rolled back at the end."""
    mart.begin()
    yield mart
    mart.rollback()
