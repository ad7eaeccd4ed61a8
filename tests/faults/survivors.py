"""What came of each fault, for the table at the end of the suite."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Survived:
    """A fault after which every promise held."""

    fault: str
    engine: str
    times: int
    said: str
    went_on: str


def print_table(found: Iterable[Survived], width: int) -> None:
    """One row a fault and engine."""
    rows = sorted(found, key=lambda one: (one.fault, one.engine))
    if not rows:
        return
    table = Table(title=f"Faults survived: {sum(row.times for row in rows)}", title_justify="left", show_lines=True)
    table.add_column("fault", ratio=3)
    table.add_column("engine", no_wrap=True)
    table.add_column("times", justify="right", no_wrap=True)
    table.add_column("what the run said", ratio=6)
    table.add_column("how it went on", ratio=3)
    for row in rows:
        cells = (row.fault, row.engine, str(row.times), row.said, row.went_on)
        table.add_row(*(Text(cell) for cell in cells))
    console = Console(width=max(width, 100))
    console.print()
    console.print(table)
