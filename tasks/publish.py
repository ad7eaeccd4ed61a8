"""Releases: a read-only copy of the mart with its definitions and quality report, switched to in one step.

`published/<release>/` holds `atlas.duckdb`, one Parquet file per table, the data dictionary and `manifest.json`;
`published/current` is a link that is replaced by rename. Readers open the copy, never the file that is written at
night; whoever holds an old release open keeps it.
Order: write aside, rename, write the release row, switch the link. A run killed in between leaves a folder without a
row, which the next removes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import sqlalchemy as sa
from sqlalchemy import Connection, Select

from schemas import tables as t
from schemas.errors import PublishError
from schemas.fields import load_definitions
from schemas.indices import VIEWS
from schemas.reviewed import definitions_digest
from schemas.settings import Settings
from schemas.territories import policies, territory_names
from tasks.dictionary import render_dictionary
from tasks.ledger import changes_since
from tasks.warehouse import Warehouse, code_version, export_parquet

DATABASE, MANIFEST, DICTIONARY = "atlas.duckdb", "manifest.json", "DICTIONARY.md"


@dataclass(frozen=True)
class Release:
    """A published release."""

    release_id: str
    folder: Path
    rows: dict[str, int]


def publish(warehouse: Warehouse, settings: Settings, *, force: bool = False) -> Release | None:
    """Publish the mart if a batch was committed since the last release, and remove releases beyond the newest
    `keep_releases`.

    Raises:
        PublishError: the folder cannot be written. The former release stays current.
    """
    try:
        return _publish(warehouse, settings, force)
    except OSError as exc:
        raise PublishError(
            f"cannot publish into {settings.published}: {exc.strerror or exc}",
            "free space or mend permissions, then `collab publish`",
        ) from None


def _publish(warehouse: Warehouse, settings: Settings, force: bool) -> Release | None:
    with warehouse.reading() as conn:
        last = conn.execute(
            sa.select(t.release).order_by(t.release.c.batches.desc(), t.release.c.published_at.desc()).limit(1)
        ).one_or_none()
        batches = conn.scalar(sa.select(sa.func.count()).select_from(t.batch)) or 0
        newest = conn.scalar(sa.select(t.batch.c.batch_id).order_by(t.batch.c.finished_at.desc()).limit(1))
        releases = conn.scalar(sa.select(sa.func.count()).select_from(t.release)) or 0
        if last is not None and (settings.published / last.release_id).exists():
            _switch(settings.published, last.release_id)  # a run killed just before the switch is made good here
            if last.batches == batches and not force:
                return None
        if newest is None:
            return None
        now = datetime.now(UTC)
        release_id = f"{now:%Y-%m-%d}.{releases + 1}"
        _remove_strays(settings.published, set(conn.scalars(sa.select(t.release.c.release_id))))
        folder = settings.published / f".{release_id}.tmp"
        folder.mkdir(parents=True)
        rows, digest = _write(conn, folder, release_id, last.published_at if last else None, now)
    target = settings.published / release_id
    folder.rename(target)
    with warehouse.transaction() as conn:
        row = {
            "release_id": release_id,
            "last_batch_id": newest,
            "batches": batches,
            "manifest_sha256": digest,
            "published_at": now.replace(tzinfo=None),
        }
        conn.execute(t.release.insert(), row)
    _switch(settings.published, release_id)
    _prune(warehouse, settings)
    return Release(release_id, target, rows)


def _queries(conn: Connection, since: datetime | None) -> dict[str, Select[Any]]:
    """What a release holds: the mart, its quality report, what changed since the former release, and the
    definitions behind it."""
    queries: dict[str, Select[Any]] = {
        mart.name: sa.select(mart).order_by(*(mart.c[name] for name in t.key_columns(mart))) for mart in t.MART
    }
    newest = sa.select(t.batch.c.batch_id).order_by(t.batch.c.finished_at.desc()).limit(30)
    queries["batch"] = sa.select(t.batch).order_by(t.batch.c.finished_at)
    queries["validation_result"] = sa.select(t.validation_result).where(t.validation_result.c.batch_id.in_(newest))
    queries["change"] = changes_since(since)
    return queries


def _write(
    conn: Connection, folder: Path, release_id: str, since: datetime | None, now: datetime
) -> tuple[dict[str, int], str]:
    rows = {
        name: export_parquet(conn, query, folder / f"{name}.parquet") for name, query in _queries(conn, since).items()
    }
    definitions = _definitions()
    with duckdb.connect(str(folder / DATABASE)) as atlas:
        for name in rows:
            source = str(folder / f"{name}.parquet").replace("'", "''")
            atlas.execute(f"CREATE TABLE {name} AS SELECT * FROM read_parquet('{source}')")
        atlas.execute("CREATE TABLE definition (kind VARCHAR, id VARCHAR, name VARCHAR, text VARCHAR)")
        atlas.executemany("INSERT INTO definition VALUES (?, ?, ?, ?)", definitions)
        atlas.execute("CREATE TABLE territory (code VARCHAR, name VARCHAR)")
        atlas.executemany("INSERT INTO territory VALUES (?, ?)", sorted(territory_names().items()))
        for name, view in VIEWS.items():
            atlas.execute(f"CREATE VIEW {name} AS {view.sql}")
        for table in t.MART:
            atlas.execute(f"COMMENT ON TABLE {table.name} IS {_quoted(table.comment or '')}")
            for column in table.columns:
                atlas.execute(f"COMMENT ON COLUMN {table.name}.{column.name} IS {_quoted(column.comment or '')}")
    (folder / DICTIONARY).write_text(render_dictionary(), encoding="utf-8")
    files = {path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)} for path in sorted(folder.iterdir())}
    failed = conn.execute(
        sa.select(t.validation_result.c.rule, t.validation_result.c.severity, sa.func.count().label("batches"))
        .where(t.validation_result.c.success.is_(False))
        .group_by(t.validation_result.c.rule, t.validation_result.c.severity)
        .order_by(t.validation_result.c.rule)
    ).all()
    manifest = {
        "release": release_id,
        "published_at": now.isoformat(timespec="seconds"),
        "code_version": code_version(),
        "definitions": {
            "digest": definitions_digest(),
            "fields": load_definitions().version,
            "policies": [policy.id for policy in policies()],
        },
        "rows": rows,
        "files": files,
        "batches": conn.scalar(sa.select(sa.func.count()).select_from(t.batch)),
        "rules_broken": [row._asdict() for row in failed],
    }
    raw = json.dumps(manifest, indent=1).encode()
    (folder / MANIFEST).write_bytes(raw)
    for path in folder.iterdir():
        path.chmod(0o444)
    return rows, hashlib.sha256(raw).hexdigest()


def _definitions() -> list[tuple[str, str, str, str]]:
    fields = load_definitions()
    rows = [
        ("field", field.id, field.name, "; ".join(f"{rule.id} ({rule.kind}): {rule.source}" for rule in field.rules))
        for field in fields.fields
    ]
    rows += [("policy", policy.id, policy.id, policy.text) for policy in policies()]
    rows += [("table", mart.name, mart.name, mart.comment or "") for mart in t.MART]
    return rows + [("view", name, name, view.text) for name, view in VIEWS.items()]


def _switch(published: Path, release_id: str) -> None:
    current, aside = published / "current", published / ".current.tmp"
    if current.is_symlink() and current.readlink() == Path(release_id):
        return
    aside.unlink(missing_ok=True)
    aside.symlink_to(release_id)
    aside.replace(current)


def _remove_strays(published: Path, known: set[str]) -> None:
    """Remove folders that no release row stands for: their run was killed."""
    for entry in published.iterdir() if published.exists() else ():
        if entry.is_dir() and not entry.is_symlink() and entry.name not in known:
            shutil.rmtree(entry)


def _prune(warehouse: Warehouse, settings: Settings) -> None:
    with warehouse.reading() as conn:
        old = list(
            conn.scalars(
                sa.select(t.release.c.release_id)
                .order_by(t.release.c.published_at.desc())
                .offset(settings.keep_releases)
            )
        )
    for release_id in old:
        shutil.rmtree(settings.published / release_id, ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
