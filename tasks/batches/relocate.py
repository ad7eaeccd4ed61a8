"""Decides the countries of stored works again, after a correction, a new ROR or new rules, and loads those that change.

What a country is decided from is stored (core.affiliation holds strings and linked institutions), so nothing is
fetched or read from landed files. Works go through the load of every batch, a slice at a time: ledger reason
`corrected`, gates, one transaction. A killed run is called again; what was committed is as it is decided now.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import Connection, Select

from schemas import tables as t
from schemas.overrides import Override
from schemas.places.territories import fold_address
from schemas.settings import Settings
from schemas.staging import STAGED
from schemas.tables import OF_WORK
from tasks.batches.internal_batches import InternalBatch, close_batch
from tasks.countries.locate import Located, Locator, credited
from tasks.countries.reference import load_reference
from tasks.countries.registry import in_force, is_located_anew, note_located, reference_folder
from tasks.loading.eligibility import counts_otherwise
from tasks.loading.load import load_works
from tasks.reading.parsed import Address, Institution, Places
from tasks.staging.derive import Facts, Rows, hash_content, hash_places, place_rows, to_arrow
from tasks.storage.warehouse import Warehouse, attach_arrow, detach_arrow, utc_now
from tasks.storage.workspace import Workspace

KIND = "corrections"
WEAKEST = ("none", "ror_name")
KEPT = ("is_unassigned", "field_hash", "reference_hash")
EVIDENCE = (*("position", "institution_id", "ror", "institution_type", "raw_string", "institution_country", "country"),)


@dataclass
class Relocated:
    """What a relocation did."""

    looked_at: int = 0
    changed: int = 0
    batches: int = 0


def works_concerned(conn: Connection, overrides: Sequence[Override]) -> Select[Any]:
    """Works with an institution or a string that corrections are about.

    Strings are compared in compare form, so every distinct one is looked at.
    """
    of = t.affiliation.c
    keys = {one.key for one in overrides if one.kind == "institution"}
    numbers = [int(key[1:]) for key in keys if key.startswith("I")]
    rors = [key for key in keys if not key.startswith("I")]
    folded = {one.key for one in overrides if one.kind == "string"}
    printed = [raw for raw in _strings(conn) if fold_address(raw) in folded] if folded else []
    return sa.select(of.work_id).where(
        sa.or_(of.institution_id.in_(numbers), of.ror.in_(rors), of.raw_string.in_(printed))
    )


def works_of(conn: Connection, override: Override) -> int:
    """Stored works that a correction is about."""
    concerned = works_concerned(conn, [override]).subquery()
    return conn.scalar(sa.select(sa.func.count(sa.distinct(concerned.c.work_id)))) or 0


def works_without_country() -> Select[Any]:
    """Works that another state of ROR can change: an institution without country, or a string that names none."""
    of = t.affiliation.c
    no_code = sa.and_(of.institution_country.is_(None), sa.or_(of.institution_id.is_not(None), of.ror.is_not(None)))
    return sa.select(of.work_id).where(sa.or_(of.country_source.in_(WEAKEST), no_code))


def relocate(
    warehouse: Warehouse,
    settings: Settings,
    concerned: Callable[[Connection], Select[Any]] | None = None,
    *,
    cause: str = "rules",
    on_works: Callable[[int, int], None] = lambda done, every: None,
) -> Relocated:
    """Decide stored works again by what is in force, and load those whose places change.

    Args:
        cause: why, in a word or two: the window of the batches.
        on_works: told how many works were looked at, and of how many.
        concerned: says which works to look at; all, if None. Give it only if every stored work was decided by what was
            in force before.

    Raises:
        GateStopped: a stop rule failed; works of the slices before are loaded.
    """
    done = Relocated()
    with Workspace(settings.staging) as workspace:
        with warehouse.reading() as conn:
            name, folder = in_force(conn), reference_folder(conn, settings, workspace)
            chosen = concerned(conn) if concerned else sa.select(t.work.c.work_id)
            ids = np.unique(np.array(conn.scalars(chosen).all(), np.int64))
        locator = Locator(load_reference(folder))
        started = utc_now()
        for first in range(0, len(ids), settings.batch_works):
            some = ids[first : first + settings.batch_works]
            batch_id = f"{KIND}/{started:%Y-%m-%dT%H:%M:%S.%f}/{first:08d}"
            with warehouse.transaction() as conn:
                if in_force(conn) != name:
                    break  # somebody put another state in force and decides by that
                changed = relocate_some(conn, some, locator, InternalBatch(batch_id, KIND, cause), settings)
            done.looked_at += len(some)
            done.changed += changed
            done.batches += bool(changed)
            on_works(done.looked_at, len(ids))
        else:
            with warehouse.transaction() as conn:
                if in_force(conn) == name:
                    note_located(conn)
    return done


def put_in_force(
    warehouse: Warehouse,
    settings: Settings,
    change: Callable[[Connection], Callable[[Connection], Select[Any]] | None],
    *,
    cause: str = "rules",
    on_works: Callable[[int, int], None] = lambda done, every: None,
) -> Relocated:
    """Change the reference data, then decide the works concerned again; all works, if those before were not up to date.

    Args:
        change: makes the change and returns what says which works it concerns; None if nothing changed.
    """
    with warehouse.transaction() as conn:
        was_up_to_date = is_located_anew(conn)
        concerned = change(conn)
        if was_up_to_date and concerned is None:
            note_located(conn)
            return Relocated()
    return relocate(warehouse, settings, concerned if was_up_to_date else None, cause=cause, on_works=on_works)


def _strings(conn: Connection) -> Iterator[str]:
    found = conn.scalars(sa.select(t.affiliation.c.raw_string).distinct(), execution_options={"yield_per": 10_000})
    return (raw for raw in found if raw is not None)


def relocate_some(
    conn: Connection,
    ids: np.ndarray[Any, np.dtype[np.int64]],
    locator: Locator,
    batch: InternalBatch,
    settings: Settings,
    reason: str | None = None,
) -> int:
    """Decide some works again in the caller's transaction; returns how many changed.

    Args:
        reason: of all changes in the ledger; what differs says it, if None.

    Raises:
        GateStopped: a stop rule failed; the transaction must not be committed.
    """
    wanted = attach_arrow(conn, "stage_wanted", pa.table({"work_id": ids}))
    rows = _rows_that_change(conn, wanted, locator)
    detach_arrow(conn, ["stage_wanted"])
    if not rows["work"]:
        return 0
    staged = {name: pa.Table.from_batches([to_arrow(name, found)]) for name, found in rows.items()}
    staged["rejected"] = pa.table({"stage_id": pa.array([], pa.int64())})
    stage_of = {name: attach_arrow(conn, f"stage_{name}", data) for name, data in staged.items()}
    change = load_works(conn, stage_of, batch.batch_id, reason)
    close_batch(conn, batch, {"fetched": len(rows["work"]), **change.counts}, change, settings)
    detach_arrow(conn, [f"stage_{name}" for name in staged])
    return int(change.counts["updated"])


def _rows_that_change(conn: Connection, wanted: Any, locator: Locator) -> Rows:
    """Staged rows of the works whose places are decided otherwise now."""
    authors = _by_work(conn, t.authorship, ("position", "author_id", "is_corresponding"), wanted)
    evidence = _by_work(conn, t.affiliation, EVIDENCE, wanted, "seq")
    stored = [t.work.c[name] for name in ("work_id", "place_hash", *KEPT, *Facts._fields)]
    columns = (*stored, counts_otherwise().label("counts_otherwise"))
    works = conn.execute(sa.select(*columns).join_from(t.work, wanted, t.work.c.work_id == wanted.c.work_id)).all()
    rows: Rows = {name: [] for name in STAGED}
    for stage_id, work in enumerate(sorted(works)):
        people = authors.get(work.work_id, [])
        located = _locate(people, evidence.get(work.work_id, []), work, locator)
        place_hash = hash_places(work.year, [tuple(person) for person in people], located)
        if place_hash == work.place_hash and not work.counts_otherwise:
            continue
        facts = Facts(*(getattr(work, name) for name in Facts._fields))
        facts = facts._replace(authors_located=located.credit.authors_located)
        content_hash = hash_content(facts, place_hash, work.field_hash, work.reference_hash)
        rows["work"].append(
            (
                *(stage_id, work.work_id, *facts),
                *(content_hash, place_hash, work.field_hash, work.reference_hash, work.is_unassigned),
            )
        )
        rows["authorship"] += [(stage_id, work.work_id, *person) for person in people]
        place_rows(stage_id, work.work_id, located, rows)
    _add_what_stays(conn, rows)
    return rows


def _add_what_stays(conn: Connection, rows: Rows) -> None:
    """Version and fields of the works that change, as they are stored."""
    stage_of = {row[1]: row[0] for row in rows["work"]}
    if not stage_of:
        return
    changed = attach_arrow(conn, "stage_changed", pa.table({"work_id": pa.array(list(stage_of), pa.int64())}))
    of = t.seen.c
    seen = sa.select(of.work_id, of.source_updated_at, of.tie_hash).join_from(
        t.seen, changed, of.work_id == changed.c.work_id
    )
    rows["version"] = [(stage_of[row.work_id], *row, True) for row in conn.execute(seen)]
    fields = _by_work(conn, t.work_field, ("field", "rule"), changed)
    rows["work_field"] = [(stage_of[work_id], work_id, *row) for work_id, found in fields.items() for row in found]
    mentions = _by_work(conn, t.work_mention, ("mention",), changed)
    rows["work_mention"] = [(stage_of[work_id], work_id, *row) for work_id, found in mentions.items() for row in found]
    detach_arrow(conn, ["stage_changed"])


def _by_work(
    conn: Connection, table: sa.Table, names: Sequence[str], wanted: Any, *order: str
) -> dict[int, list[Sequence[Any]]]:
    columns = [table.c[name] for name in names]
    ordered = sa.select(table.c.work_id, *columns).join_from(table, wanted, table.c.work_id == wanted.c.work_id)
    found: dict[int, list[Sequence[Any]]] = defaultdict(list)
    for work_id, *row in conn.execute(ordered.order_by(table.c.work_id, columns[0], *(table.c[n] for n in order))):
        found[work_id].append(row)
    return found


def _locate(people: Sequence[Sequence[Any]], evidence: list[Sequence[Any]], work: Any, locator: Locator) -> Located:
    by_position = {position: list(rows) for position, rows in groupby(evidence, key=lambda row: row[0])}
    positions = [person[0] for person in people]
    found = [
        locator.locate_places(places_of(by_position.get(position, [])), work.year)
        for position in (*positions, *([OF_WORK] if work.is_unassigned else []))
    ]
    authors, of_work = found[: len(positions)], tuple(found[len(positions) :])
    leads = [position for position, _, is_corresponding in people if is_corresponding]
    return credited(authors, leads, of_work, is_cut=work.authors_truncated)


def places_of(evidence: Sequence[Sequence[Any]]) -> Places:
    """Places of one author from the author's rows of core.affiliation (columns of EVIDENCE, in order).

    A row without institution beside others of the same string stands for a further address in it: it follows from the
    string. An institution for which the string decided several countries has a row for each.
    """
    addresses: dict[str, list[Institution]] = {}
    loose: list[Institution] = []
    last: tuple[str | None, Institution] | None = None
    countries: set[str] = set()
    for _, institution_id, ror, type_, raw, given, country in evidence:
        institution = Institution(institution_id, ror, None, given, type_)
        held = addresses.setdefault(raw, []) if raw is not None else loose
        is_same = last == (raw, institution) and country not in countries
        countries = countries | {country} if is_same else {country}
        last = raw, institution
        if not is_same and institution.is_known:
            held.append(institution)
    return Places(tuple(Address(raw, tuple(held)) for raw, held in addresses.items()), tuple(loose))
