"""Commands on a warehouse as a whole: verify, rebuild, upgrade, publish."""

from __future__ import annotations

from flows.commands.base import app, command, console, log_to_stderr
from flows.progress import progress_for_this_terminal
from flows.show import tables as show
from schemas.errors import UsageError
from schemas.settings import load_settings
from tasks.batches.rederive import rederive
from tasks.loading import verify as tables
from tasks.loading.ledger import WAREHOUSE
from tasks.releases.publish import publish as write_release
from tasks.storage.definitions import is_outdated
from tasks.storage.warehouse import Warehouse
from tasks.upkeep import migrate
from tasks.upkeep.runs import Begun, recorded_alone


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
