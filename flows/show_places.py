"""Draws countries and their proof, for a terminal or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.show import safe
from schemas.evidence import RULES
from schemas.overrides import Override
from schemas.territories import UNKNOWN, territory_names
from tasks.explain import Explanation
from tasks.locate import Decision
from tasks.sources.ror_dump import Dump

LONGEST_EVIDENCE = 400  # characters: the country stands at the end


def _name(code: str) -> str:
    return f"{code} {territory_names().get(code, '')}".strip()


def explanation(console: Console, found: Explanation) -> None:
    """A work, author by author, and what each policy makes of it."""
    work = found.work
    title = f"W{work.work_id} {safe(work.title)} ({work.year}, {work.type})"
    console.print(title, style="bold", markup=False, highlight=False)
    if not work.is_counted:
        console.print(f"not counted: {work.excluded_reason}", style="yellow")
    if work.authors_truncated:
        console.print("the source cut the author list: one unknown author stands for the rest", style="yellow")
    if not found.is_up_to_date:
        console.print("decided by earlier rules or reference data; `collab relocate` decides again", style="yellow")
    console.print()
    drawn = Table(header_style="bold", box=None, pad_edge=False)
    for name in ("author", "string", "institution", "country", "why", "sure"):
        drawn.add_column(name, overflow="fold", ratio={"string": 3, "institution": 2, "why": 3}.get(name))
    by_author = {
        author.position: [row for row in found.affiliations if row.position == author.position]
        for author in found.authors
    }
    for author in found.authors:
        who = f"{author.position}" + (f" A{author.author_id}" if author.author_id else "")
        for row in by_author[author.position]:
            held = " ".join(
                filter(None, (row.institution_name, row.institution_country and f"({row.institution_country})"))
            )
            why = f"{row.country_source}: {RULES[row.rule].text}" if row.rule in RULES else row.country_source
            why += f" [{row.evidence}]" if row.evidence else ""
            why += "; string and institution contradict" if row.is_conflict else ""
            why += "" if row.unit else "; not counted: other strings of the author are linked"
            cells = (who, row.raw_string, held, _name(row.country), why)
            drawn.add_row(*(escape(safe(cell, LONGEST_EVIDENCE)) for cell in cells), f"{row.confidence} %")
            who = ""
        if not by_author[author.position]:
            drawn.add_row(who, "", "", _name(UNKNOWN), "none: no affiliation in the record", "0 %")
    console.print(drawn)
    console.print()
    for policy in dict.fromkeys(row.policy for row in found.territories):
        parts = [row for row in found.territories if row.policy == policy]
        shares = ", ".join(f"{row.territory} {row.share.normalize():f}" for row in parts)
        known = sum(row.territory != UNKNOWN for row in parts)
        kind = "international" if known > 1 else "domestic" if known == len(parts) == 1 else "undetermined"
        console.print(f"{policy}: {shares} -> {kind}", markup=False, highlight=False)


def strings(console: Console, found: Iterable[tuple[str, Sequence[Decision]]]) -> None:
    """What strings say: one line a country."""
    for text, decisions in found:
        for decision in decisions:
            words = f" [{safe(decision.words)}]" if decision.words else ""
            why = f"{decision.source}, {decision.rule}{words}, {decision.confidence} %"
            console.print(f"{decision.country}  {safe(text)}  ({why})", markup=False, highlight=False, soft_wrap=True)


def as_json(text: str, decisions: Sequence[Decision]) -> str:
    """The same for programs."""
    rows = [{"source": one.source, **one._asdict(), "rule": str(one.rule)} for one in decisions]
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
    if found.unreadable_count:
        shown = "; ".join(safe(one) for one in found.unreadable)
        console.print(
            f"{found.unreadable_count:,} records are no organisations and were left out: {shown}",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )


def overrides(console: Console, users: Sequence[Override], shipped: Sequence[Override]) -> None:
    """Corrections with their reasons."""
    for whose, some in (("yours", users), ("of the package", shipped)):
        console.print(f"{len(some)} {whose}", style="bold")
        for one in some:
            text = f"{one.country}  {one.kind} {safe(one.key)}: {safe(one.reason)} ({safe(one.source)}, {one.date})"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
