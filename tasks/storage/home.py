"""Which warehouse the files in a COLLAB_HOME belong to.

Landed windows, what batches replaced and releases are one warehouse's own: another one would take them for leftovers of
killed runs, or write its own over them, and `collab undo` would find nothing. So a run notes its warehouse in its home,
and every command refuses a home in which another one is noted. One that lies at the same address stands in the place of
the noted one: that was removed and begun anew, or a copy of it was restored. Several homes may serve one warehouse.
"""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from schemas import tables as t
from schemas.errors import UNREADABLE_JSON, UsageError
from schemas.settings import Settings
from tasks.storage.engines import backend_for

NOTE = "belongs-to.json"


class Owner(msgspec.Struct, frozen=True):
    """The warehouse that a home belongs to: its id in ops.meta, and where it lies (Backend.address)."""

    warehouse_id: str
    address: str


def check_home(conn: Connection, settings: Settings, *, is_run: bool) -> None:
    """Compare the home with the warehouse.

    Args:
        is_run: note the warehouse in the home.

    Raises:
        UsageError: the home belongs to another warehouse, or cannot be written.
    """
    warehouse_id = conn.scalar(sa.select(t.meta.c.value).where(t.meta.c.name == "warehouse_id"))
    if warehouse_id is None:  # made by a release that gave none
        return
    note, ours = (
        settings.home / NOTE,
        Owner(warehouse_id, backend_for(settings.url).address(settings.url, settings.home)),
    )
    noted = _read(note)
    if noted and noted.warehouse_id != ours.warehouse_id and noted.address != ours.address:
        raise UsageError(
            f"{settings.home} belongs to the warehouse {noted.address}, not to {ours.address}:"
            " they would remove each other's files",
            f"set COLLAB_HOME to a folder of its own, or remove {note} if {noted.address} is no longer used",
        )
    if is_run and noted != ours:
        _write(note, ours)


def _read(note: Path) -> Owner | None:
    try:
        return msgspec.json.decode(note.read_bytes(), type=Owner)
    except FileNotFoundError:
        return None
    except UNREADABLE_JSON as exc:
        raise UsageError(f"{note} cannot be read: {exc}", "mend or remove it: the next run writes it anew") from None


def _write(note: Path, owner: Owner) -> None:
    aside = note.with_name(f".{uuid4().hex[:12]}.tmp")  # of its own: two first runs may go side by side
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(msgspec.json.encode(owner) + b"\n")
        aside.replace(note)  # at once: a run may be killed here
    except OSError as exc:
        raise UsageError(
            f"cannot write {note}: {exc.strerror}", "free space, or set COLLAB_HOME to a folder you may write"
        ) from None
