"""`collab deploy` and `collab alert`: the schedule on a Prefect server, and alerts without one."""

from __future__ import annotations

from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from flows.commands.base import app, command, console
from flows.show import tables as show
from flows.steps import SOURCES
from schemas.errors import UsageError
from schemas.settings import load_settings, quieten_prefect


@command(app, "deploy")
def deploy(
    source: Annotated[str | None, typer.Option(help="Where nights get works from: " + ", ".join(SOURCES) + ".")] = None,
    at: Annotated[str | None, typer.Option(help="When nights begin, such as 02:15.")] = None,
    timezone: Annotated[str | None, typer.Option(help="Time zone of that, such as Europe/Berlin.")] = None,
) -> None:
    """Make or update work pool, deployments and alerts on the Prefect server at PREFECT_API_URL."""
    if source and source not in SOURCES:
        raise UsageError(f"unknown source {source!r}", "known: " + ", ".join(SOURCES))
    cron = _cron(at) if at else None
    if timezone:
        _check_zone(timezone)
    settings = load_settings()
    quieten_prefect()
    # It imports Prefect, which takes seconds: not for the other commands.
    from flows.orchestration.deploy import deploy as bring_up

    show.deployed(console, bring_up(settings, source, cron, timezone))


@command(app, "alert")
def alert(message: Annotated[str, typer.Argument(help="What happened, in one line.")]) -> None:
    """Send a message to the webhook and the mail addresses that alerts go to, without Prefect."""
    from tasks.upkeep.alerts import send

    console.print("sent by " + " and ".join(send(load_settings(), message)))


def _cron(at: str) -> str:
    hour, _, minute = at.partition(":")
    if not (hour.isdecimal() and minute.isdecimal() and int(hour) < 24 and int(minute) < 60):
        raise UsageError(f"--at: {at!r} is not a time of day", "write it as 02:15")
    return f"{int(minute)} {int(hour)} * * *"


def _check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"--timezone: there is no time zone {name!r}", "give one such as Europe/Berlin") from None
