"""Releases: a read-only copy of the mart with its definitions and quality report, switched to in one step.

`published/<release>/` holds `atlas.duckdb`, one Parquet file per table, files for other tools in `exports/`, the data
dictionary and `manifest.json`;
`published/current` is a link that is replaced by rename. Readers open the copy, never the file that is written at
night; whoever holds an old release open keeps it.
Order: write aside, rename, switch the link, commit the release row, remove what is not needed any more. A run killed in
between leaves a folder of this warehouse without a row, which the next replaces and removes; folders of others are left
alone.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import sqlalchemy as sa
from sqlalchemy import Connection, Select

from schemas import tables as t
from schemas.errors import UNREADABLE_JSON, PublishError
from schemas.fields import load_definitions
from schemas.indices import VIEWS
from schemas.mentions import load_mentions
from schemas.places.blocs import blocs
from schemas.places.evidence import RULES
from schemas.places.territories import native_names, policies, territory_names
from schemas.reviewed import code_version, definitions_digest
from schemas.settings import Settings
from tasks.countries.registry import describe_reference
from tasks.landing.land import file_sha256
from tasks.landing.undecided import read_undecided
from tasks.loading.ledger import changes_since, has_changed, next_moment, releases_in
from tasks.loading.source_days import newest_days
from tasks.releases.dictionary import render_dictionary
from tasks.releases.exports import write_exports
from tasks.releases.release import DATABASE, opened
from tasks.storage.definitions import PARTIAL, read_definitions
from tasks.storage.warehouse import Warehouse, export_parquet

log = logging.getLogger("collab")
BESIDE_MART = (t.batch, t.validation_result, t.bloc_member)  # what else a release holds as it is declared
MANIFEST, DICTIONARY, EXPORTS = "manifest.json", "DICTIONARY.md", "exports"


@dataclass(frozen=True)
class Release:
    """A published release."""

    release_id: str
    folder: Path
    rows: dict[str, int]


def publish(warehouse: Warehouse, settings: Settings, *, force: bool = False) -> Release | None:
    """Publish the mart if a cell, a definition or the code changed since the last release (in any case with `force`),
    and remove releases beyond the newest `keep_releases`.

    Raises:
        PublishError: the folder cannot be written. The former release stays current.
        WarehouseError: the warehouse cannot be read; likewise.
    """
    published = settings.published
    try:
        with warehouse.transaction("published") as conn:
            made = _make(conn, published, force)
        with warehouse.transaction("published") as conn:  # again alone: the newest release wins, whoever made it
            _settle(conn, settings)
    except OSError as exc:
        raise _cannot_publish(published, exc.strerror or str(exc)) from exc
    except duckdb.Error as exc:
        raise _cannot_publish(published, str(exc).splitlines()[0]) from exc
    return made


def _cannot_publish(published: Path, cause: str) -> PublishError:
    return PublishError(
        f"cannot publish into {published}: {cause}", "free space or mend permissions, then `collab publish`"
    )


def _make(conn: Connection, published: Path, force: bool) -> Release | None:
    """Write a release and its row, alone: no load commits between what is read here and `published_at`."""
    last = next(iter(releases_in(conn, published)), None)
    newest = conn.scalar(sa.select(t.batch.c.batch_id).order_by(t.batch.c.finished_at.desc()).limit(1))
    if newest is None or (last is not None and not force and _is_up_to_date(conn, last, published)):
        return None
    now = next_moment(conn).replace(tzinfo=UTC)
    release_id = _next_id(published, set(conn.scalars(sa.select(t.release.c.release_id))), now)
    folder, target = published / f".{release_id}.tmp", published / release_id
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows, digest = _write(conn, folder, release_id, last.published_at if last else None, now)
    folder.rename(target)
    row = {
        "release_id": release_id,
        "last_batch_id": newest,
        "manifest_sha256": digest,
        "definitions": definitions_digest(),
        "code_version": code_version(),
        "published_at": now.replace(tzinfo=None),
    }
    conn.execute(t.release.insert(), row)
    _switch(published, release_id)  # before the commit: a row says that readers have the release
    return Release(release_id, target, rows)


def _settle(conn: Connection, settings: Settings) -> None:
    """Switch to the newest release that is here, and remove what is not needed any more."""
    published = settings.published
    here = [row.release_id for row in releases_in(conn, published)]
    if not here:
        return
    _switch(published, here[0])
    _remove_strays(published, set(here), _warehouse(conn)["id"])
    for release_id in here[settings.keep_releases :]:
        shutil.rmtree(published / release_id, ignore_errors=True)


def _is_up_to_date(conn: Connection, last: Any, published: Path) -> bool:
    is_same_code = (last.definitions, last.code_version) == (definitions_digest(), code_version())
    if not is_same_code or has_changed(conn, last.published_at):
        return False
    damaged = _damaged(published / last.release_id, last.manifest_sha256)
    if damaged:
        log.warning("release %s is damaged (%s); another is published in its place", last.release_id, damaged)
    return not damaged


def _damaged(folder: Path, manifest_sha256: str) -> str:
    """The first file of a release that is not as it was written; empty if all are."""
    try:
        if file_sha256(folder / MANIFEST) != manifest_sha256:
            return MANIFEST
        files: dict[str, dict[str, Any]] = json.loads((folder / MANIFEST).read_bytes())["files"]
    except OSError:
        return MANIFEST
    for name, about in files.items():
        try:
            if file_sha256(folder / name) != about["sha256"]:
                return name
        except OSError:
            return name
    return ""


def _next_id(published: Path, known: set[str], now: datetime) -> str:
    """Date and running number; never an id that a folder of another warehouse has."""
    taken = known | {entry.name for entry in (published.iterdir() if published.exists() else ())}
    numbers = (f"{now:%Y-%m-%d}.{number}" for number in count(len(known) + 1))
    return next(release_id for release_id in numbers if release_id not in taken)


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
    queries["bloc_member"] = sa.select(t.bloc_member).order_by(*(t.bloc_member.c[n] for n in t.bloc_member.info["key"]))
    queries |= {name: sa.select(view.table(name)) for name, view in VIEWS.items() if view.is_released_as_table}
    return queries


def _write(
    conn: Connection, folder: Path, release_id: str, since: datetime | None, now: datetime
) -> tuple[dict[str, int], str]:
    """Write the files of a release; returns the rows of each table, and the sha256 of the manifest."""
    rows = {
        name: export_parquet(conn, query, folder / f"{name}.parquet") for name, query in _queries(conn, since).items()
    }
    _make_database(folder, list(rows))
    (folder / DICTIONARY).write_text(render_dictionary(), encoding="utf-8")
    with opened(folder / DATABASE, release_id) as release:
        write_exports(release, folder / EXPORTS)
    raw = json.dumps(_manifest(conn, folder, release_id, now, rows), indent=1).encode()
    (folder / MANIFEST).write_bytes(raw)
    for path in _files_in(folder):
        path.chmod(0o444)
    return rows, hashlib.sha256(raw).hexdigest()


def _make_database(folder: Path, tables: list[str]) -> None:
    """Make the database of a release from its Parquet files, with views, definitions and comments."""
    native = native_names()
    territories = [(code, name, native.get(code)) for code, name in sorted(territory_names().items())]
    with duckdb.connect(str(folder / DATABASE)) as atlas:
        atlas.begin()  # some 420 comments, each a commit of its own otherwise
        for name in tables:
            source = str(folder / f"{name}.parquet").replace("'", "''")
            atlas.execute(f"CREATE TABLE {name} AS SELECT * FROM read_parquet('{source}')")
        atlas.execute("CREATE TABLE definition (kind VARCHAR, id VARCHAR, name VARCHAR, text VARCHAR)")
        atlas.executemany("INSERT INTO definition VALUES (?, ?, ?, ?)", _definitions())
        atlas.execute("CREATE TABLE territory (code VARCHAR, name VARCHAR, native_name VARCHAR)")
        atlas.executemany("INSERT INTO territory VALUES (?, ?, ?)", territories)
        for table in (*t.MART, *BESIDE_MART):
            _describe(atlas, "TABLE", table.name, table.comment or "", {c.name: c.comment or "" for c in table.columns})
        for name, view in VIEWS.items():
            kind = "TABLE" if view.is_released_as_table else "VIEW"
            if kind == "VIEW":
                atlas.execute(f"CREATE VIEW {name} AS {view.over()}")
            _describe(atlas, kind, name, view.text, {column.name: column.comment for column in view.columns})
        atlas.commit()


def _manifest(conn: Connection, folder: Path, release_id: str, now: datetime, rows: dict[str, int]) -> dict[str, Any]:
    """What a release says of itself: by what it was made, and what each file is."""
    of = t.validation_result.c
    failed = conn.execute(
        sa.select(of.rule, of.severity, sa.func.count().label("batches"))
        .where(of.success.is_(False))
        .group_by(of.rule, of.severity)
        .order_by(of.rule)
    ).all()
    return {
        "release": release_id,
        "published_at": now.isoformat(timespec="seconds"),
        "code_version": code_version(),
        "definitions": {
            "digest": definitions_digest(),
            "fields": load_definitions().version,
            "mentions": load_mentions().version,
            "policies": [policy.id for policy in policies()],
            "blocs": [bloc.id for bloc in blocs()],
            # Works that kept an older classification, at most, and corpora that may lack works that are admitted now.
            "partial": int(read_definitions(conn).get(PARTIAL, 0)),
            "undecided": [one.corpus for one in read_undecided(conn)],
        },
        "countries": describe_reference(conn),
        "warehouse": _warehouse(conn),
        "rows": rows,
        "files": {
            path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
            for path in _files_in(folder)
        },
        "batches": conn.scalar(sa.select(sa.func.count()).select_from(t.batch)),
        "rules_broken": [row._asdict() for row in failed],
    }


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _describe(atlas: duckdb.DuckDBPyConnection, kind: str, name: str, text: str, columns: dict[str, str]) -> None:
    """Say in the database itself what a table or view and its columns mean."""
    atlas.execute(f"COMMENT ON {kind} {name} IS {_quoted(text)}")
    for column, comment in columns.items():
        atlas.execute(f"COMMENT ON COLUMN {name}.{column} IS {_quoted(comment)}")


def _warehouse(conn: Connection) -> dict[str, Any]:
    """What the release was made from: which warehouse, its scope, the sources and the newest day that each told of."""
    found = dict(conn.execute(sa.select(t.meta.c.name, t.meta.c.value)).tuples().all())
    days = {source: day.isoformat() for source, day in newest_days(conn).items()}
    return {"id": found.get("warehouse_id"), "scope": found["scope"], "newest_days": days}


def _definitions() -> list[tuple[str, str, str, str]]:
    rows = [
        (
            "venue" if field.group == "venue" else "field",
            field.id,
            field.name,
            "; ".join(f"{rule.id} ({rule.kind}): {rule.source}" for rule in field.rules),
        )
        for field in load_definitions().fields
    ]
    rows += [("policy", policy.id, policy.id, policy.text) for policy in policies()]
    rows += [("bloc", bloc.id, bloc.name, f"{bloc.text} ({bloc.source})") for bloc in blocs()]
    rows += [("mention", one.id, one.name, f"{one.kind}: {one.source}") for one in load_mentions().mentions]
    rows += [("evidence", str(name), rule.source, f"{rule.text} ({rule.confidence} %)") for name, rule in RULES.items()]
    rows += [("table", mart.name, mart.name, mart.comment or "") for mart in t.MART]
    return rows + [("view", name, name, view.text) for name, view in VIEWS.items()]


def _switch(published: Path, release_id: str) -> None:
    current, aside = published / "current", published / ".current.tmp"
    if current.is_symlink() and current.readlink() == Path(release_id):
        return
    aside.unlink(missing_ok=True)
    aside.symlink_to(release_id)
    aside.replace(current)


def _remove_strays(published: Path, known: set[str], warehouse_id: str | None) -> None:
    """Remove what killed runs of this warehouse left: temporary folders, and releases that no row stands for."""
    for entry in published.iterdir():
        if entry.is_symlink() or not entry.is_dir() or entry.name in known:
            continue
        is_temporary = entry.name.startswith(".") and entry.name.endswith(".tmp")
        if is_temporary or (warehouse_id is not None and _maker(entry) == warehouse_id):
            shutil.rmtree(entry)


def _maker(folder: Path) -> str | None:
    """Id of the warehouse that made a release; None if it is not one."""
    try:
        return str(json.loads((folder / MANIFEST).read_bytes())["warehouse"]["id"])
    except (*UNREADABLE_JSON, KeyError, TypeError):
        return None


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
