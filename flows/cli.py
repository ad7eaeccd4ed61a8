"""The command line.

Each command calls exactly what the schedule calls; expected failures are one line and an exit code (design section 9).
"""

from __future__ import annotations

import logging
import sys
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

import flows.ask_commands
import flows.country_commands
import flows.deploy_commands
import flows.export_commands
import flows.recover_commands  # noqa: F401
from flows import show
from flows.commands import all_is_written, app, command, complain, console, log_to_stderr, quarantine_app
from flows.interrupts import interrupts, start_temporary_server
from flows.lost_server import lost_server
from flows.progress import progress_for_this_terminal
from flows.steps import (
    BACKFILL,
    NIGHTLY,
    RESCAN,
    RETRY,
    SOURCES,
    directly,
    opening_of,
    run_night,
    run_retry,
    with_night,
)
from schemas.errors import CollabError, NoWarehouse, UsageError
from schemas.fields import load_definitions
from schemas.settings import Settings, load_settings, quieten_prefect
from schemas.words import counted
from tasks import migrate
from tasks import verify as tables
from tasks.definitions import is_outdated
from tasks.dictionary import render_dictionary
from tasks.harvest import ApiIntake
from tasks.intake import Opening, SnapshotIntake
from tasks.ledger import WAREHOUSE
from tasks.list_intake import ListIntake
from tasks.night import Night
from tasks.publish import publish as write_release
from tasks.quarantine import find_record, open_records
from tasks.rederive import rederive
from tasks.report import read_report, read_status
from tasks.runs import Begun, recorded_alone
from tasks.sample import write_sample
from tasks.sources.openalex_api import refuse_unless_past
from tasks.sources.openalex_client import ask_allowance, read_key
from tasks.sources.openalex_snapshot import open_snapshot
from tasks.sources.venue_list import try_files
from tasks.warehouse import Warehouse, utc_now

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
    opening_of(source, last)  # a wrong one is said before anything is made
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
        _show_plan(settings, opening_of(source, last))
        return
    for night in nights:
        line = _run_flow(
            NIGHTLY,
            no_prefect,
            source=source,
            snapshot=snapshot,  # what the environment says is no parameter: Prefect keeps those
            until=night,
            venue_list=venue_list,
            venue_corpus=corpus,
        )
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
    opening_of(source, rescan_days=unseen_days)
    load_settings(snapshot=snapshot)  # a wrong one is said before Prefect is started
    console.print(
        _run_flow(RESCAN, no_prefect, source=source, snapshot=snapshot, unseen_days=unseen_days),
        markup=False,
        highlight=False,
    )


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
    settings = load_settings()
    read_key(settings)
    if dry_run:
        _show_plan(settings, opening_of(ApiIntake.source, backfill=days))
        return
    line = _run_flow(BACKFILL, no_prefect, first=days[0], last=days[1])
    console.print(line, markup=False, highlight=False)


def _show_plan(settings: Settings, opening: Opening) -> None:
    with log_to_stderr(), Night(settings, opening) as night:
        windows = night.plan()
        expected = night.intake.estimate(windows)
        show.plan(console, len(windows), expected, settings, night.intake.describe())


def _run_flow(name: str, no_prefect: bool, **parameters: Any) -> str:
    """Run a flow with or without Prefect; a failure comes back as the error that caused it."""
    with log_to_stderr(), interrupts():
        if no_prefect:
            if name == BACKFILL:
                parameters = {"source": ApiIntake.source, "backfill": (parameters["first"], parameters["last"])}
            if name == RESCAN:
                parameters["rescan_days"] = parameters.pop("unseen_days")
            return with_night(run_retry if name == RETRY else run_night, directly, flow=name, **parameters)
        quieten_prefect()
        logging.getLogger("collab").info("starting Prefect; --no-prefect does without")
        from prefect import tags

        from flows import (  # these import Prefect, which takes seconds: not for the other commands
            backfill,
            nightly,
            rescan,
        )
        from flows.deployed import TAG

        flows: dict[str, Any] = {
            NIGHTLY: nightly.nightly,
            RETRY: nightly.quarantine_retry,
            BACKFILL: backfill.backfill,
            RESCAN: rescan.rescan,
        }
        start_temporary_server()
        with lost_server(), tags(TAG):
            return str(flows[name](**parameters))


@command(app, "verify")
def verify() -> None:
    """Compare the tables with their rebuild and with the ledger; exit 1 on any difference."""
    settings = load_settings()
    with (
        Warehouse.open(settings, create=False, reads_all=True) as warehouse,
        recorded_alone(warehouse, settings, Begun("verify", WAREHOUSE, "collab verify")),
    ):
        with warehouse.reading() as conn:
            findings = tables.verify(conn)
        show.findings(console, findings)
        tables.refuse_differences(findings)


@command(app, "rebuild")
def rebuild() -> None:
    """Count the mart again from the stored works; differences go to the ledger with reason `definition`.

    After a change of definitions (fields, mentions, policies, blocs) works are decided again first, from landed records
    where they are still there; where not, the command is named that reads them again.
    """
    settings = load_settings()
    with (
        log_to_stderr(),
        Warehouse.open(settings, create=False, reads_all=True, any_definitions=True) as warehouse,
    ):
        with warehouse.reading() as conn:
            is_other = is_outdated(conn)
        if is_other:
            with progress_for_this_terminal() as progress:
                done = rederive(warehouse, settings, progress.start, progress.advance)
            show.rederived(console, done)
            changed = done.cells
        else:
            with warehouse.transaction() as conn:
                changed = tables.rebuild(conn)
    differed = ", ".join(f"{name} {count}" for name, count in changed.items())
    console.print(f"rebuilt; cells that differed: {differed}; `collab publish` brings it to readers", soft_wrap=True)


