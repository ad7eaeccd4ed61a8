"""Settings come from the environment; mistakes are named, secrets are not."""

from __future__ import annotations

import os

import pytest

from schemas.errors import UsageError
from schemas.settings import load_settings


def test_settings_come_from_the_environment_and_mistakes_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("COLLAB_HOME", str(tmp_path))
    monkeypatch.setenv("COLLAB_BATCH_WORKS", "10")
    assert load_settings().batch_works == 10
    assert str(load_settings().url) == f"duckdb:///{tmp_path}/warehouse.duckdb"
    assert load_settings(batch_works=20).batch_works == 20
    monkeypatch.setenv("COLLAB_BATCH_WORKS", "many")
    with pytest.raises(UsageError, match="COLLAB_BATCH_WORKS: Input should be a valid integer"):
        load_settings()
    monkeypatch.delenv("COLLAB_BATCH_WORKS")
    monkeypatch.setenv("COLLAB_SCOP", "all")
    with pytest.raises(UsageError, match=r"COLLAB_SCOP is not a setting -> did you mean COLLAB_SCOPE\?"):
        load_settings()


def test_secrets_do_not_show(monkeypatch):
    monkeypatch.setenv("COLLAB_OPENALEX_API_KEY", "planted-secret")
    monkeypatch.setenv("COLLAB_WAREHOUSE_URL", "postgresql://me:planted-secret@host/atlas")
    settings = load_settings()
    assert settings.url.password == "planted-secret"
    assert "planted-secret" not in repr(settings) + str(settings) + settings.model_dump_json()
    assert "planted-secret" not in str(settings.model_dump())


def test_nothing_phones_home():
    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"
    assert os.environ["DO_NOT_TRACK"] == "1"
    assert os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


@pytest.mark.parametrize("name", ["snapshot", "venue_list"])
@pytest.mark.parametrize(
    "address",
    [
        "https://me:hunter2@host/x",
        "https://hunter2@host/x",
        "https://host/x?sig=hunter2",
        "https://host/x?X-Amz-Credential=hunter2",
        "s3://me:hunter2@bucket/x",
        "simplecache::https://me:hunter2@host/x",
        "filecache::https://host/x?a=b&sig=hunter2",
        "https://me:hunter2@host:80a/x",
        "https://host:443a/x?token=hunter2",
    ],
)
def test_an_address_with_a_secret_is_refused_and_not_repeated(name, address):
    with pytest.raises(UsageError, match=f"COLLAB_{name.upper()}: no secrets in an address") as refused:
        load_settings(**{name: address})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("name", ["snapshot", "venue_list"])
@pytest.mark.parametrize(
    "address",
    ["https://host/x?download=1", "abfs://files@account.example/x", "sftp://me@host/x", "C:\\x?sig"],
)
def test_an_address_without_secrets_is_taken(name, address):
    assert getattr(load_settings(**{name: address}), name) == address


@pytest.mark.parametrize("name", ["openalex", "Venues", "a.b", "1a", "a" * 32])
def test_a_corpus_has_a_name_of_its_own(name):
    with pytest.raises(UsageError, match="COLLAB_VENUE_CORPUS"):
        load_settings(venue_corpus=name)


def test_a_name_of_a_corpus_is_taken():
    assert load_settings(venue_corpus="a-1").venue_corpus == "a-1"
