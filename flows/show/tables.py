"""Draws what the commands found, for a terminal.

Text from sources is printed as it is, never as markup, with control characters made visible.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.harmless import safe
from schemas.settings import PREFIX, Settings
from schemas.tables import CONSERVATION, COUNTS
from schemas.words import counted
from tasks.batches.rederive import Rederived
from tasks.batches.undo import FIRST_RECORD
from tasks.landing.intake import Expected
from tasks.landing.undecided import Undecided
from tasks.loading.ledger import UNDO
from tasks.loading.verify import Finding
from tasks.releases.questions.answer import Answer

if TYPE_CHECKING:
    from flows.orchestration.deploy import Deployed  # which imports Prefect

_DATES = re.compile(r"(\d{4}-\d\d-\d\d)(?:_(\d{4}-\d\d-\d\d))?\.\d+")  # then the number of its first part


def table(
    console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, text_columns: int = 1
) -> None:
    """A table under its title; the first `text_columns` columns are words, the others numbers, set to the right."""
    console.print(title, style="bold", markup=False, highlight=False, soft_wrap=True)
    drawn = Table(header_style="bold", box=None, pad_edge=False)
    for number, name in enumerate(columns):
        drawn.add_column(name.replace("_", " "), justify="left" if number < text_columns else "right", overflow="fold")
    for row in rows:
        drawn.add_row(
            *(
                f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else escape(safe(cell))
                for cell in row
            )
        )
    console.print(drawn)
    console.print()


def batches(console: Console, rows: Sequence[Any], *, are_named: bool = False) -> None:
    """Counts of batches; `are_named`: with the end of their ids, which `collab undo` takes."""
    names = [(_window(row), *([end_of_id(row.batch_id)] if are_named else [])) for row in rows]
    columns = ("window", *(["batch"] if are_named else []), *COUNTS)
    table(
        console,
        "Batches",
        columns,
        [(*name, *(getattr(row, c) for c in COUNTS)) for name, row in zip(names, rows, strict=True)],
        text_columns=1 + are_named,
    )
    console.print(CONSERVATION.replace("_", " "), style="dim")
    console.print()


def _window(row: Any) -> str:
    """Window of a batch, short: 2026-06-01_2026-06-03.0000 is 2026-06-01..06-03."""
    if row.kind == UNDO:
        return f"undo of {end_of_id(row.window_name)}"
    dates = _DATES.fullmatch(row.window_name)
    if dates is None:  # such as a list of papers, whose name may hold anything
        return str(row.window_name)
    first, last = dates.groups()
    return f"{first}..{last[5:] if last[:4] == first[:4] else last}" if last else str(first)


def end_of_id(batch_id: str) -> str:
    """What tells a batch from others: digest of its content, times it was loaded, first record if it is not the
    first of all."""
    return ".".join(batch_id.removesuffix(FIRST_RECORD).rsplit(".", 2)[1:]) or batch_id


def plan(console: Console, windows: int, expected: Sequence[Expected], settings: Settings, cost: str) -> None:
    """What a run would fetch, without fetching it."""
    table(console, "Windows", ("window", "why", "works", "calls"), expected, text_columns=2)
    calls = sum(window.calls for window in expected)
    works = sum(window.works for window in expected)
    line = f"{counted(windows, 'window')}, {counted(works, 'work')}"
    if calls:
        days = calls / settings.openalex_daily_credits
        line += f", about {calls:,} calls of 1 credit, at least {_duration(calls / settings.openalex_rate)}"
        line += f", {days:.1f} days of COLLAB_OPENALEX_DAILY_CREDITS" if days > 1 else ""
        line += "; where works are known already, one call more for each 100 that changed"
    for text in filter(None, (line, cost)):
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def undecided_line(one: Undecided, partial: int) -> str:
    """What definitions never decided in a corpus, and the command that makes up for it."""
    return (
        f"{one.corpus}: the records loaded before {one.since:%Y-%m-%d %H:%M} UTC were not all on disk any more when"
        f" definitions changed; at most {partial:,} works keep older fields and mentions, and works that are admitted"
        f" now may be missing; `{one.command}` reads {one.left or 'them'} again"
    )


def rederived(console: Console, found: Rederived) -> None:
    """What new definitions did to stored works."""
    console.print(
        f"definitions applied: {found.records:,} landed records looked at, {found.changed:,} works changed,"
        f" {found.partial:,} keep an older classification because their landed records are gone"
    )
    for one in found.undecided:
        console.print(undecided_line(one, found.partial), style="yellow", markup=False, soft_wrap=True)


def findings(console: Console, found: Sequence[Finding]) -> None:
    """Result of a verification."""
    rows = [(finding.check, finding.rows, finding.differences, finding.sample) for finding in found]
    table(console, "Verification", ("check", "rows", "differences", "first_difference"), rows)
    if not any(finding.differences for finding in found):
        console.print(f"{len(found)} checks, no differences")


def settings(console: Console, found: Settings) -> None:
    """Settings in force. Secrets print as stars, because they are secret types."""
    values = {name: getattr(found, name) for name in Settings.model_fields}
    values["warehouse_url"] = found.url.render_as_string(hide_password=True)
    rows = [(PREFIX + name.upper(), values[name], info.description) for name, info in Settings.model_fields.items()]
    table(
        console,
        "Settings",
        ("variable", "value", "meaning"),
        [(a, "not set" if b is None else str(b), c) for a, b, c in rows],
        text_columns=3,
    )


def deployed(console: Console, found: Deployed) -> None:
    """What is on the Prefect server now, and what is still to be done by hand."""
    table(console, "Deployments", ("name", "runs at", "parameters"), found.deployments, text_columns=3)
    table(console, "Automations", ("name", "now"), list(found.automations.items()), text_columns=2)
    if found.channels:
        console.print(f"alerts go by {' and '.join(found.channels)}")
    else:
        console.print(
            "NO ALERTS: nobody is told of a failed run; set COLLAB_ALERT_WEBHOOK or COLLAB_ALERT_SMTP_HOST, _FROM and"
            " _TO, then `collab deploy` again",
            style="yellow",
            soft_wrap=True,
        )
    for line in (
        f"next, with COLLAB_HOME and the other settings in the environment: prefect worker start --pool {found.pool}",
        f"look at it: {found.ui}" if found.ui else "",
    ):
        if line:
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def properties(console: Console, found: Mapping[str, str]) -> None:
    """Properties of a warehouse."""
    table(console, "Warehouse", ("property", "value"), list(found.items()), text_columns=2)


def quarantine(console: Console, rows: Sequence[Any]) -> None:
    """Open records."""
    listed = [
        (row.source_key, row.rule, row.stage, row.path, row.reason, f"{row.quarantined_at:%Y-%m-%d}") for row in rows
    ]
    table(
        console,
        f"{counted(len(rows), 'open record')} in quarantine",
        ("key", "rule", "stage", "path", "reason", "since"),
        listed,
        text_columns=6,
    )


def quarantined(console: Console, row: Any) -> None:
    """One record, whole."""
    for name, value in row._mapping.items():
        if name != "raw":
            console.print(f"{name:18} {safe(value)}", markup=False, highlight=False, soft_wrap=True)
    raw = (
        bytes(row.raw).decode("utf-8", "backslashreplace")
        if row.raw is not None
        else "(not kept: above the size limit, see landed_at)"
    )
    console.print(
        "".join(char if char.isprintable() else " " for char in raw), markup=False, highlight=False, soft_wrap=True
    )


def answer(console: Console, found: Answer) -> None:
    """An answer with what must be said with it."""
    words = found.text_columns  # a year among them is not written 2,024
    rows = [[*map(str, row[:words]), *map(_number, row[words:])] for row in found.rows]
    table(console, found.title, found.columns, rows, text_columns=found.text_columns)
    if not rows:
        console.print("nothing found\n")
    for note in found.notes:
        console.print(note, style="dim", markup=False, highlight=False, soft_wrap=True)


def _number(value: object) -> object:
    """A number as people read it: three digits that tell; a mark where something is so."""
    if isinstance(value, bool):
        return "*" if value else ""
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else value
