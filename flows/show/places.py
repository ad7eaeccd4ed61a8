"""Draws countries and their proof, for a terminal or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.harmless import safe
from schemas.overrides import Override
from schemas.places.evidence import RULES
from schemas.places.territories import UNKNOWN, territory_names
from schemas.tables import OF_WORK
from schemas.work_ids import shown_id
from tasks.countries.addresses import countries_in
from tasks.countries.explain import Explanation
from tasks.countries.locate import Decision
from tasks.countries.registry import Replaced
from tasks.sources.ror_dump import Dump

LONGEST_EVIDENCE = 300  # characters of a string
MOST_ROWS = 60


def _name(code: str) -> str:
    return f"{code} {territory_names().get(code, '')}".strip()


def explanation(console: Console, found: Explanation, *, most: int = MOST_ROWS) -> None:
    """A work: what each policy makes of it, then why, author by author; at most `most` rows."""
    work = found.work
    title = f"{shown_id(work.work_id)} {safe(work.title)} ({work.year}, {work.type})"
    console.print(title, style="bold", markup=False, highlight=False)
    if not work.is_counted:
        console.print(f"stored, but not counted: {work.excluded_reason}", style="yellow")
    if work.authors_truncated:
        console.print("the source cut the author list: one unknown author stands for the rest", style="yellow")
    if work.is_unassigned:
        told = "which author has which affiliation is not known: their countries count whole, the shares are unknown"
        console.print(told, style="yellow")
    if not found.is_up_to_date:
        console.print("decided by other rules, corrections or ROR; `collab relocate` decides again", style="yellow")
    console.print()
    for policy in dict.fromkeys(row.policy for row in found.territories):
        parts = [row for row in found.territories if row.policy == policy]
        shares = ", ".join(f"{row.territory} {row.share.normalize():f}" for row in parts)
        known = sum(row.territory != UNKNOWN for row in parts)
        kind = "international" if known > 1 else "domestic" if known == len(parts) == 1 else "undetermined"
        console.print(f"{policy}: shares {shares} -> {kind}", markup=False, highlight=False, soft_wrap=True)
    console.print()
    if not found.authors:
        console.print("The record lists no authors.")
    if not found.authors and not found.affiliations:
        return
    drawn = Table(header_style="bold", box=None, pad_edge=False)
    for name, ratio in (
        ("author", None),
        ("string", 3),
        ("institution", 2),
        ("country", 1),
        ("why", 3),
        ("confidence", 1),
    ):
        drawn.add_column(name, overflow="fold", ratio=ratio)
    lines = list(_lines(found))
    for cells in lines[:most]:
        drawn.add_row(*(escape(safe(cell, LONGEST_EVIDENCE)) for cell in cells))
    console.print(drawn)
    if len(lines) > most:
        console.print(f"... and {len(lines) - most:,} more rows; --all shows them", style="yellow")


def _lines(found: Explanation) -> Iterator[tuple[str, ...]]:
    """Rows of the table: a string that stands in the row above is not printed again."""
    positions = [author.position for author in found.authors]
    names = {at.position: f"{at.position}" + (f" A{at.author_id}" if at.author_id else "") for at in found.authors}
    if found.work.is_unassigned:
        positions, names = [OF_WORK, *positions], names | {OF_WORK: "paper"}
    rows_of: dict[int, list[Any]] = {position: [] for position in positions}
    for row in found.affiliations:
        rows_of[row.position].append(row)
    above = None
    for position in positions:
        who = names[position]
        for row in rows_of[position]:
            given = row.institution_country and f"({row.institution_country})"
            held = " ".join(filter(None, (row.institution_name, given)))
            raw = "" if row.raw_string is None else excerpt(row.raw_string, row.evidence or "")
            shown = '"' if raw and raw == above else raw
            yield who, shown, held, _name(row.country), _why(row), f"{row.confidence} %"
            who, above = "", raw
        if not rows_of[position]:
            untied = "no affiliation is known to be this author's"
            why = untied if found.work.is_unassigned else "no affiliation in the record"
            yield who, "", "", _name(UNKNOWN), why, "0 %"
            above = None


def _why(row: Any) -> str:
    rule = RULES.get(row.rule)
    why = f"{rule.text} ({row.rule})" if rule else row.rule
    why += f": {row.evidence}" if row.evidence else ""
    if row.is_conflict:
        why += f"; the string names {', '.join(countries_in(row.raw_string))}, the institution is in"
        why += f" {row.institution_country}"
    return why if row.unit or row.position == OF_WORK else f"{why}; not counted, other strings of the author are linked"


def excerpt(text: str, words: str) -> str:
    """A long text around the words that decided; the end of it where these are not in it."""
    if len(text) <= LONGEST_EVIDENCE:
        return text
    at = text.find(words) if words else -1
    middle = len(text) if at < 0 else at + len(words)
    first = max(0, min(middle + LONGEST_EVIDENCE // 4, len(text)) - LONGEST_EVIDENCE + 6)
    return f"{'...' if first else ''}{text[first : first + LONGEST_EVIDENCE - 6]}"


def strings(console: Console, found: Iterable[tuple[str, Sequence[Decision]]]) -> None:
    """What strings say: one line a country."""
    for text, decisions in found:
        for decision in decisions:
            words = f" [{safe(decision.words)}]" if decision.words else ""
            why = f"{decision.source}, {decision.rule}{words}, {decision.confidence} %"
            line = f"{_name(decision.country)}: {safe(text, LONGEST_EVIDENCE)}  ({why})"
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def as_json(text: str, decisions: Sequence[Decision]) -> str:
    """The same for programs."""
    rows = [
        {
            "country": one.country,
            "country_source": one.source,
            "rule": str(one.rule),
            "evidence": one.words,
            "confidence": one.confidence,
        }
        for one in decisions
    ]
    return json.dumps({"string": text, "countries": [row for row in rows if row["country"] != UNKNOWN]})


def dump(console: Console, found: Dump) -> None:
    """What a dump of ROR holds."""
    organizations = found.organizations.values()
    status = {kind: sum(one.status == kind for one in organizations) for kind in ("active", "inactive", "withdrawn")}
    several = sum(len(one.countries) > 1 for one in organizations)
    counts = ", ".join(f"{count:,} {kind}" for kind, count in status.items())
    console.print(
        f"{found.name}: {len(found.organizations):,} organisations ({counts}), {several:,} in several countries,"
        f" {sum(not one.countries for one in organizations):,} without one",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    if found.repeated:
        console.print(f"{found.repeated:,} ids came more than once; the last record of each holds", style="yellow")
    if found.unreadable_count:
        shown = "; ".join(safe(one) for one in found.unreadable)
        console.print(
            f"{found.unreadable_count:,} records are no organisations and were left out: {shown}",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )


def replaced(console: Console, done: Replaced, idle: Sequence[Override]) -> None:
    """What putting corrections in force did, and which of the new ones are about no stored work."""
    console.print(
        f"corrections: {done.kept} kept, {len(done.added)} added, {len(done.changed)} changed,"
        f" {len(done.withdrawn)} withdrawn",
        highlight=False,
    )
    for one in idle:
        text = f"about no stored work yet: {one.kind} {safe(one.key)}"
        console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)


def overrides(console: Console, users: Sequence[Override], shipped: Sequence[Override]) -> None:
    """Corrections with their reasons."""
    for whose, some in (("yours", users), ("of the package", shipped)):
        console.print(f"{len(some)} {whose}", style="bold")
        for one in some:
            text = f"{one.country}  {one.kind} {safe(one.key)}: {safe(one.reason)} ({safe(one.source)}, {one.date})"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
