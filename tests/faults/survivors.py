"""What came of each fault, for the table at the end of the suite."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table
from rich.text import Text

ENGINES = ("duckdb", "postgresql")
VARIES = re.compile(r"[0-9a-f]{8,}|\d+")  # ids, ports and times in a message


@dataclass(frozen=True)
class Survived:
    """A fault after which every promise held."""

    fault: str
    engine: str
    times: int
    said: str
    went_on: str


@dataclass
class Row:
    """The same fault on one engine or both, with what was said on the first."""

    said: str
    times: dict[str, int] = field(default_factory=dict)


def rows_of(found: Iterable[Survived]) -> dict[tuple[str, str, str], Row]:
    """One row a fault; two where the engines make the run say different things."""
    rows: dict[tuple[str, str, str], Row] = {}
    for one in sorted(found, key=lambda one: (one.fault.casefold(), one.engine)):
        row = rows.setdefault((one.fault, one.went_on, VARIES.sub("#", one.said)), Row(one.said))
        row.times[one.engine] = row.times.get(one.engine, 0) + one.times
    return rows


def print_table(found: Iterable[Survived], width: int) -> None:
    """How often each fault was survived on each engine, what the run said, and what somebody had to do."""
    rows = rows_of(found)
    if not rows:
        return
    total = sum(times for row in rows.values() for times in row.times.values())
    table = Table(title=f"Faults survived: {total:,}", title_justify="left", show_lines=True, expand=True)
    table.add_column("fault", ratio=3, overflow="fold")
    for engine in ENGINES:
        table.add_column(engine, justify="right", no_wrap=True)
    table.add_column("what the run said", ratio=10, overflow="fold")
    table.add_column("how it went on", ratio=3, overflow="fold")
    for (fault, went_on, _), row in rows.items():
        cells = (fault, *(str(row.times.get(engine, "")) for engine in ENGINES), row.said, went_on)
        table.add_row(*(Text(cell) for cell in cells))
    console = Console(width=width)
    console.print()
    console.print(table)
