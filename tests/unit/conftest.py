"""Fixtures of several modules of unit tests."""

from __future__ import annotations

import pytest

from tests.replay import ReplayServer
from tests.replay_clients import KEY, Client


@pytest.fixture
def serve():
    """Makes servers with clients; all are closed afterwards."""
    opened = []

    def make(works=(), key=KEY, **more):
        server = ReplayServer(works, **more).__enter__()
        opened.append((server, client := Client(server, key)))
        return server, client

    yield make
    for server, client in opened:
        client.close()
        server.__exit__(None, None, None)
