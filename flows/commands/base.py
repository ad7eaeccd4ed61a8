"""What all commands share: the groups, what becomes of expected failures, and where output goes."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from flows.lost_server import leave_at_once
from schemas.errors import CollabError, PrefectLost, UsageError
from schemas.words import is_utf8

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Country collaboration in AI research, counted in the open.",
)
quarantine_app = typer.Typer(no_args_is_help=True, help="Records that could not be loaded.")
app.add_typer(quarantine_app, name="quarantine")
ror_app = typer.Typer(no_args_is_help=True, help="The Research Organization Registry.")
app.add_typer(ror_app, name="ror")
override_app = typer.Typer(no_args_is_help=True, help="Corrections of countries.")
app.add_typer(override_app, name="override")
ask_app = typer.Typer(help="Ready-made questions about a release, with numerator, denominator and unknown part.")
app.add_typer(ask_app, name="ask")
export_app = typer.Typer(
    no_args_is_help=True, help="Files for Gephi, VOSviewer, spreadsheets and readers of ETO's layout."
)
app.add_typer(export_app, name="export")
GROUPS = {
    id(quarantine_app): "quarantine ",
    id(ror_app): "ror ",
    id(override_app): "override ",
    id(ask_app): "ask ",
    id(export_app): "export ",
}

for _stream in ("stdout", "stderr"):  # whoever starts daemons may close them
    if getattr(sys, _stream) is None:
        setattr(sys, _stream, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 (as long as the process lives)

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
WIDTH_OF_A_FILE = 140  # columns where nobody looks on, such as in a log
# No emoji: a printed ":b:" is somebody's text.
console = Console(emoji=False) if sys.stdout.isatty() else Console(emoji=False, width=WIDTH_OF_A_FILE)


def command(target: typer.Typer, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a command that turns expected failures into one line and their exit code."""
    called = f"collab {GROUPS.get(id(target), '')}{name}"

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> None:
            try:
                for value in kwargs.values():
                    if isinstance(value, str | Path) and not is_utf8(str(value)):
                        raise UsageError(f"{str(value)!a} is not UTF-8", "give it, and name files, in UTF-8")
                function(*args, **kwargs)
            except CollabError as exc:
                complain(f"{called}: {exc}")
                if isinstance(exc, PrefectLost):
                    leave_at_once(exc.exit_code)
                raise typer.Exit(exc.exit_code) from None
            except KeyboardInterrupt:
                complain(f"{called}: interrupted -> what was committed stays; the next run goes on from there")
                raise typer.Exit(130) from None

        target.command(name)(guarded)
        return guarded

    return register


@contextlib.contextmanager
def all_is_written() -> Iterator[None]:
    """Leave with exit code 1 where what is printed cannot be written: in one line where there is no room for it, and
    without a word where the reader has closed the pipe.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as exc:
        if exc.errno not in (errno.EPIPE, *NO_ROOM):
            raise
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())  # what is held back still, or Python would fail on it again
        if exc.errno in NO_ROOM:
            complain(f"collab: cannot write: {exc.strerror} -> free space, or send it elsewhere")
        raise SystemExit(1) from None


def complain(line: str) -> None:
    """Say on stderr, on one line, what went wrong."""
    Console(stderr=True, soft_wrap=True, emoji=False).print(line, style="bold red", markup=False, highlight=False)


@contextlib.contextmanager
def log_to_stderr() -> Iterator[None]:
    """Show our own log lines while a flow runs, and leave those of libraries to themselves."""
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log = logging.getLogger("collab")
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(lines)
