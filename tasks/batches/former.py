"""What a batch replaces, written beside its landed records before it is replaced: `collab undo` puts it back.

Raw records of what was stored before may be years old and long pruned, so the rows themselves are kept, only those that
the batch changes. Folder `before/<batch>` of the landing holds one Parquet file per table and a manifest with the
digest of each; it is whole or not there. Files: the tables of a work, and

    version     the versions that the batch brought newer than those seen
    blocked     blocks that it overtakes: `collab prune` removes them
    lifted      blocks that it was loaded to lift, if it releases a batch
    seen        what was seen of their works before
    arrived     works that were not stored before
    described   institutions that the batch describes anew; `institution` holds how they were described
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection, Select

from schemas import tables as t
from schemas.errors import UNREADABLE_JSON, LandingError, UndoRefused
from schemas.reviewed import counting_digest
from schemas.settings import Settings
from schemas.staging import arrow_type
from tasks.countries.registry import rules_in_force
from tasks.landing.land import file_sha256
from tasks.storage.warehouse import export_parquet

FOLDER, MANIFEST = "before", "manifest.json"
TABLES = {
    "version": (t.seen.c.work_id, t.seen.c.source_updated_at, t.seen.c.tie_hash),
    "arrived": (t.work.c.work_id,),
    "described": (t.institution.c.institution_id,),
    "lifted": tuple(t.blocked.columns),
    **{table.name: tuple(table.columns) for table in (t.blocked, t.seen, t.institution, *t.CORE)},
}


class Manifest(msgspec.Struct, frozen=True):
    """What lies in a folder: when its batch was committed, rules and reference data that countries were decided by, the
    definitions that works were counted by, and the digest of each file."""

    finished_at: datetime
    located_by: str
    counted_by: str
    sha256: dict[str, str]


def folder_of(settings: Settings, landing_uri: str, batch_id: str) -> Path:
    """Where it is kept what a batch replaced."""
    return settings.landing / landing_uri / FOLDER / batch_id.replace("/", "~")


class Former(AbstractContextManager["Former"]):
    """Collects what a batch is about to replace, inside its transaction. What was not closed is removed at the end."""

    def __init__(self, conn: Connection, folder: Path) -> None:
        """Make a folder aside.

        Raises:
            LandingError: it cannot be written; so for each method.
        """
        self._conn, self._folder = conn, folder
        self._aside = folder.with_name(f".{folder.name}.tmp")
        with _writing(folder):
            shutil.rmtree(self._aside, ignore_errors=True)  # of an attempt that was killed
            self._aside.mkdir(parents=True)

    def __exit__(self, *exc: object) -> None:
        shutil.rmtree(self._aside, ignore_errors=True)

    def keep(self, name: str, query: Select[Any]) -> None:
        """Write the rows of a query, unless there are none."""
        file = self._aside / f"{name}.parquet"
        with _writing(self._folder):
            if not export_parquet(self._conn, query, file):
                file.unlink(missing_ok=True)

    def close(self, finished_at: datetime) -> None:
        """Put everything in its place; call it last before the commit.

        Args:
            finished_at: of the batch. A commit that fails after this leaves a folder that nobody may use: the batch may
                be loaded elsewhere, or with COLLAB_UNDO_DAYS at 0, over other rows.
        """
        with _writing(self._folder):
            digests = {file.name: file_sha256(file) for file in sorted(self._aside.iterdir())}
            manifest = Manifest(finished_at, rules_in_force(self._conn), counting_digest(), digests)
            (self._aside / MANIFEST).write_bytes(msgspec.json.encode(manifest))
            shutil.rmtree(self._folder, ignore_errors=True)
            self._aside.rename(self._folder)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise LandingError(
            f"cannot keep in {folder} what a batch replaces: {exc.strerror or exc}",
            "free space or mend permissions, then run again",
        ) from None


def read_manifest(folder: Path, batch_id: str, finished_at: datetime, hint: str) -> Manifest:
    """Manifest of what a batch replaced, every file compared with its digest.

    Args:
        hint: where it may be, if it is not here.

    Raises:
        UndoRefused: it is gone or damaged, or of another attempt to load the batch.
    """
    gone = f"what {batch_id} replaced is not in {folder.parent.parent}"
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
        damaged = [name for name, digest in manifest.sha256.items() if file_sha256(folder / name) != digest]
    except FileNotFoundError:
        raise UndoRefused(gone, hint) from None
    except UNREADABLE_JSON as exc:
        raise UndoRefused(f"what {batch_id} replaced cannot be read: {exc}", hint) from None
    if manifest.finished_at != finished_at:
        raise UndoRefused(gone, hint)
    if damaged:
        raise UndoRefused(f"what {batch_id} replaced was changed since: {', '.join(damaged)}", hint)
    return manifest


def read_former(folder: Path) -> dict[str, pa.Table]:
    """Tables by name, as declared, those without a file empty."""
    found = {}
    for name, columns in TABLES.items():
        schema = pa.schema([pa.field(c.name, arrow_type(c.type)) for c in columns])
        file = folder / f"{name}.parquet"
        found[name] = pq.read_table(file).select(schema.names).cast(schema) if file.exists() else schema.empty_table()
    return found
