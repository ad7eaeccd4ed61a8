"""Commands that bring works in: `collab run`, `backfill`, `rescan`, `quarantine retry`, with Prefect or without; and
`collab sample`, which makes a snapshot to try them on."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.commands.base import app, command, console, log_to_stderr, quarantine_app
from flows.interrupts import interrupts, start_temporary_server
from flows.lost_server import lost_server
from flows.show import tables as show
from flows.steps import (
    BACKFILL,
    NIGHTLY,
    RESCAN,
    RETRY,
    SOURCES,
    RunRequest,
    directly,
    run_night,
    run_retry,
    with_night,
)
from schemas.errors import UsageError
from schemas.settings import Settings, load_settings, quieten_prefect
from tasks.landing.harvest import ApiIntake
from tasks.landing.intake import SnapshotIntake
from tasks.landing.list_intake import ListIntake
from tasks.night import Night
from tasks.sample.snapshot import write_sample
from tasks.sources.openalex_api import refuse_unless_past
from tasks.sources.openalex_client import read_key
from tasks.sources.openalex_snapshot import open_snapshot
from tasks.storage.warehouse import utc_now

SnapshotOption = Annotated[
    str | None,
    typer.Option(help="Root of an OpenAlex snapshot: folder, s3://bucket or https://. Default: COLLAB_SNAPSHOT."),
]
DryOption = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Print windows, expected calls and time, fetch nothing (counting new windows costs a credit or two).",
    ),
]
PlainOption = Annotated[bool, typer.Option("--no-prefect", help="Run the same steps without Prefect.")]
OPTIONS_OF = {SnapshotIntake.source: ("snapshot", "each_night"), ListIntake.source: ("list", "corpus")}


def _day(text: str, option: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option}: {text!r} is not a date", "write it as 2026-11-22") from None


@command(app, "run")
def run(
    source: Annotated[str, typer.Option(help="Where works come from: " + ", ".join(SOURCES))] = SnapshotIntake.source,
    snapshot: SnapshotOption = None,
    venue_list: Annotated[
        str | None,
        typer.Option("--list", help="List of conference papers: JSON lines or CSV; file, folder or address."),
    ] = None,
    corpus: Annotated[
        str | None, typer.Option(help="Corpus that the list belongs to. Default: COLLAB_VENUE_CORPUS.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Newest partition date to take in, such as 2026-11-22.")] = None,
    each_night: Annotated[
        bool, typer.Option(help="One run per partition date, in order, as if run every night.")
    ] = False,
    dry_run: DryOption = False,
    no_prefect: PlainOption = False,
) -> None:
    """Take in what is new at the source and publish it."""
    last = _day(until, "--until") if until else None
    # What the environment says is not asked for: it would be a parameter, and Prefect keeps those.
    asked = RunRequest(source=source, snapshot=snapshot, until=last, venue_list=venue_list, venue_corpus=corpus)
    asked.opening()  # a wrong one is said before anything is made
    settings = load_settings(snapshot=snapshot, venue_list=venue_list, venue_corpus=corpus)
    _refuse_options_of_others(source, snapshot=snapshot, each_night=each_night, list=venue_list, corpus=corpus)
    nights: list[date | None] = [last]
    if source == SnapshotIntake.source:
        read = open_snapshot(settings)
        if each_night:
            days = sorted({part.day for part in read.read_manifest()})
            nights = [day for day in days if last is None or day <= last]
            if not nights:
                raise UsageError(f"no partition date up to {last}", f"the first one is {days[0]}")
    elif source == ApiIntake.source:
        read_key(settings)
    if dry_run:
        _show_plan(settings, asked)
        return
    for night in nights:
        line = _run(replace(asked, until=night), no_prefect)
        console.print(f"up to {night}: {line}" if night else line, markup=False, highlight=False)


def _refuse_options_of_others(source: str, **given: object) -> None:
    """Raise UsageError for an option that belongs to another source: it would be ignored."""
    for of, names in OPTIONS_OF.items():
        for name in names:
            if given[name] and source != of:
                option = f"--{name.replace('_', '-')}"
                raise UsageError(f"{option} belongs to source {of}", f"give --source {of}, or leave {option} out")


@command(app, "rescan")
def rescan(
    source: Annotated[str, typer.Option(help="openalex-api or openalex-snapshot.")] = SnapshotIntake.source,
    snapshot: SnapshotOption = None,
    unseen_days: Annotated[int, typer.Option(min=1, help="Leave out months looked at in so many days.")] = 7,
    no_prefect: PlainOption = False,
) -> None:
    """Look at everything stored again: every stored month of the live API, every part of a snapshot that the manifest
    describes otherwise. What was loaded before definitions changed is read whole."""
    if source == ListIntake.source:
        raise UsageError("a list is brought whole: there is no past to look at", "`collab run` brings it again")
    asked = RunRequest(RESCAN, source, snapshot, rescan_days=unseen_days)
    asked.opening()
    load_settings(snapshot=snapshot)  # a wrong one is said before Prefect is started
    console.print(_run(asked, no_prefect), markup=False, highlight=False)


@command(app, "backfill")
def backfill(
    first: Annotated[str, typer.Option("--from", help="A day of the first month to fetch, such as 2014-01-01.")],
    last: Annotated[str | None, typer.Option("--to", help="A day of the last month; default today.")] = None,
    dry_run: DryOption = False,
    no_prefect: PlainOption = False,
) -> None:
    """Fetch past months from the OpenAlex API, newest first; run it again until none is left."""
    today = utc_now().date()
    days = _day(first, "--from"), _day(last, "--to") if last else today
    refuse_unless_past(*days, today)
    asked = RunRequest(BACKFILL, ApiIntake.source, backfill=days)
    settings = load_settings()
    read_key(settings)
    if dry_run:
        _show_plan(settings, asked)
        return
    console.print(_run(asked, no_prefect), markup=False, highlight=False)


def _show_plan(settings: Settings, asked: RunRequest) -> None:
    with log_to_stderr(), Night(settings, asked.opening()) as night:
        windows = night.plan()
        expected = night.intake.estimate(windows)
        show.plan(console, len(windows), expected, settings, night.intake.describe())


def _run(asked: RunRequest, no_prefect: bool) -> str:
    """Do what is asked with or without Prefect; a failure comes back as the error that caused it."""
    with log_to_stderr(), interrupts():
        if no_prefect:
            return with_night(run_retry if asked.flow == RETRY else run_night, directly, asked)
        quieten_prefect()
        logging.getLogger("collab").info("starting Prefect; --no-prefect does without")
        from prefect import tags

        from flows import (  # these import Prefect, which takes seconds: not for the other commands
            backfill,
            nightly,
            rescan,
        )
        from flows.orchestration.deployed import TAG

        flows: dict[str, Any] = {
            NIGHTLY: nightly.nightly,
            RETRY: nightly.quarantine_retry,
            BACKFILL: backfill.backfill,
            RESCAN: rescan.rescan,
        }
        start_temporary_server()
        with lost_server(), tags(TAG):
            return str(flows[asked.flow](**asked.parameters()))


@command(quarantine_app, "retry")
def quarantine_retry(no_prefect: PlainOption = False) -> None:
    """Process the open records again, after a fix."""
    console.print(_run(RunRequest(RETRY), no_prefect))


@command(app, "sample")
def sample(
    folder: Annotated[Path, typer.Argument(help="Empty folder to write into.")],
    works: Annotated[int, typer.Option(min=1, help="Works in all.")] = 3000,
    days: Annotated[int, typer.Option(min=1, max=3_650, help="Nights over which they arrive and change.")] = 8,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 1,
) -> None:
    """Write a synthetic snapshot with updates, late versions, deletions and broken records."""
    try:
        made = write_sample(folder, works=works, days=days, seed=seed)
    except OSError as exc:
        raise UsageError(f"cannot write into {folder}: {exc.strerror}", "give a folder that you may write") from None
    console.print(
        f"{made.records:,} records over {len(made.days)} days ({made.days[0]} to {made.days[-1]}),"
        f" {made.deletions} deletions, in {folder}",
        markup=False,
    )
