"""Commands that look and change nothing: status, report, check, quarantine list and show, dictionary."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.commands.base import app, command, complain, console, quarantine_app
from flows.show import report as show_report
from flows.show import status as show_status
from flows.show import tables as show
from schemas.errors import CollabError, NoWarehouse, UsageError
from schemas.fields import load_definitions
from schemas.settings import Settings, load_settings
from schemas.words import counted
from tasks.reading.quarantine import find_record, open_records
from tasks.releases.dictionary import render_dictionary
from tasks.releases.report import read_report
from tasks.sources.openalex_client import ask_allowance
from tasks.sources.openalex_snapshot import open_snapshot
from tasks.sources.venue_list import try_files
from tasks.storage.warehouse import Warehouse, utc_now
from tasks.upkeep.status import read_status


@command(app, "status")
def status() -> None:
    """Freshness, last runs and batches, broken rules, quarantine.

    Exit 1 when a run failed, was killed or interrupted, when nothing is loaded, or when anything is stale, stopped,
    unfinished, unpublished or not decided by the definitions in force.
    """
    settings = load_settings()
    with Warehouse.open(settings, create=False) as warehouse, warehouse.reading() as conn:
        found = read_status(conn, settings, utc_now())
    show_status.status(console, found, settings)
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
    show_report.report(console, found)


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
