"""Draws what the commands found, for a terminal.

Text from sources is printed as it is, never as markup, with control characters made visible.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows import status_lines
from flows.harmless import safe
from flows.steps import COUNTS
from schemas.settings import PREFIX, Settings
from schemas.territories import territory_names
from tasks.intake import Expected
from tasks.ledger import UNDO
from tasks.parse import CORPUS
from tasks.questions.answer import Answer
from tasks.rederive import Rederived
from tasks.report import Report, Status
from tasks.undo import FIRST_RECORD
from tasks.verify import Finding

if TYPE_CHECKING:
    from flows.deploy import Deployed  # which imports Prefect

LONGEST_LINE = 3_000
_DATES = re.compile(r"(\d{4}-\d\d-\d\d)(?:_(\d{4}-\d\d-\d\d))?\.\d+")  # then the number of its first part


def _table(
    console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, text_columns: int = 1
) -> None:
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


def _batches(console: Console, rows: Sequence[Any], *, are_named: bool = False) -> None:
    """Counts of batches; `are_named`: with the end of their ids, which `collab undo` takes."""
    names = [(_window(row), *([_end_of_id(row.batch_id)] if are_named else [])) for row in rows]
    columns = ("window", *(["batch"] if are_named else []), *COUNTS)
    _table(
        console,
        "Batches",
        columns,
        [(*name, *(getattr(row, c) for c in COUNTS)) for name, row in zip(names, rows, strict=True)],
        text_columns=1 + are_named,
    )
    console.print(
        "fetched = new + updated + unchanged + superseded + out of scope + quarantined; listed = applied + absent",
        style="dim",
    )
    console.print()


def _window(row: Any) -> str:
    """Window of a batch, short: 2026-06-01_2026-06-03.0000 is 2026-06-01..06-03."""
    if row.kind == UNDO:
        return f"undo of {_end_of_id(row.window_name)}"
    dates = _DATES.fullmatch(row.window_name)
    if dates is None:  # such as a list of papers, whose name may hold anything
        return str(row.window_name)
    first, last = dates.groups()
    return f"{first}..{last[5:] if last[:4] == first[:4] else last}" if last else str(first)


def _end_of_id(batch_id: str) -> str:
    """What tells a batch from others: digest of its content, times it was loaded, first record if it is not the
    first of all."""
    return ".".join(batch_id.removesuffix(FIRST_RECORD).rsplit(".", 2)[1:]) or batch_id


def report(console: Console, found: Report) -> None:
    """The readable end of a run."""
    _batches(console, found.batches)
    if found.world is None:
        console.print(f"No counted works yet in field {found.field}.")
        _where(console, found)
        return
    if not found.is_complete:
        console.print(f"No complete year yet; these are the works of {found.year} so far.", style="yellow")
    world, names = found.world, territory_names()
    what = f"{found.field}, {found.year}" if found.corpus == CORPUS else f"{found.corpus}: {found.field}, {found.year}"
    title = f"{what}, policy iso: {world.papers:,} works, {world.papers_international:,} international"
    at_most = world.papers_international + world.papers_undetermined
    title += (
        f" (up to {at_most:,} with undetermined), {_percent(world.papers_with_unknown, world.papers)} partly unknown"
    )
    rows: list[Sequence[object]] = [
        (
            names[r.territory],
            r.papers,
            f"{r.fractional:.1f}",
            _bounds(r.papers_international, r.papers_undetermined, r.papers),
        )
        for r in found.countries
    ]
    _table(console, title, ("country", "works", "fractional", "international_rate"), rows)
    _coverage(console, found)
    pairs = [
        (
            f"{names[r.territory_a]} - {names[r.territory_b]}",
            r.papers,
            r.papers_bilateral,
            _percent(r.papers_with_unknown, r.papers),
            f"{r.score:.1f}",
            r.citations,
        )
        for r in found.pairs
    ]
    title = f"Top country pairs, {what} (works: a lower bound; unknown: some author is not located)"
    _table(console, title, ("pair", "works", "bilateral", "unknown", "score", "citations"), pairs)
    changes = [
        (
            f"{'-'.join(filter(None, (r.territory_a, r.territory_b)))} {r.year}",
            f"{r.papers:+,}",
            r.reason,
            f"{r.citations:+,}",
        )
        for r in found.changes
    ]
    _table(
        console,
        f"What changed since {found.changed_since}, and why",
        ("cell", "works", "reason", "citations"),
        changes,
    )
    if not changes:
        console.print("no cell of a country or pair moved\n")
    elif found.changes_counted > len(changes):
        console.print(
            f"... and {found.changes_counted - len(changes):,} more cells; all are in `change` of the release\n"
        )
    _where(console, found)


def _coverage(console: Console, found: Report) -> None:
    """How many authors have a country, and what it rests on."""
    if not found.coverage:
        return
    whole, *sources = found.coverage
    rests_on = ", ".join(
        f"{_percent(row.authors, whole.authors)} {row.evidence.replace('_', ' ')}" for row in sources if row.authors
    )
    console.print(
        f"Located: every author of {_percent(whole.papers_all_located, whole.papers)} of the works, some of"
        f" {_percent(whole.papers_some_located, whole.papers)}, none of"
        f" {_percent(whole.papers_none_located, whole.papers)}. Countries of authors rest on: {rests_on}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    console.print()


def _where(console: Console, found: Report) -> None:
    """Where the release lies, and the line that opens it."""
    if found.release is not None:
        for line in (
            f"Release: {found.release.resolve()}",
            f'Open it: python -c "{_look_inside(found.release)}"',
            f"or:      pandas.read_parquet('{found.release}/pair_year.parquet')",
        ):
            console.print(line, soft_wrap=True, markup=False, highlight=False)


def _look_inside(release: Path) -> str:
    query = "FROM pair_rates SELECT policy, field, year, territory_a, territory_b, papers ORDER BY papers DESC LIMIT 9"
    return f"import duckdb; duckdb.connect('{release}/atlas.duckdb', read_only=True).sql('{query}').show()"


def status(console: Console, found: Status, settings: Settings) -> None:
    """State for a maintainer: what the last batches did, then what is wrong and the command that goes on, in the order
    in which to act."""
    if found.last_batch is None and not found.runs:
        console.print("Nothing has been loaded yet: `collab run`", style="bold red")
        return
    _batches(console, list(reversed(found.batches)), are_named=True)
    if found.broken_rules:
        rows = [
            (r.rule, r.severity, _end_of_id(r.batch_id), r.observed, r.expected, r.sample) for r in found.broken_rules
        ]
        _table(
            console,
            "Rules broken in these batches, and in those that were stopped",
            ("rule", "severity", "batch", "observed", "expected", "sample"),
            rows,
            text_columns=6,
        )
    for line in status_lines.red(found, settings):
        console.print(safe(line, LONGEST_LINE), style="bold red", markup=False, soft_wrap=True)
    for line in status_lines.yellow(found):
        console.print(safe(line, LONGEST_LINE), style="yellow", markup=False, soft_wrap=True)
    for line in status_lines.plain(found, settings):
        console.print(safe(line, LONGEST_LINE), markup=False, highlight=False, soft_wrap=True)


def plan(console: Console, windows: int, expected: Sequence[Expected], settings: Settings, cost: str) -> None:
    """What a run would fetch, without fetching it."""
    _table(console, "Windows", ("window", "why", "works", "calls"), expected, text_columns=2)
    calls = sum(window.calls for window in expected)
    works = sum(window.works for window in expected)
    line = f"{windows} {'window' if windows == 1 else 'windows'}, {works:,} works"
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


def rederived(console: Console, found: Rederived) -> None:
    """What new definitions did to stored works."""
    console.print(
        f"definitions applied: {found.records:,} landed records looked at, {found.changed:,} works changed,"
        f" {found.partial:,} keep an older classification because their landed records are gone"
    )
    for one in found.undecided:
        console.print(status_lines.undecided(one, found.partial), style="yellow", markup=False, soft_wrap=True)


def findings(console: Console, found: Sequence[Finding]) -> None:
    """Result of a verification."""
    rows = [(finding.check, finding.rows, finding.differences, finding.sample) for finding in found]
    _table(console, "Verification", ("check", "rows", "differences", "first_difference"), rows)
    if not any(finding.differences for finding in found):
        console.print(f"{len(found)} checks, no differences")


def settings(console: Console, found: Settings) -> None:
    """Settings in force. Secrets print as stars, because they are secret types."""
    values = {name: getattr(found, name) for name in Settings.model_fields}
    values["warehouse_url"] = found.url.render_as_string(hide_password=True)
    rows = [(PREFIX + name.upper(), values[name], info.description) for name, info in Settings.model_fields.items()]
    _table(
        console,
        "Settings",
        ("variable", "value", "meaning"),
        [(a, "not set" if b is None else str(b), c) for a, b, c in rows],
        text_columns=3,
    )


def deployed(console: Console, found: Deployed) -> None:
    """What is on the Prefect server now, and what is still to be done by hand."""
    _table(console, "Deployments", ("name", "runs at", "parameters"), found.deployments, text_columns=3)
    _table(console, "Automations", ("name", "now"), list(found.automations.items()), text_columns=2)
    if found.ways:
        console.print(f"alerts go by {' and '.join(found.ways)}")
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
    _table(console, "Warehouse", ("property", "value"), list(found.items()), text_columns=2)


def quarantine(console: Console, rows: Sequence[Any]) -> None:
    """Open records."""
    listed = [
        (row.source_key, row.rule, row.stage, row.path, row.reason, f"{row.quarantined_at:%Y-%m-%d}") for row in rows
    ]
    _table(
        console,
        f"{len(rows)} open records in quarantine",
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


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "-"


def _bounds(international: int, undetermined: int, papers: int) -> str:
    low, high = _percent(international, papers), _percent(international + undetermined, papers)
    return low if low == high else f"{low} to {high}"


def answer(console: Console, found: Answer) -> None:
    """An answer with what must be said with it."""
    words = found.text_columns  # a year among them is not written 2,024
    rows = [[*map(str, row[:words]), *map(_number, row[words:])] for row in found.rows]
    _table(console, found.title, found.columns, rows, text_columns=found.text_columns)
    if not rows:
        console.print("nothing found\n")
    for note in found.notes:
        console.print(note, style="dim", markup=False, highlight=False, soft_wrap=True)


def _number(value: object) -> object:
    """A number as people read it: three digits that tell; a mark where something is so."""
    if isinstance(value, bool):
        return "*" if value else ""
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else value
