"""Alerts by webhook and by mail, without Prefect: for timers, and for a night when Prefect itself is down.

Apprise delivers them. Prefect does too, so it is given the same addresses (flows/orchestration/automations.py).
"""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

import apprise
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy import Connection

from schemas import tables as t
from schemas.errors import AlertFailed, UsageError
from schemas.settings import Settings
from tasks.reading.quarantine import count_open

SUBJECT = "Collab Atlas"
WEBHOOK, MAIL = "webhook", "mail"
HOW_TO_SET = "set COLLAB_ALERT_WEBHOOK, or COLLAB_ALERT_SMTP_HOST, COLLAB_ALERT_SMTP_FROM and COLLAB_ALERT_SMTP_TO"
# Its log names addresses, which are secrets: it goes nowhere but into LogCapture.
_LOG = logging.getLogger("apprise")
_LOG.addHandler(logging.NullHandler())
_LOG.propagate = False
_JSON_OVER = {"http": "json", "https": "jsons"}


class Growth(NamedTuple):
    """Open records of the quarantine before a run and after it."""

    before: int
    after: int


def addresses(settings: Settings) -> dict[str, SecretStr]:
    """Where alerts go, as addresses of Apprise; they hold passwords and tokens.

    Raises:
        UsageError: COLLAB_ALERT_WEBHOOK is no address that Apprise can deliver to.
    """
    found = {}
    if settings.alert_webhook:
        found[WEBHOOK] = SecretStr(_webhook_address(settings.alert_webhook.get_secret_value()))
    if settings.alert_smtp_host:
        found[MAIL] = SecretStr(_mail_address(settings))
    return found


def send(settings: Settings, message: str) -> list[str]:
    """Send an alert through every channel that is set, and return these. A failing one does not hold up the others.

    Raises:
        UsageError: no channel is set.
        AlertFailed: it could not be delivered through one of them.
    """
    channels = addresses(settings)
    if not channels:
        raise UsageError("there is nobody to alert", HOW_TO_SET)
    failed = [f"{name}: {cause}" for name, address in channels.items() if (cause := _deliver(name, address, message))]
    if failed:
        raise AlertFailed("; ".join(failed), "mend COLLAB_ALERT_..., which `collab check` shows, and call again")
    return list(channels)


def quarantine_growth(conn: Connection, since: datetime) -> Growth:
    """Open records of the quarantine just before a moment (UTC), and now."""
    of = t.quarantine.c
    count = sa.select(sa.func.count()).select_from(t.quarantine)
    was_open = sa.or_(of.resolved_at.is_(None), of.resolved_at >= since)
    before = conn.scalar(count.where(of.quarantined_at < since, was_open))
    return Growth(before or 0, count_open(conn))


def _webhook_address(address: str) -> str:
    """Addresses of services that Apprise knows, such as Slack, stay; others get JSON with title and message."""
    if apprise.Apprise.instantiate(address, suppress_exceptions=True) is not None:
        return address
    with suppress(ValueError):  # of addresses that cannot be taken apart
        parts = urlsplit(address)
        query = urlencode([(f"-{name}", value) for name, value in parse_qsl(parts.query, keep_blank_values=True)])
        address = urlunsplit((_JSON_OVER.get(parts.scheme, parts.scheme), parts.netloc, parts.path, query, ""))
        if apprise.Apprise.instantiate(address, suppress_exceptions=True) is not None:
            return address
    raise UsageError(
        "COLLAB_ALERT_WEBHOOK is not an address that alerts can be sent to",
        "give one such as https://hooks.example.org/..., or an address of Apprise",
    )


def _mail_address(settings: Settings) -> str:
    login = ""
    if settings.alert_smtp_user:
        password = settings.alert_smtp_password.get_secret_value() if settings.alert_smtp_password else ""
        login = f"{quote(settings.alert_smtp_user, safe='')}:{quote(password, safe='')}@"
    mode = settings.alert_smtp_security
    more = {
        "smtp": settings.alert_smtp_host or "",
        "from": settings.alert_smtp_from or "",
        "to": ",".join(part.strip() for part in (settings.alert_smtp_to or "").split(",")),
        "mode": mode,
        "format": "text",
    }
    scheme = "mailto" if mode == "insecure" else "mailtos"
    return f"{scheme}://{login}{settings.alert_smtp_host}:{settings.alert_smtp_port}?{urlencode(more)}"


def _deliver(channel: str, address: SecretStr, message: str) -> str:
    """Deliver a message; returns why not, or nothing.

    What Apprise says in detail about a webhook holds its address, which is a secret; about mail it is what the server
    answered.
    """
    client = apprise.Apprise()
    client.add(address.get_secret_value())
    with apprise.LogCapture(level=logging.DEBUG if channel == MAIL else logging.WARNING, fmt="%(message)s") as log:
        if client.notify(body=message, title=SUBJECT):
            return ""
        said = [line for line in log.getvalue().splitlines() if line.strip()]
    details = [line.split("Exception:", 1)[1].strip() for line in said if "Exception:" in line]
    cause: str = (details or said or ["not delivered"])[-1]
    password = urlsplit(address.get_secret_value()).password or ""
    for shown in filter(None, (password, unquote(password))):
        cause = cause.replace(shown, "***")
    return cause
