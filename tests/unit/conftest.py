"""Fixtures of several modules of unit tests."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

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