@command(app, "upgrade")
def upgrade() -> None:
    """Bring a warehouse that an older release made up to date, in place; also renews the grants of roles."""
    settings = load_settings()
    with (
        log_to_stderr(),
        Warehouse.connect(settings, create=False) as warehouse,
        warehouse.transaction("upgraded") as conn,
    ):
        before, after = migrate.upgrade(conn)
    done = f"upgraded from version {before} to {after}" if before != after else f"already of version {after}"
    console.print(f"warehouse {done}")


@command(app, "publish")
def publish() -> None:
    """Write a release and make it current."""
    settings = load_settings()
    with Warehouse.open(settings, create=False) as warehouse:
        release = write_release(warehouse, settings, force=True)
    if release is None:
        raise UsageError("nothing has been loaded yet", "`collab run` loads and publishes")
    console.print(f"release {release.release_id} in {release.folder}", markup=False, highlight=False, soft_wrap=True)


@command(app, "status")
def status() -> None:
    """Freshness, last runs and batches, broken rules, quarantine.

    Exit 1 when a run failed, was killed or interrupted, when nothing is loaded, or when anything is stale, stopped,
    unfinished, unpublished or not decided by the definitions in force.
    """
    settings = load_settings()
    with Warehouse.open(settings, create=False) as warehouse, warehouse.reading() as conn:
        found = read_status(conn, settings, utc_now())
    show.status(console, found, settings)
    if not found.is_good:
        raise typer.Exit(1)


@command(app, "report")
def report(
    field: Annotated[str, typer.Option(help="Field of research, such as ai or healthcare.")] = "ai",
    corpus: Annotated[str | None, typer.Option(help="openalex, or the corpus of a venue list.")] = None,
) -> None:
    """What the tables say: counts per batch, top countries and pairs, what changed and why, where the release lies."""
    if field not in load_definitions().names:
        raise UsageError(f"unknown field {field!r}", "known: " + ", ".join(load_definitions().names))
    settings = load_settings()
    with Warehouse.open(settings, create=False) as warehouse, warehouse.reading() as conn:
        found = read_report(conn, settings, field, corpus)
    show.report(console, found)


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


@command(app, "dictionary")
def dictionary(
    write: Annotated[Path | None, typer.Option(help="Write it to this file instead of printing it.")] = None,
) -> None:
    """The data dictionary: every table and column, with its rule and unit."""
    if write is None:
        sys.stdout.write(render_dictionary())
    else:
        try:
            write.write_text(render_dictionary(), encoding="utf-8")
        except OSError as exc:
            raise UsageError(f"cannot write {write}: {exc.strerror}", "give a file that you may write") from None


@command(app, "check")
def check() -> None:
    """Settings in force (secrets masked) and whether warehouse and sources can be opened; exit 1 if one cannot."""
    settings = load_settings()
    show.settings(console, settings)
    if not settings.snapshot and not settings.openalex_api_key and not settings.venue_list:
        console.print("no source; `collab run` needs COLLAB_SNAPSHOT or COLLAB_OPENALEX_API_KEY", style="yellow")
    is_well = True
    for look in (_look_at_snapshot, _look_at_api, _look_at_list, _look_at_warehouse):  # one that fails hides no other
        try:
            look(settings)
        except NoWarehouse as none_yet:
            console.print(str(none_yet), style="yellow", markup=False, soft_wrap=True)
        except CollabError as exc:
            complain(f"collab check: {exc}")
            is_well = False
    if not is_well:
        raise typer.Exit(1)


def _look_at_snapshot(settings: Settings) -> None:
    if settings.snapshot:
        parts = open_snapshot(settings).read_manifest()
        records = sum(part.records for part in parts)
        console.print(f"snapshot: {len(parts)} parts, {records:,} records, {parts[0].day} to {parts[-1].day}")


def _look_at_api(settings: Settings) -> None:
    if settings.openalex_api_key:
        told = ask_allowance(settings)
        console.print(
            f"OpenAlex API: {told.remaining:,} of {told.limit:,} credits left today;"
            f" COLLAB_OPENALEX_DAILY_CREDITS allows {settings.openalex_daily_credits:,}"
        )


def _look_at_list(settings: Settings) -> None:
    if settings.venue_list:
        files = try_files(settings)
        console.print(f"venue list: {counted(files, 'file')} can be read")


def _look_at_warehouse(settings: Settings) -> None:
    with Warehouse.connect(settings, create=False) as warehouse:
        show.properties(console, warehouse.properties())
        warehouse.check(settings)


@command(quarantine_app, "list")
def quarantine_list() -> None:
    """Open records, newest first."""
    with Warehouse.open(load_settings(), create=False) as warehouse, warehouse.reading() as conn:
        show.quarantine(console, open_records(conn))


@command(quarantine_app, "show")
def quarantine_show(key: Annotated[str, typer.Argument(help="Key from `collab quarantine list`.")]) -> None:
    """One record, whole, with what was wrong."""
    with Warehouse.open(load_settings(), create=False) as warehouse, warehouse.reading() as conn:
        show.quarantined(console, find_record(conn, key))


@command(quarantine_app, "retry")
def quarantine_retry(no_prefect: PlainOption = False) -> None:
    """Process the open records again, after a fix."""
    console.print(_run_flow(RETRY, no_prefect))


def main() -> None:
    """Entry point of the `collab` script."""
    with all_is_written():
        app()


if __name__ == "__main__":
    main()
