"""A server goes away in the middle: PostgreSQL, the OpenAlex API, or the server of Prefect."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from functools import partial

import pytest
import sqlalchemy as sa
from tenacity import stop_after_attempt

import tasks.batches.batch as batches
from schemas.errors import ConnectionLost, SourceError
from tasks.night import Night
from tests.factory import run
from tests.faults.homes import of_api
from tests.faults.processes import collab
from tests.faults.promises import twice_is_once
from tests.nights import TODAY, night
from tests.replay import Faults
from tests.servers import free_port
from tests.waiting import wait

pytestmark = pytest.mark.slow
ON_POSTGRESQL = pytest.mark.parametrize(
    "engine", [pytest.param("postgresql", marks=pytest.mark.postgresql)], indirect=True
)


def in_the_middle(monkeypatch, about) -> list[str]:
    """Do something in the first two load transactions, before they commit."""
    real, done = batches.check_gates, []

    def first(gates):
        if len(done) < 2:
            done.append("cut")
            about()
        return real(gates)

    monkeypatch.setattr(batches, "check_gates", first)
    return done


@ON_POSTGRESQL
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgresql_is_stopped_and_started_in_the_middle_of_a_load(
    home_of, undisturbed, snapshot, postgres, monkeypatch, caplog, survived, mode
):
    settings = home_of(snapshot=str(snapshot))

    def restart():
        postgres.stop(mode)
        threading.Timer(3, postgres.start).start()

    done = in_the_middle(monkeypatch, restart)
    run(settings)
    assert len(done) == 2
    twice_is_once(settings, undisturbed)
    said = next(record.getMessage() for record in caplog.records if "trying again" in record.getMessage())
    survived(f"PostgreSQL restarted ({mode}) while loading", said, "by itself", 2)


@ON_POSTGRESQL
def test_postgresql_stays_away(home_of, undisturbed, snapshot, postgres, monkeypatch, survived):
    settings = home_of(snapshot=str(snapshot))
    monkeypatch.setattr(Night._load.retry, "stop", stop_after_attempt(2))  # not five minutes
    with monkeypatch.context() as patched:
        in_the_middle(patched, lambda: postgres.stop("immediate"))
        try:
            with pytest.raises(
                ConnectionLost, match=r"the warehouse 127.0.0.1/\w+ could not be .* -> .*run again"
            ) as caught:
                run(settings)
        finally:
            postgres.start()
    run(settings)
    twice_is_once(settings, undisturbed)
    survived("PostgreSQL stopped while loading, and away for long", caught.value, "start it, run again")


@ON_POSTGRESQL
def test_backends_are_terminated(home_of, undisturbed, snapshot, monkeypatch, caplog, survived):
    settings = home_of(snapshot=str(snapshot))

    def terminate():
        with sa.create_engine(settings.url, poolclass=sa.NullPool).connect() as conn:
            conn.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'collab-atlas' AND pid <> pg_backend_pid()"
            )

    assert in_the_middle(monkeypatch, terminate) == []
    run(settings)
    twice_is_once(settings, undisturbed)
    said = next(record.getMessage() for record in caplog.records if "trying again" in record.getMessage())
    survived("connection to PostgreSQL cut while loading", said, "by itself", 2)


@pytest.mark.parametrize("kind", ["reset", "cut_body"])
def test_the_api_hangs_up_in_the_middle_of_a_page(home_of, undisturbed_api, api, survived, kind):
    server = api(faults=Faults(rate=0.3, seed=3, kinds=[kind]))
    settings = home_of(**of_api(server))
    night(settings, TODAY)
    faulty = sum(call.fault is not None for call in server.calls)
    assert faulty > 2
    twice_is_once(settings, undisturbed_api, partial(night, today=TODAY))
    what = {"reset": "connection reset", "cut_body": "page cut half-way"}[kind]
    survived(f"API: {what}", "nothing: it asked again", "by itself", faulty)


def test_the_api_hangs_up_for_long(home_of, undisturbed_api, api, survived):
    good, bad = api(), api(faults=Faults(rate=1, kinds=["reset"], max_in_a_row=999))
    settings = home_of(**{**of_api(bad), "openalex_attempts": 2})
    with pytest.raises(SourceError, match=r"windows could not be fetched: .* -> .*run again") as caught:
        night(settings, TODAY)
    settings = settings.model_copy(update={"openalex_url": good.url})
    night(settings, TODAY)
    twice_is_once(settings, undisturbed_api, partial(night, today=TODAY))
    survived("API away for long", caught.value, "run again")


def answers(url: str) -> bool:
    """Whether a server answers there."""
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except OSError:
        return False


def test_the_server_of_prefect_is_killed_during_a_run(home_of, undisturbed, snapshot, tmp_path, survived):
    settings = home_of(snapshot=str(snapshot))
    port = free_port()
    environment = {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_CLIENT_MAX_RETRIES": "2",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait(partial(answers, f"http://127.0.0.1:{port}/api/health"), 240, "the server of Prefect", pause=0.5)
        night_run = collab(settings, "run", **environment)

        def has_landed() -> bool:
            assert night_run.poll() is None, night_run.stdout.read()
            return any(settings.landing.glob("*/*/manifest.json"))

        wait(has_landed, 300, "a landing", pause=0.05)
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # the group of this server alone
        server.wait()
    said, _ = night_run.communicate(timeout=500)
    last = said.rstrip().splitlines()[-1]
    assert night_run.returncode == 1, said
    assert re.match(rf"collab run: the Prefect server at \S+:{port}/api does not answer .* -> .* --no-prefect", last)
    assert "Traceback" not in said
    rest = collab(settings, "run", "--no-prefect")
    assert rest.communicate(timeout=500) is not None
    assert rest.returncode == 0
    twice_is_once(settings, undisturbed)
    survived("server of Prefect killed during a run", last, "run again, with --no-prefect")
