"""Commands of a maintainer: take batches back, let them in again, remove what is old."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands.base import app, command, console, log_to_stderr
from schemas.errors import CollabError, ConnectionLost, UsageError
from schemas.settings import Settings, load_settings
from tasks.batches.undo import Undone, release, undo
from tasks.releases.publish import publish
from tasks.storage.warehouse import Warehouse
from tasks.upkeep.retention import prune


@command(app, "undo")
def undo_batch(
    batch: Annotated[str, typer.Argument(help="Batch to take back, as `collab status` names it.")],
    with_later: Annotated[
        bool, typer.Option("--with-later", help="Take back the batches loaded after it too, newest first.")
    ] = False,
    let_in: Annotated[
        bool,
        typer.Option("--release", help="Let the versions of a batch that was undone in again, and load them."),
    ] = False,
) -> None:
    """Take the last batch back: tables and release are as before it, its versions stay out until newer ones come."""
    if with_later and let_in:
        raise UsageError("--release concerns one batch", "leave --with-later out")
    settings = load_settings()
    with log_to_stderr(), Warehouse.open(settings, create=False) as warehouse:
        if let_in:
            _let_in(warehouse, settings, batch)
        else:
            _take_back(warehouse, settings, batch, with_later=with_later)
        _publish(warehouse, settings)


def _take_back(warehouse: Warehouse, settings: Settings, batch: str, *, with_later: bool) -> None:
    """Undo batches; if one of them cannot be, those before it are, and readers get what is left."""
    done: list[Undone] = []

    def say(one: Undone) -> None:
        done.append(one)
        _say(one)

    try:
        undo(warehouse, settings, batch, with_later=with_later, on_batch=say)
    except ConnectionLost:
        raise  # nothing can be published either; `collab status` says so
    except CollabError:
        if done:
            _publish(warehouse, settings)
        raise
    if not done:
        _print(f"{batch} was undone before; `collab undo {batch} --release` lets its versions in again")


def _publish(warehouse: Warehouse, settings: Settings) -> None:
    publish(warehouse, settings)
    current = settings.published / "current"
    _print(f"current release: {current.resolve().name if current.exists() else 'none'}")


def _say(done: Undone) -> None:
    withdrawn = f"; withdrawn: release {', '.join(done.withdrawn)}" if done.withdrawn else ""
    _print(
        f"undone {done.batch_id}: {done.restored:,} works as before, {done.removed:,} removed,"
        f" {done.blocked:,} versions stay out{withdrawn}"
    )


def _let_in(warehouse: Warehouse, settings: Settings, batch: str) -> None:
    done = release(warehouse, settings, batch)
    if not done.versions:
        _print(f"{batch} was released before")
    elif done.outcome is None:
        _print(
            f"released {done.versions:,} versions; their landed records are gone: they come when the source sends them"
        )
    else:
        row = done.outcome.row
        loaded = f"{row['new']:,} new, {row['updated']:,} updated, in {row['batch_id']}"
        _print(f"released {done.versions:,} versions: {loaded}")


@command(app, "prune")
def prune_home() -> None:
    """Remove landed windows, releases, resolved records and notes of runs older than the settings ask to keep."""
    settings = load_settings()
    with Warehouse.open(settings, create=False) as warehouse:
        _print(prune(warehouse, settings).line())


def _print(line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
