"""Alerts without Prefect: delivered on every way that is set, and never with a secret in a message."""

from __future__ import annotations

import logging
import subprocess
import sys
from datetime import timedelta

import pytest
import sqlalchemy as sa

import tasks.storage.warehouse
from flows.orchestration.alerts import announced
from flows.progress import Lines
from flows.steps import Summary, directly
from schemas import tables as t
from schemas.errors import AlertFailed, ConnectionLost, SourceError, UsageError, WarehouseInUse
from schemas.settings import load_settings
from tasks.night import Night
from tasks.storage.warehouse import Warehouse, utc_now
from tasks.upkeep.alerts import Growth, addresses, quarantine_growth, send
from tests.alerts import TOKEN, Receiver
from tests.commands import invoke
from tests.factory import run, work, write_snapshot

pytestmark = pytest.mark.engines("duckdb")


def test_an_alert_goes_to_the_webhook_and_to_every_mail_address(settings_for):
    with Receiver() as receiver:
        assert send(settings_for(**receiver.settings), "the night failed") == ["webhook", "mail"]
        (posted,) = receiver.posted
        assert (posted["title"], posted["message"]) == ("Collab Atlas", "the night failed")
        assert sorted(line for mail in receiver.mails for line in mail.splitlines() if line.startswith("To:")) == [
            "To: a@example.org",
            "To: b@example.org",
        ]
        assert all("the night failed" in mail and "Subject: Collab Atlas" in mail for mail in receiver.mails)


def test_the_command_sends_and_says_in_one_line_what_went_wrong(monkeypatch):
    with Receiver() as receiver:
        monkeypatch.setenv("COLLAB_ALERT_WEBHOOK", receiver.webhook)
        done = invoke("alert", "collab-nightly failed")
        assert (done.exit_code, done.output) == (0, "sent by webhook\n")
        assert receiver.posted[0]["message"] == "collab-nightly failed"
    with Receiver(status=404) as receiver:
        monkeypatch.setenv("COLLAB_ALERT_WEBHOOK", receiver.webhook)
        failed = invoke("alert", "x")
        assert failed.exit_code == 1
        assert "error=404" in failed.output
        assert TOKEN not in failed.output
    monkeypatch.delenv("COLLAB_ALERT_WEBHOOK")
    nobody = invoke("alert", "x")
    assert nobody.exit_code == UsageError.exit_code
    assert "there is nobody to alert -> set COLLAB_ALERT_WEBHOOK" in nobody.output


def test_one_way_that_fails_does_not_keep_the_alert_from_the_other(settings_for, caplog, capfd, monkeypatch):
    heard: list[logging.LogRecord] = []
    root, listener = logging.getLogger(), logging.Handler()
    monkeypatch.setattr(listener, "emit", heard.append)
    monkeypatch.setattr(root, "handlers", [*root.handlers, listener])
    with Receiver() as receiver:
        more = receiver.settings | {"alert_smtp_port": 1, "alert_smtp_user": "atlas", "alert_smtp_password": "p@ss/wd"}
        with pytest.raises(AlertFailed, match=r"^mail: .*refused"):
            send(settings_for(**more), "the night failed")
        assert len(receiver.posted) == 1
        settings = settings_for(**receiver.settings | {"alert_webhook": f"http://127.0.0.1:1/{TOKEN}"})
        with pytest.raises(AlertFailed, match=r"^webhook: ") as failed:
            send(settings, "the night failed")
        assert receiver.mails
    seen = caplog.text + "".join(capfd.readouterr()) + str(failed.value) + repr(settings) + repr(addresses(settings))
    assert TOKEN not in seen
    assert "p@ss" not in seen
    assert "apprise" not in {record.name for record in heard}  # what it says goes to nobody's log


@pytest.mark.parametrize(
    ("address", "becomes"),
    [
        ("https://example.org/hook/abc?key=1", "jsons://example.org/hook/abc?-key=1"),
        ("https://example.org/hook?key=&of=1", "jsons://example.org/hook?-key=&-of=1"),
        ("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", None),
        ("ntfy://topic", None),
    ],
)
def test_services_that_apprise_knows_keep_their_address(settings_for, address, becomes):
    (found,) = addresses(settings_for(alert_webhook=address)).values()
    assert found.get_secret_value() == (becomes or address)


