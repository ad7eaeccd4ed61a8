"""The reference data of a warehouse: users' corrections and ROR, kept in its tables, made into files where needed.

`ops.meta` names what is in force (`overrides`, `ror`) and what the stored works were last decided by (`located_by`).
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from schemas import tables as t
from schemas.errors import UNREADABLE_JSON, NoWarehouse
from schemas.overrides import Override
from schemas.places.territories import supranational
from schemas.reviewed import locating_digest
from schemas.settings import Settings
from tasks.countries.reference import INDEX, OVERRIDES, Reference
from tasks.countries.ror import Organization, countries_of
from tasks.countries.ror_index import RorIndex
from tasks.storage.warehouse import Warehouse, attach_arrow, detach_arrow, utc_now
from tasks.storage.workspace import Workspace

LOCATED_BY, ROR, RELEASE = "located_by", "ror", "ror_release"
PARTS = (ROR, "overrides")
KEPT = 2  # folders of references: that in force, and that of a run that is still under way


def in_force(conn: Connection) -> str:
    """Name of the reference data in force; empty if nothing but the package's own was ever loaded."""
    held = _meta(conn)
    return "-".join(held.get(part) or "none" for part in PARTS) if any(held.get(part) for part in PARTS) else ""


def rules_in_force(conn: Connection) -> str:
    """What countries are decided by now: rules of the package and reference data."""
    return f"{locating_digest()}/{in_force(conn)}"


def is_located_anew(conn: Connection) -> bool:
    """Whether every stored work was decided by what is in force now."""
    return _meta(conn).get(LOCATED_BY) == rules_in_force(conn)


def note_located(conn: Connection) -> None:
    """Note that every stored work is decided by what is in force."""
    _note(conn, {LOCATED_BY: rules_in_force(conn)})


def note_restored(conn: Connection, located_by: str) -> None:
    """Note that works were restored as they had been decided by `located_by`: if that is not in force any more, they
    have to be decided again."""
    if located_by != rules_in_force(conn) and is_located_anew(conn):
        _note(conn, {LOCATED_BY: located_by})


class Replaced(NamedTuple):
    """What putting corrections in force does to those before."""

    kept: int
    added: list[Override]
    changed: list[Override]
    withdrawn: list[Override]

    @property
    def concerned(self) -> list[Override]:
        """Corrections that make a difference."""
        return [*self.added, *self.changed, *self.withdrawn]


def replace_overrides(conn: Connection, overrides: Iterable[Override]) -> Replaced:
    """Put the users' corrections in force, instead of those before."""
    wanted = {(one.kind, one.key): one for one in overrides}
    had = {(one.kind, one.key): one for one in read_stored_overrides(conn)}
    both = wanted.keys() & had.keys()
    differs = {key for key in both if wanted[key].country != had[key].country}
    done = Replaced(
        kept=len(both) - len(differs),
        added=[one for key, one in wanted.items() if key not in had],
        changed=[wanted[key] for key in differs],
        withdrawn=[one for key, one in had.items() if key not in wanted],
    )
    now = utc_now()
    applied = {
        (row.kind, row.key): row.applied_at
        for row in conn.execute(sa.select(t.override.c.kind, t.override.c.key, t.override.c.applied_at))
    }
    is_new = {(one.kind, one.key) for one in (*done.added, *done.changed)}
    conn.execute(sa.delete(t.override))
    if wanted:
        rows = [{**one._asdict(), "applied_at": now if key in is_new else applied[key]} for key, one in wanted.items()]
        conn.execute(t.override.insert(), rows)
    content = msgspec.json.encode(sorted((one.kind, one.key, one.country) for one in wanted.values()))
    _note(conn, {"overrides": hashlib.sha256(content).hexdigest()[:12] if wanted else ""})
    return done


def read_stored_overrides(conn: Connection) -> list[Override]:
    """The users' corrections in force."""
    columns = [t.override.c[name] for name in Override._fields]
    found = conn.execute(sa.select(*columns).order_by(t.override.c.kind, t.override.c.key))
    return [Override(*row) for row in found]


