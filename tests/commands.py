"""Commands as a user types them, run in this process: their environment, what they print, and the one line of an
expected failure."""

from __future__ import annotations

from datetime import timedelta

import typer.main
from click.testing import Result
from rich.console import Console
from typer.testing import CliRunner

from flows.cli import app
from flows.show import status as show_status
from tasks.storage.warehouse import Warehouse, utc_now
from tasks.upkeep.status import Status, read_status


def invoke(*args: object, **more) -> Result:
    """A command that has come to its end; what it raised beside its exit is a bug, and raised here."""
    result = CliRunner().invoke(app, [str(arg) for arg in args], **more)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def set_environment(monkeypatch, settings, *names: str) -> None:
    """Puts these settings where commands and flows look for them."""
    for name in names:
        monkeypatch.setenv(f"COLLAB_{name.upper()}", str(getattr(settings, name)))


def run(collab, snapshot, *more):
    """A night over a snapshot."""
    return collab("run", "--snapshot", snapshot, "--no-prefect", *more)


def error(code: int, output: str, expected: int = 1) -> str:
    """The one line of an expected failure."""
    assert code == expected, output
    lines = [line for line in output.splitlines() if line.startswith("collab ")]
    assert len(lines) == 1, output
    assert "Traceback" not in output
    return lines[0]


def status_of(settings, later: timedelta = timedelta()) -> tuple[Status, str]:
    """What `collab status` knows of a warehouse so much later than now, and what it prints of that."""
    with Warehouse.open(settings) as warehouse, warehouse.reading() as conn:
        found = read_status(conn, settings, utc_now() + later)
    console = Console(width=400)
    with console.capture() as printed:
        show_status.status(console, found, settings)
    return found, printed.get()


def options() -> dict[str, set[str]]:
    """Commands of `collab` and their options."""
    found = {}
    for name, command in typer.main.get_command(app).commands.items():
        parts = {f"{name} {part}": leaf for part, leaf in getattr(command, "commands", {}).items()}
        for path, leaf in (parts or {name: command}).items():
            found[path] = {option for parameter in leaf.params for option in parameter.opts}
    return found