@pytest.mark.parametrize(("security", "scheme"), [("insecure", "mailto"), ("starttls", "mailtos"), ("ssl", "mailtos")])
def test_mail_goes_out_encrypted_unless_that_is_switched_off(settings_for, security, scheme):
    mail = {"host": "mail.example.org", "from": "a@b", "to": "c@d", "user": "the atlas", "password": "p@ss/wd"}
    mail |= {"port": 25, "security": security}
    (found,) = addresses(settings_for(**{f"alert_smtp_{name}": value for name, value in mail.items()})).values()
    address = found.get_secret_value()
    assert address.startswith(f"{scheme}://the%20atlas:p%40ss%2Fwd@mail.example.org:25?")
    assert f"mode={security}" in address


def test_a_password_that_the_mail_server_repeats_is_masked(settings_for, monkeypatch):
    def refuse(*_: object, **__: object) -> bool:
        logging.getLogger("apprise").debug("Socket Exception: 535 p@ss/wd is wrong, p%40ss%2Fwd too")
        return False

    monkeypatch.setattr("apprise.Apprise.notify", refuse)
    mail = {"host": "mail.example.org", "from": "a@b", "to": "c@d", "user": "atlas", "password": "p@ss/wd"}
    with pytest.raises(AlertFailed, match=r"mail: 535 \*\*\* is wrong, \*\*\* too"):
        send(settings_for(**{f"alert_smtp_{name}": value for name, value in mail.items()}), "x")


def test_an_address_that_nothing_can_be_sent_to_is_refused(settings_for):
    for address in (f"ftp://example.org/{TOKEN}", f"https://[{TOKEN}"):
        with pytest.raises(UsageError, match="COLLAB_ALERT_WEBHOOK") as refused:
            send(settings_for(alert_webhook=address), "x")
        assert TOKEN not in str(refused.value)
    with pytest.raises(UsageError, match="belong together"):
        settings_for(alert_smtp_host="mail.example.org")


def test_the_quarantine_grows_by_what_a_run_left_there(tmp_path, settings_for):
    settings = settings_for(write_snapshot(tmp_path / "s", {"2026-01-01": [work(11), work(12, publication_year=2999)]}))
    run(settings)
    with Warehouse.open(settings) as warehouse:
        with warehouse.reading() as conn:
            assert quarantine_growth(conn, utc_now() - timedelta(hours=1)) == Growth(0, 1)
            assert quarantine_growth(conn, utc_now()) == Growth(1, 1)
        before = utc_now()
        with warehouse.transaction() as conn:
            conn.execute(sa.update(t.quarantine).values(resolved_at=utc_now(), resolution="retried"))
        with warehouse.reading() as conn:
            assert quarantine_growth(conn, before) == Growth(1, 0)


def test_a_warehouse_that_another_run_has_open_is_waited_for(settings_for, monkeypatch):
    monkeypatch.setattr(tasks.storage.warehouse, "SECONDS_BETWEEN_LOOKS", 0.2)
    settings = settings_for()
    Warehouse.open(settings).close()
    hold = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(settings.url.database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(WarehouseInUse, match="COLLAB_WAREHOUSE_WAIT"):
            Warehouse.open(settings)
        monkeypatch.setattr(tasks.storage.warehouse, "_say_that_we_wait", lambda state: other.stdin.close())
        Warehouse.open(load_settings(**settings.model_dump() | {"warehouse_wait": 1})).close()


def test_a_quarantine_that_cannot_be_looked_at_does_not_change_how_a_run_ended(tmp_path, settings_for, monkeypatch):
    def lost(*_: object) -> None:
        raise ConnectionLost("the server went away", "")

    def fail(*_: object) -> None:
        raise SourceError("the source is not there", "")

    monkeypatch.setattr("flows.orchestration.alerts.quarantine_growth", lost)
    with Night(settings_for(write_snapshot(tmp_path / "s", {"2026-01-01": [work(11)]}))) as night:
        announced(lambda *_: None)(night, directly, Lines(), Summary())
        with pytest.raises(SourceError, match="not there"):
            announced(fail)(night, directly, Lines(), Summary())