def replace_organizations(conn: Connection, organizations: dict[str, Organization], release: str) -> bool:
    """Put a state of ROR in force, instead of the one before; False if it is in force already."""
    import pyarrow as pa

    countries = countries_of(organizations)
    rows = [
        {
            "ror": ror,
            "name": one.name,
            "names": "\n".join(one.names),
            "acronyms": "\n".join(one.acronyms),
            "countries": " ".join(one.countries),
            "country": countries[ror][0] if len(countries[ror]) == 1 else None,
            "type": one.type,
            "status": one.status,
            "successors": " ".join(one.successors),
            "is_supranational": ror in supranational(),
        }
        for ror, one in sorted(organizations.items())
    ]
    digest = hashlib.sha256(msgspec.json.encode(rows)).hexdigest()[:12] if rows else ""
    is_other = (_meta(conn).get(ROR) or "") != digest
    _note(conn, {ROR: digest, RELEASE: release})
    if not is_other:
        return False
    schema = pa.schema([(c.name, pa.bool_() if c.name.startswith("is_") else pa.string()) for c in t.organization.c])
    conn.execute(sa.delete(t.organization))
    staged = attach_arrow(conn, "stage_organization", pa.Table.from_pylist(rows, schema))
    conn.execute(sa.insert(t.organization).from_select(schema.names, sa.select(*(staged.c[n] for n in schema.names))))
    detach_arrow(conn, ["stage_organization"])
    describe_rors(conn, sa.select(t.institution.c.institution_id))
    return True


def describe_rors(conn: Connection, institutions: sa.Select[Any]) -> None:
    """Give some institutions the countries of the ROR in force."""
    country = sa.select(t.organization.c.country).where(t.organization.c.ror == t.institution.c.ror).scalar_subquery()
    described = t.institution.c.institution_id.in_(institutions)
    conn.execute(sa.update(t.institution).values(ror_country=country).where(described))


def read_organizations(conn: Connection) -> list[Organization]:
    """ROR as it is in force."""
    return [
        Organization(
            ror=row.ror,
            name=row.name,
            names=tuple(row.names.split("\n")) if row.names else (),
            acronyms=tuple(row.acronyms.split("\n")) if row.acronyms else (),
            countries=tuple(row.countries.split()),
            type=row.type,
            status=row.status,
            successors=tuple(row.successors.split()),
        )
        for row in conn.execute(sa.select(t.organization).order_by(t.organization.c.ror))
    ]


def reference_folder(conn: Connection, settings: Settings, workspace: Workspace) -> str | None:
    """Folder of the reference data in force, made if this home has none; None if there is nothing but the package's."""
    name = in_force(conn)
    if not name:
        return None
    folder = settings.home / "reference" / name
    if not _is_whole(folder):
        shutil.rmtree(folder, ignore_errors=True)
        aside = workspace.folder / "reference"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        (aside / OVERRIDES).write_bytes(msgspec.json.encode(read_stored_overrides(conn)))
        organizations = read_organizations(conn)
        if organizations:
            RorIndex.build(organizations).save(aside / INDEX)
        folder.parent.mkdir(exist_ok=True)
        _move(aside, folder)
        _prune(folder)
    return str(folder)


def reference_at_hand(settings: Settings) -> Reference:
    """The reference data in force in the warehouse of the settings; the package's own where there is none yet."""
    try:
        with (
            Warehouse.open(settings, create=False) as warehouse,
            warehouse.reading() as conn,
            Workspace(settings.staging) as workspace,
        ):
            folder = reference_folder(conn, settings, workspace)
            return Reference.load(Path(folder) if folder else None)
    except NoWarehouse:
        return Reference()


def describe_reference(conn: Connection) -> dict[str, Any]:
    """What countries are decided by, for those who read a release: rules, ROR, number of corrections."""
    held = _meta(conn)
    return {
        "rules": locating_digest(),
        "ror": held.get(RELEASE) if held.get(ROR) else None,
        "ror_organizations": conn.scalar(sa.select(sa.func.count()).select_from(t.organization)),
        "corrections": conn.scalar(sa.select(sa.func.count()).select_from(t.override)),
        "is_applied_to_all_works": is_located_anew(conn),
    }


def _is_whole(folder: Path) -> bool:
    """Whether a folder of reference data is there and can be read; the warehouse can make it anew."""
    try:
        Reference.load(folder)
    except (*UNREADABLE_JSON, EOFError, KeyError):  # the last two: an index that is cut, or lacks an array
        return False
    return True


def _move(aside: Path, folder: Path) -> None:
    try:
        aside.rename(folder)
    except OSError:
        if not folder.exists():
            raise
        shutil.rmtree(aside)  # another run made the same


def _prune(newest: Path) -> None:
    others = sorted((path for path in newest.parent.iterdir() if path != newest), key=lambda path: path.stat().st_mtime)
    for path in others[: -(KEPT - 1)]:
        shutil.rmtree(path, ignore_errors=True)


def _meta(conn: Connection) -> dict[str, str]:
    return dict(conn.execute(sa.select(t.meta.c.name, t.meta.c.value)).tuples().all())


def _note(conn: Connection, values: dict[str, Any]) -> None:
    conn.execute(sa.delete(t.meta).where(t.meta.c.name.in_(values)))
    conn.execute(t.meta.insert(), [{"name": name, "value": value} for name, value in values.items()])
