"""Commands about countries: why a work counts for one, what a string says, corrections, ROR, deciding again."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Connection, Select

from flows.commands.base import app, command, console, log_to_stderr, override_app, ror_app
from flows.show import places as show_places
from schemas.errors import UsageError
from schemas.overrides import parse_overrides, shipped_overrides
from schemas.settings import Settings, load_settings
from tasks.batches.relocate import Relocated, put_in_force, relocate, works_concerned, works_of, works_without_country
from tasks.countries.explain import read_explanation
from tasks.countries.locate import Locator
from tasks.countries.registry import read_stored_overrides, reference_at_hand, replace_organizations, replace_overrides
from tasks.releases.publish import publish as write_release
from tasks.sources.files import refuse_unless_regular
from tasks.sources.ror_dump import read_dump
from tasks.storage.warehouse import Warehouse
from tasks.storage.workspace import Workspace


@command(app, "explain")
def explain(
    work_id: Annotated[str, typer.Argument(help="Id of a work, such as W2741809807.")],
    every: Annotated[bool, typer.Option("--all", help="All rows of a work with many authors.")] = False,
) -> None:
    """Why a work counts for its countries: what policies make of it; per author string, institution, country, why."""
    with Warehouse.open(load_settings(), create=False) as warehouse, warehouse.reading() as conn:
        found = read_explanation(conn, work_id)
    show_places.explanation(console, found, most=len(found.affiliations) + 1 if every else show_places.MOST_ROWS)


@command(app, "locate")
def locate(
    strings: Annotated[
        list[str] | None, typer.Argument(help="Affiliation strings; default: one a line from stdin.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """What affiliation strings say by themselves, with the rule, the words that decided and the confidence.

    ROR and corrections that were loaded take part. A stored work may count otherwise, by its linked institution.
    """
    settings = load_settings()
    if not strings and isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")
    lines = (line.rstrip("\n") for line in sys.stdin) if not strings else iter(strings)
    locator = Locator(reference_at_hand(settings))
    if as_json:
        for line in lines:
            console.out(show_places.as_json(line, locator.locate_string(line)), highlight=False)
    else:
        show_places.strings(console, ((line, locator.locate_string(line)) for line in lines))


@command(app, "relocate")
def relocate_all() -> None:
    """Decide the countries of every stored work again and publish: after an upgrade that brings new rules."""
    settings = load_settings()
    with log_to_stderr(), Warehouse.open(settings, create=False) as warehouse:
        _say_relocated(warehouse, settings, relocate(warehouse, settings, on_works=_say_works))


@command(ror_app, "update")
def ror_update(
    dump: Annotated[str, typer.Argument(help="Release of ROR: zip, JSON or JSON lines; file, s3://... or https://...")],
) -> None:
    """Load a release of ROR (from its community on Zenodo), decide again the works that it can change, and publish.

    Before the first run it makes the warehouse, so that the first load is decided with it.
    """
    settings = load_settings()
    with log_to_stderr(), Workspace(settings.staging) as workspace:
        read = read_dump(dump, workspace.folder)  # first: a file that cannot be read makes no warehouse
    show_places.dump(console, read)
    with log_to_stderr(), Warehouse.open(settings) as warehouse:

        def change(conn: Connection) -> Callable[[Connection], Select[Any]] | None:
            if replace_organizations(conn, read.organizations, read.name):
                return lambda _: works_without_country()
            console.print("these organisations are in force already")
            return None

        done = put_in_force(warehouse, settings, change, cause=f"ROR {read.name}", on_works=_say_works)
        _say_relocated(warehouse, settings, done)


@command(override_app, "apply")
def override_apply(
    file: Annotated[
        Path,
        typer.Argument(help="CSV with the columns kind (institution, string), key, country, reason, source, date."),
    ],
) -> None:
    """Make the corrections of a file the ones in force, decide the works concerned again, and publish.

    The file is the whole list: earlier corrections that are not in it are withdrawn. Before the first run it makes the
    warehouse, so that the first load is decided with them.
    """
    settings = load_settings()
    try:
        refuse_unless_regular(file)
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        cause = getattr(exc, "strerror", None) or "it is not UTF-8"
        raise UsageError(f"cannot read {file}: {cause}", "give a CSV of corrections, saved as UTF-8") from None
    overrides = parse_overrides(text, file.name)
    with log_to_stderr(), Warehouse.open(settings) as warehouse:

        def change(conn: Connection) -> Callable[[Connection], Select[Any]] | None:
            replaced = replace_overrides(conn, overrides)
            show_places.replaced(console, replaced, [one for one in replaced.added if not works_of(conn, one)])
            return (lambda conn: works_concerned(conn, replaced.concerned)) if replaced.concerned else None

        done = put_in_force(warehouse, settings, change, cause=f"corrections {file.name}", on_works=_say_works)
        _say_relocated(warehouse, settings, done)


@command(override_app, "list")
def override_list() -> None:
    """Corrections in force: those of users, then those that ship with the package."""
    with Warehouse.open(load_settings(), create=False) as warehouse, warehouse.reading() as conn:
        show_places.overrides(console, read_stored_overrides(conn), shipped_overrides())


def _say_works(done: int, every: int) -> None:
    logging.getLogger("collab").info("%s of %s works decided again", f"{done:,}", f"{every:,}")


def _say_relocated(warehouse: Warehouse, settings: Settings, done: Relocated) -> None:
    release = write_release(warehouse, settings)  # also what a killed command left unpublished
    told = f"{done.looked_at:,} works looked at, {done.changed:,} changed"
    console.print(f"{told}; release {release.release_id}" if release else told, markup=False, highlight=False)
    if done.changed:
        console.print("`collab undo` takes back only what is loaded from now on", style="yellow", soft_wrap=True)
