"""`collab ask`: ready-made questions about a release, each a command that prints a table, CSV or JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Annotated

import typer

from flows.commands.base import ask_app, command, console
from flows.show import tables as show
from schemas.errors import UsageError
from schemas.settings import load_settings
from tasks.releases.questions import countries, events, pairs
from tasks.releases.questions.answer import Answer
from tasks.releases.release import Release, Slice, closest, open_release
from tasks.releases.spreadsheets import write_csv

CorpusOption = Annotated[str, typer.Option(help="Corpus: openalex, or the name of a venue list.")]
PolicyOption = Annotated[str, typer.Option(help="Territory policy, such as iso, mainland-sar or greater-china.")]
FieldOption = Annotated[str, typer.Option(help="Field of research, such as ai or healthcare.")]
FromOption = Annotated[
    int | None, typer.Option("--from", min=1, max=9999, help="First year; default: the last ten complete years.")
]
ToOption = Annotated[
    int | None, typer.Option("--to", min=1, max=9999, help="Last year; default: the last complete one.")
]
TopOption = Annotated[int, typer.Option(min=1, help="How many rows.")]
ReleaseOption = Annotated[str | None, typer.Option(help="A release that is still kept; default: the current one.")]
FormatOption = Annotated[str, typer.Option("--format", help="table, csv or json.")]

FORMATS = ("table", "csv", "json")


@ask_app.callback(invoke_without_command=True)
def questions(context: typer.Context) -> None:
    """Ready-made questions about a release; without a name, the list of them."""
    if context.invoked_subcommand is not None:
        return
    for registered in ask_app.registered_commands:
        told = (registered.callback.__doc__ or "").strip().splitlines()[0] if registered.callback else ""
        console.print(f"collab ask {registered.name:12} {told}", markup=False, highlight=False, soft_wrap=True)


@command(ask_app, "non-western")
def non_western(
    corpus: CorpusOption = "openalex",
    policy: PolicyOption = "iso",
    field: FieldOption = "ai",
    first: FromOption = None,
    last: ToOption = None,
    top: TopOption = 10,
    bloc: Annotated[str, typer.Option(help="Another bloc of the release.")] = countries.NON_WESTERN,
    release: ReleaseOption = None,
    form: FormatOption = "table",
) -> None:
    """Non-Western countries with most international papers, each with its first three partners."""
    _answer(
        release, form, lambda of: countries.non_western(of, of.slice(corpus, policy, field, first, last), top, bloc)
    )


@command(ask_app, "share")
def share(
    a: Annotated[str, typer.Option("--a", help="A country: code or name, such as CZ or Czech Republic.")],
    b: Annotated[str, typer.Option("--b", help="Another.")],
    corpus: CorpusOption = "openalex",
    policy: Annotated[str | None, typer.Option(help="One territory policy; default: each of them.")] = None,
    field: FieldOption = "ai",
    venues: Annotated[bool, typer.Option("--venues", help="Every venue of the corpus instead of one field.")] = False,
    first: FromOption = None,
    last: ToOption = None,
    release: ReleaseOption = None,
    form: FormatOption = "table",
) -> None:
    """Two countries' share of the papers of a venue or field, by year and policy, with bounds."""

    def ask(of: Release) -> Answer:
        every = [of.check("policy", policy)] if policy else [name for name in of.names("policy") if _has(name, a, b)]
        shown = every or of.names("policy")[:1]  # no policy tells them apart: the error of the first says so
        fields = of.venues(corpus, first, last) if venues else [field]
        return pairs.joint_share(of, [of.slice(corpus, shown[0], name, first, last) for name in fields], a, b, shown)

    _answer(release, form, ask)


@command(ask_app, "partners")
def partners(
    country: Annotated[str, typer.Option(help="A country: code or name, such as CZ or Czech Republic.")],
    corpus: CorpusOption = "openalex",
    policy: PolicyOption = "iso",
    field: FieldOption = "ai",
    first: FromOption = None,
    last: ToOption = None,
    top: TopOption = 10,
    per_year: Annotated[bool, typer.Option("--per-year", help="Year by year instead of over the span.")] = False,
    release: ReleaseOption = None,
    form: FormatOption = "table",
) -> None:
    """One country's partners by joint papers, with rank and relative intensity (RIC)."""
    ask = countries.partners_by_year if per_year else countries.partners
    _answer(release, form, lambda of: ask(of, of.slice(corpus, policy, field, first, last), country, top))


