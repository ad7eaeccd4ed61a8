"""Gates that stop windows of the live API: each stops its own, and all that is missing is named."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, time

import pytest
import sqlalchemy as sa

import tasks.batches.batch as batches
import tasks.validation.gates as gates
from schemas import tables as t
from schemas.errors import GateStopped
from tasks.landing.land import Landing
from tests.commands import status_of
from tests.factory import stored
from tests.nights import FEW, TODAY, asks_for, make_nonsense_of, night

pytestmark = pytest.mark.usefixtures("unpublished")


@pytest.fixture
def doubt(monkeypatch) -> Callable[[Callable[[sa.Connection, Landing], bool]], None]:
    """Lets the gates of a window stop those landings of which a question, asked when they are loaded, is true."""
    real = gates.window_gates

    def put(is_doubtful: Callable[[sa.Connection, Landing], bool]) -> None:
        def judged(conn, landing, settings):
            found, is_stopped = real(conn, landing, settings), is_doubtful(conn, landing)
            return [replace(gate, observed=1.0) if is_stopped and gate.severity == "stop" else gate for gate in found]

        monkeypatch.setattr(batches, "window_gates", judged)

    return put


def test_a_gate_stops_its_window_alone(api, settings_of, doubt):
    server = api(FEW)
    settings = settings_of(server)
    doubt(lambda conn, landing: landing.window == "2026-09")
    with pytest.raises(GateStopped, match="window_complete is 1"):
        night(settings)
    assert len(stored(settings)) == 20  # of 30 in three months
    noon = datetime.combine(TODAY, time(12), UTC).timestamp()
    for landed in settings.landing.glob("*/*/manifest.json"):
        os.utime(landed, (noon, noon))  # the day of the night, whatever day it is here
    asked = len(server.calls)
    with pytest.raises(GateStopped):  # the same day: what was fetched is judged again, and nothing is paid
        night(settings)
    assert len(server.calls) == asked
    doubt(lambda conn, landing: False)
    night(settings)
    assert len(stored(settings)) == 30


def test_a_window_stopped_half_way_is_named_whatever_was_loaded_after_it(api, settings_of, doubt):
    server = api(FEW)
    settings = settings_of(server, batch_works=6)

    def is_second(conn, landing) -> bool:
        loaded = conn.scalar(sa.select(sa.func.count()).where(t.batch.c.window_name == "2026-09"))
        return landing.window == "2026-09" and loaded > 0

    doubt(is_second)
    with pytest.raises(GateStopped) as caught:
        night(settings)
    assert len(stored(settings)) == 26  # two months of ten, and the first six of the third
    found, _ = status_of(settings)
    assert [line.partition(":")[0] for line in found.stopped] == [caught.value.batch_id]
    assert found.unfinished == [caught.value.batch_id.rpartition("/")[0]]


def test_a_night_that_a_gate_stopped_names_all_else_that_is_missing(api, settings_of, doubt):
    server = api(FEW)
    settings = settings_of(server)

    def fail(call):
        if asks_for(call, "2026-11"):
            make_nonsense_of(call)

    doubt(lambda conn, landing: landing.window in ("2026-09", "2026-10"))
    server.before = fail
    with pytest.raises(GateStopped) as caught:
        night(settings)
    said = caught.value.message
    assert sorted(re.findall(r"batch openalex-api/(2026-\d\d)\S* stopped: ", said)) == ["2026-09", "2026-10"]
    assert "windows could not be fetched: 2026-11: " in said
    assert caught.value.batch_id in said.split(" stopped: ")[0]  # what can be looked at is the first
