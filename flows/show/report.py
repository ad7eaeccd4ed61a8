"""Draws what the tables say: countries, pairs, how much is located, what changed and why, where the release lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from flows.show import tables as show
from schemas.places.territories import territory_names
from tasks.reading.parsed import CORPUS
from tasks.releases.report import POLICY_SHOWN, Report


def report(console: Console, found: Report) -> None:
    """The readable end of a run."""
    show.batches(console, found.batches)
    if found.world is None:
        console.print(f"No counted works yet in field {found.field}.")
        _where(console, found)
        return
    if not found.is_complete:
        console.print(f"No complete year yet; these are the works of {found.year} so far.", style="yellow")
    what = f"{found.field}, {found.year}" if found.corpus == CORPUS else f"{found.corpus}: {found.field}, {found.year}"
    _countries(console, found, what, found.world)
    _coverage(console, found)
    _pairs(console, found, what)
    _changes(console, found)
    _where(console, found)


def _countries(console: Console, found: Report, what: str, world: Any) -> None:
    at_most = world.papers_international + world.papers_undetermined
    title = (
        f"{what}, policy {POLICY_SHOWN}: {world.papers:,} works, {world.papers_international:,} international"
        f" (up to {at_most:,} with undetermined), {_percent(world.papers_with_unknown, world.papers)} partly unknown"
    )
    rows = [
        (
            territory_names()[row.territory],
            row.papers,
            f"{row.fractional:.1f}",
            _bounds(row.papers_international, row.papers_undetermined, row.papers),
        )
        for row in found.countries
    ]
    show.table(console, title, ("country", "works", "fractional", "international_rate"), rows)


def _pairs(console: Console, found: Report, what: str) -> None:
    names = territory_names()
    rows = [
        (
            f"{names[row.territory_a]} - {names[row.territory_b]}",
            row.papers,
            row.papers_bilateral,
            _percent(row.papers_with_unknown, row.papers),
            f"{row.score:.1f}",
            row.citations,
        )
        for row in found.pairs
    ]
    title = f"Top country pairs, {what} (works: a lower bound; unknown: some author is not located)"
    show.table(console, title, ("pair", "works", "bilateral", "unknown", "score", "citations"), rows)


def _changes(console: Console, found: Report) -> None:
    rows = [
        (
            f"{'-'.join(filter(None, (row.territory_a, row.territory_b)))} {row.year}",
            f"{row.papers:+,}",
            row.reason,
            f"{row.citations:+,}",
        )
        for row in found.changes
    ]
    title = f"What changed since {found.changed_since}, and why"
    show.table(console, title, ("cell", "works", "reason", "citations"), rows)
    if not rows:
        console.print("no cell of a country or pair moved\n")
    elif found.changes_counted > len(rows):
        more = f"{found.changes_counted - len(rows):,}"
        console.print(f"... and {more} more cells; all are in `change` of the release\n")


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


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "-"


def _bounds(international: int, undetermined: int, papers: int) -> str:
    low, high = _percent(international, papers), _percent(international + undetermined, papers)
    return low if low == high else f"{low} to {high}"