@command(ask_app, "pair")
def pair(
    a: Annotated[str, typer.Option("--a", help="A country: code or name, such as CZ or Czech Republic.")],
    b: Annotated[str, typer.Option("--b", help="Another.")],
    corpus: CorpusOption = "openalex",
    policy: PolicyOption = "iso",
    field: Annotated[str | None, typer.Option(help="One field; default: every field that has papers.")] = None,
    first: FromOption = None,
    last: ToOption = None,
    release: ReleaseOption = None,
    form: FormatOption = "table",
) -> None:
    """One pair by field and year, with Salton's measure and the NSF collaboration index."""

    def ask(of: Release) -> Answer:
        span = of.slice(corpus, policy, field or "ai", first, last)
        fields = [field] if field else [name for name in of.names("field") if of.has_works(corpus, policy, name)]
        slices = [Slice(corpus, policy, name, span.first, span.last) for name in fields]
        return pairs.pair_by_field(of, slices, a, b)

    _answer(release, form, ask)


@command(ask_app, "changes")
def changes(
    corpus: CorpusOption = "openalex",
    policy: PolicyOption = "iso",
    field: FieldOption = "ai",
    of: Annotated[str, typer.Option(help="Cells of what: " + ", ".join(sorted(events.AGGREGATES)))] = "pair",
    top: TopOption = 20,
    release: ReleaseOption = None,
    form: FormatOption = "table",
) -> None:
    """What moved since the release before, and why."""
    _answer(release, form, partial(events.changes, corpus=corpus, policy=policy, field=field, aggregate=of, top=top))


@command(ask_app, "flows")
def flows(
    country: Annotated[str, typer.Option(help="A country: code or name, such as CZ or Czech Republic.")],
    corpus: CorpusOption = "openalex",
    policy: PolicyOption = "iso",
    field: FieldOption = "ai",
    first: FromOption = None,
    last: ToOption = None,
    top: TopOption = 10,
    release: ReleaseOption = None,
    form: FormatOption = "table",
) -> None:
    """Whom a country's papers cite, and who cites them."""
    _answer(release, form, lambda of: events.flows(of, of.slice(corpus, policy, field, first, last), country, top))


@command(ask_app, "mentions")
def mentions(
    country: Annotated[str, typer.Option(help="A country: code or name, such as CZ or Czech Republic.")],
    mention: Annotated[str | None, typer.Option(help="What is named, such as qwen; default: everything.")] = None,
    partner: Annotated[str | None, typer.Option("--with", help="Only papers with this country too.")] = None,
    corpus: CorpusOption = "openalex",
    policy: PolicyOption = "iso",
    field: FieldOption = "ai",
    first: FromOption = None,
    last: ToOption = None,
    release: ReleaseOption = None,
    form: FormatOption = "table",
) -> None:
    """Papers of a country, or of two, that name a model, library or method."""

    def ask(of: Release) -> Answer:
        return events.mentions(of, of.slice(corpus, policy, field, first, last), mention, country, partner)

    _answer(release, form, ask)


def _has(policy: str, a: str, b: str) -> bool:
    """Whether a policy knows both countries as themselves, and apart."""
    try:
        pairs.two_countries(a, b, policy)
    except UsageError:
        return False
    return True


def _answer(release_id: str | None, form: str, ask: Callable[[Release], Answer]) -> None:
    """Ask the release and print the answer."""
    closest("--format", form, list(FORMATS))
    with open_release(load_settings(), release_id) as release:
        found = ask(release)
    if form == "csv":
        write_csv(sys.stdout, found.columns, found.rows)
    elif form == "json":
        rows = [dict(zip(found.columns, map(_plain, row), strict=True)) for row in found.rows]
        document = {"title": found.title, "notes": found.notes, "rows": rows}
        print(json.dumps(document, indent=1))  # noqa: T201 (a document, not a message)
    else:
        show.answer(console, found)


def _plain(value: object) -> object:
    return float(value) if isinstance(value, Decimal) else value
