"""Whoever parses and locates, the tables are the same: one process, several, or a Dask cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
from distributed import Client, LocalCluster

from schemas.errors import UsageError
from schemas.settings import load_settings
from tasks.night import Night
from tasks.staging.derive import CHUNK_RECORDS
from tasks.storage.warehouse import Warehouse
from tests.factory import author, contents, run, work, write_snapshot

DUCKDB = pytest.mark.engines("duckdb")  # no engine has a part in what it proves
COUNTRIES = ("CN", "DE", None, "HK", "FR")


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """A Dask cluster of two processes."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs="ERROR"
    ) as made:
        yield made


@pytest.fixture
def large(tmp_path):
    """Enough records for several chunks, some of them broken."""
    works = [
        work(100 + n, [author("US"), author(COUNTRIES[n % 5], strings=["Lab, Lyon, France"] if n % 3 else None)])
        for n in range(3 * CHUNK_RECORDS)
    ]
    return write_snapshot(tmp_path / "s", {"2026-01-01": [*works, b"{", b"[]"]})


def has_parsed() -> bool:
    """Whether this process was asked to parse."""
    return "tasks.staging.derive" in sys.modules


def content_after_a_night(settings) -> dict[str, list[tuple]]:
    """What the tables hold after one night."""
    run(settings)
    with Warehouse.open(settings) as warehouse:
        return contents(warehouse)


def test_two_processes_give_the_same_tables(tmp_path, settings_for, snapshot, monkeypatch):
    monkeypatch.setattr("tasks.staging.derive.CHUNK_RECORDS", 2)
    alone = content_after_a_night(settings_for(snapshot, home=tmp_path / "alone"))
    assert content_after_a_night(settings_for(snapshot, home=tmp_path / "two", workers=2)) == alone


@DUCKDB
def test_a_dask_cluster_gives_the_same_tables(tmp_path, settings_for, large, cluster):
    alone = content_after_a_night(settings_for(large, home=tmp_path / "alone"))
    spread = settings_for(large, home=tmp_path / "spread", dask_address=cluster.scheduler_address)
    assert content_after_a_night(spread) == alone
    with Client(cluster, set_as_default=False) as client:
        assert list(client.run(has_parsed).values()) == [True, True]


@DUCKDB
def test_a_cluster_that_does_not_answer_is_one_line(tmp_path, large, monkeypatch):
    monkeypatch.setattr("tasks.staging.workers.SECONDS_TO_CONNECT", 1)
    settings = load_settings(home=tmp_path / "home", snapshot=str(large), dask_address="tcp://127.0.0.1:1")
    with pytest.raises(UsageError, match=r"no Dask scheduler answers at tcp://127.0.0.1:1"):
        Night(settings)
    Warehouse.open(settings).close()  # nothing holds it


@DUCKDB
def test_an_address_that_dask_cannot_read_is_refused(tmp_path, large):
    for address in ("foo", "tcp://[bad", "http://host:8786", "tcp://host", "inproc://x"):
        with pytest.raises(UsageError, match=r"COLLAB_DASK_ADDRESS: give an address such as tcp://host:8786"):
            load_settings(dask_address=address)
    settings = load_settings(home=tmp_path / "home", snapshot=str(large), dask_address="tls://127.0.0.1:1")
    with pytest.raises(UsageError, match=r"no certificate to reach tls://127.0.0.1:1 with"):
        Night(settings)


@DUCKDB
def test_workers_with_other_definitions_are_refused(tmp_path, large, cluster, monkeypatch):
    monkeypatch.setattr("tasks.staging.workers.rules", lambda: f"rules of process {os.getpid()}")
    settings = load_settings(home=tmp_path / "home", snapshot=str(large), dask_address=cluster.scheduler_address)
    with pytest.raises(UsageError, match=r"has rules of process .* install this release"):
        Night(settings)
