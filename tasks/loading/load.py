"""Puts one validated batch into the warehouse: one transaction, from staging to mart and ledger.

Which version of a work is stored depends on (updated_date, tie_hash) alone, never on the order or grouping in which
versions arrive. Rejected versions take no part in that order: a work keeps its last good version until a newer good one
comes.

Steps: look up what is stored of the works that the batch names; pick the newest version of each; find the set D of
works that change, joined by the stored works that share a DOI with them; copy what D contributes before and after;
replace D in core; add the difference to ledger and mart; check the gates; write the batch row; commit.

Big tables are read once each, by a semi-join on the few works in question and no more columns than are needed: what a
night costs is the scan of these columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, FromClause, Select, Table

from schemas import tables as t
from schemas.counting.relations import Relations
from schemas.counting.sets import by_fields, by_policies
from tasks.loading.aggregate import CONTRIBUTING, Side, apply_increment
from tasks.loading.citations import Citing
from tasks.loading.duplicates import settle_dois
from tasks.loading.eligibility import own_exclusion
from tasks.loading.versions import (
    VERSION,
    Keep,
    count_blocked,
    is_blocked,
    is_older,
    is_ours,
    keep_nothing,
    keep_seen,
    pick,
    remember,
)
from tasks.storage.definitions import is_outdated
from tasks.storage.warehouse import scratch

CHILDREN = (  # children of a work, the column that ties them to it, and the part of the work they belong to
    (t.authorship, "work_id", "place"),
    (t.affiliation, "work_id", "place"),
    (t.work_evidence, "work_id", "place"),
    (t.work_policy, "work_id", "place"),
    (t.work_territory, "work_id", "place"),
    (t.work_field, "work_id", "field"),
    (t.work_mention, "work_id", "field"),
    (t.reference, "citing_work_id", "reference"),
)
PARTS = ("place", "field", "reference")  # each has its hash in core.work
STANDING = ("is_counted", "excluded_reason")
# What of a work is compared or contributes to a cell.
COMPARED = (
    *("work_id", "corpus", "doi", "year", *STANDING, "cited_by_count"),
    *("authors_count", "authors_located", "references_count", "content_hash"),
    *(f"{part}_hash" for part in PARTS),
)
UNDONE, DEFINITION = "undone", "definition"


class Reasons(NamedTuple):
    """Ledger reasons that works do not say themselves: of those that leave, one for all changes, if given, and the
    works of which the version that is stored came again: only other definitions can class it otherwise."""

    leaving: str
    every: str | None = None
    same: FromClause | None = None


@dataclass(frozen=True)
class _Loading:
    """What a batch brings, and how its changes are written down."""

    stage: Mapping[str, FromClause]
    """Readable staged tables by name."""
    batch_id: str
    reasons: Reasons
    keep: Keep = keep_nothing
    """Told what is replaced."""


class _Tally(NamedTuple):
    """How many works of D there are of each kind."""

    arrived: int
    """Named by the batch and stored now."""
    replaced: int
    """Named by the batch and stored before."""
    flips: int
    """Of which another work with their DOI changed the standing, and the batch nothing else."""
    parts: dict[str, int]
    """By part: stored before, and differing in it."""

    @property
    def of_stored(self) -> int:
        """Works of D that were stored before."""
        return self.replaced + self.flips


@dataclass(frozen=True)
class Change:
    """What a batch did to the warehouse so far, inside its transaction."""

    counts: dict[str, int]
    cells: dict[str, Table]
    """Per mart table that changed: its cells that changed, and by how much."""
    affected: Table
    """work_id, reason, was_stored, and which parts of the work changed."""
    arriving: Table
    """work_id and stage_id of the versions that are stored now."""
    before: Table
    """Affected works as they were stored, in the columns COMPARED."""
    after: Table
    """The same as they are stored now."""
    batch_id: str


def load_works(
    conn: Connection,
    stage: Mapping[str, FromClause],
    batch_id: str,
    reason: str | None = None,
    keep: Keep = keep_nothing,
) -> Change:
    """Apply the versions of a batch.

    Args:
        stage: readable staged tables by name (schemas/staging.py), plus `rejected` (stage_id) with the records that
            validation refused.
        reason: of every change in the ledger; what differs says it, if None.
        keep: told what is replaced (see tasks/batches/former.py).
    """
    named = sa.select(stage["version"].c.work_id)
    known = scratch(conn, "known", sa.select(t.seen).where(t.seen.c.work_id.in_(named)))
    stored = _stored(conn, named)
    picked = scratch(conn, "picked", pick(stage, known, stored))
    counts = dict.fromkeys(t.RECORD_COUNTS, 0)
    counts |= conn.execute(sa.select(picked.c.action, sa.func.count()).group_by(picked.c.action)).tuples().all()
    counts["out_of_scope"] += counts.pop("removed", 0)
    counts["superseded"] += count_blocked(conn, stage)
    keep_seen(keep, known, sa.select(*(picked.c[name] for name in VERSION)).where(is_ours(picked), picked.c.is_later))
    arriving = sa.select(picked.c.work_id, picked.c.stage_id).where(picked.c.action.in_(["new", "updated"]))
    leaving = sa.select(picked.c.work_id).where(picked.c.action == "removed")
    is_again = sa.and_(picked.c.action.in_(["new", "updated", "removed"]), ~picked.c.is_later)
    reasons = Reasons("out_of_scope", reason, sa.select(picked.c.work_id).where(is_again).subquery())
    change = _replace(conn, _Loading(stage, batch_id, reasons, keep), stored, arriving, leaving, counts)
    remember(conn, picked)
    _describe_institutions(conn, stage, keep)
    return change


def load_deletions(
    conn: Connection, deletion: FromClause, stage: Mapping[str, FromClause], batch_id: str, keep: Keep = keep_nothing
) -> Change:
    """Apply a list of deletions: relation (work_id, source_updated_at, tie_hash), one row per work, the date being
    the end of the day."""
    listed = sa.select(deletion.c.work_id)
    known = scratch(conn, "known", sa.select(t.seen).where(t.seen.c.work_id.in_(listed)))
    judged = scratch(
        conn,
        "judged",
        sa.select(deletion, known.c.state)
        .outerjoin_from(deletion, known, known.c.work_id == deletion.c.work_id)
        .where(sa.or_(known.c.work_id.is_(None), is_older(known.c, deletion.c)), ~is_blocked(deletion)),
    )
    keep_seen(keep, known, sa.select(*(judged.c[name] for name in VERSION)))
    leaving = sa.select(judged.c.work_id).where(judged.c.state == "stored")
    stored = _stored(conn, leaving)
    all_listed = conn.scalar(sa.select(sa.func.count()).select_from(deletion)) or 0
    applied = conn.scalar(sa.select(sa.func.count()).select_from(leaving.subquery())) or 0
    counts = {"listed": all_listed, "applied": applied, "absent": all_listed - applied}
    names: list[Any] = [sa.cast(sa.null(), sa.BigInteger).label(name) for name in ("work_id", "stage_id")]
    none = sa.select(*names).where(sa.false())
    change = _replace(conn, _Loading(stage, batch_id, Reasons("deleted"), keep), stored, none, leaving, counts)
    conn.execute(sa.delete(t.seen).where(t.seen.c.work_id.in_(sa.select(judged.c.work_id))))
    now_deleted = sa.select(judged.c.work_id, judged.c.source_updated_at, judged.c.tie_hash, sa.literal("deleted"))
    conn.execute(sa.insert(t.seen).from_select(["work_id", "source_updated_at", "tie_hash", "state"], now_deleted))
    return change


def restore_works(conn: Connection, stage: Mapping[str, FromClause], arrived: FromClause, batch_id: str) -> Change:
    """Put works back as they were before a batch, with reason `undone`.

    Args:
        stage: readable tables by name with the former rows of the works to restore, in the shape of staged ones.
        arrived: relation (work_id) of the works that were not stored before.
    """
    work = stage["work"].c
    named = sa.union(sa.select(work.work_id), sa.select(arrived.c.work_id)).subquery()
    stored = _stored(conn, sa.select(named.c.work_id))
    arriving, leaving = sa.select(work.work_id, work.stage_id), sa.select(arrived.c.work_id)
    return _replace(conn, _Loading(stage, batch_id, Reasons(UNDONE, UNDONE)), stored, arriving, leaving, {})


def _stored(conn: Connection, ids: Select[Any]) -> Table:
    """What is stored of some works, in the columns that matter here."""
    return scratch(conn, "stored", sa.select(*(t.work.c[name] for name in COMPARED)).where(t.work.c.work_id.in_(ids)))


def _replace(
    conn: Connection,
    loading: _Loading,
    stored: Table,
    arrivals: Select[Any],
    leaving: Select[Any],
    counts: dict[str, int],
) -> Change:
    """Replace the rows of D in core and carry the difference into ledger and mart."""
    arriving = scratch(conn, "arriving", arrivals)
    changing = sa.union_all(sa.select(arriving.c.work_id), leaving).subquery()
    old_work = scratch(conn, "old_work", sa.select(stored).where(stored.c.work_id.in_(sa.select(changing.c.work_id))))
    new_work = scratch(conn, "new_work", _with_standing(loading.stage["work"], arriving))
    flips = settle_dois(conn, old_work, new_work)
    affected = scratch(conn, "affected", _compare(old_work, new_work, arriving, loading.reasons))
    change = Change(counts, {}, affected, arriving, old_work, new_work, loading.batch_id)
    tally = _tally(conn, affected, flips)
    if not tally.arrived + tally.replaced:
        return change
    _keep_works(loading.keep, affected, tally)
    was, now = _parts(conn, loading, change, tally)
    arrived = _arrived(loading.stage["reference"], arriving, t.reference)
    in_sets = not is_outdated(conn)  # what other definitions stored follows policies that are not known here
    citing = Citing.find(conn, affected, arrived, in_sets=in_sets)
    before = _side(conn, "old", old_work, was, in_sets=in_sets)
    after = _side(conn, "new", new_work, now, in_sets=in_sets)
    _rewrite_core(conn, loading, change, tally)
    sides = Side(before, citing.before(conn, before)), Side(after, citing.after(conn, after))
    return replace(change, cells=apply_increment(conn, *sides, affected, loading.batch_id))


def _tally(conn: Connection, affected: Table, flips: int) -> _Tally:
    of = affected.c
    tallied = {
        "arrived": ~of.is_mate & of.is_stored,
        "replaced": ~of.is_mate & of.was_stored,
        **{part: of.was_stored & of[f"{part}_changed"] for part in PARTS},
    }
    sums = [sa.func.count().filter(condition).label(name) for name, condition in tallied.items()]
    row = conn.execute(sa.select(*sums)).mappings().one()
    return _Tally(row["arrived"], row["replaced"], flips, {part: row[part] for part in PARTS})


def _parts(
    conn: Connection, loading: _Loading, change: Change, tally: _Tally
) -> tuple[dict[str, FromClause], dict[str, FromClause]]:
    """Parts of the works of D that contribute to a cell, by name, before and after the batch; none where none of the
    works is stored."""
    of = change.affected.c
    was: dict[str, FromClause] = {}
    now: dict[str, FromClause] = {}
    for child in CONTRIBUTING:
        if tally.of_stored:
            held = sa.select(child).where(child.c.work_id.in_(sa.select(of.work_id).where(of.was_stored)))
            was[child.name] = old = scratch(conn, f"was_{child.name}", held)
            loading.keep(child.name, sa.select(old))
        rows = [_arrived(loading.stage[child.name], change.arriving, child)] if tally.arrived else []
        if tally.flips:
            rows.append(sa.select(old).where(old.c.work_id.in_(sa.select(of.work_id).where(of.is_mate))))
        if rows:
            now[child.name] = sa.union_all(*rows).subquery(f"now_{child.name}")
    return was, now


def _side(
    conn: Connection, side: str, work: Table, parts: Mapping[str, FromClause], *, in_sets: bool
) -> Relations | None:
    """Works and their parts as increments count them, in temporary tables; None without parts."""
    if not parts:
        return None
    queries = {name: sa.select(part) for name, part in parts.items()}
    if in_sets:
        territory = parts[t.work_territory.name]
        queries[t.work_policy.name] = by_policies(parts[t.work_policy.name], territory)
        queries[t.work_territory.name] = by_policies(territory, territory)
        queries[t.work_field.name] = by_fields(parts[t.work_field.name])
    return Relations(work, **{name: scratch(conn, f"{side}_{name}", query) for name, query in queries.items()})


def _keep_works(keep: Keep, affected: Table, tally: _Tally) -> None:
    """Keep which works a batch brings, the works that it changes or removes, and those of their parts that do not
    contribute to a cell."""
    of = affected.c
    keep("arrived", sa.select(of.work_id).where(of.is_stored, ~of.was_stored))
    if not tally.of_stored:
        return
    keep("work", sa.select(t.work).where(t.work.c.work_id.in_(sa.select(of.work_id).where(of.was_stored))))
    for child, owner, part in CHILDREN:
        if child not in CONTRIBUTING:
            changed = sa.select(of.work_id).where(of.was_stored, of[f"{part}_changed"])
            keep(child.name, sa.select(child).where(child.c[owner].in_(changed)))


def _rewrite_core(conn: Connection, loading: _Loading, change: Change, tally: _Tally) -> None:
    """Delete and insert the works of the batch and those of their parts that differ; works whose standing alone
    changed are updated."""
    stage, arriving, new_work, of = loading.stage, change.arriving, change.after, change.affected.c
    if tally.replaced:
        gone = sa.select(of.work_id).where(of.was_stored, ~of.is_mate)
        conn.execute(sa.delete(t.work).where(t.work.c.work_id.in_(gone)))
    if tally.arrived:
        staged = stage["work"].c
        decided: dict[str, Any] = {"batch_id": sa.literal(loading.batch_id)}
        decided |= {name: new_work.c[name] for name in STANDING}
        works = (
            sa.select(*(decided[c.name] if c.name in decided else staged[c.name] for c in t.work.columns))
            .join_from(stage["work"], arriving, staged.stage_id == arriving.c.stage_id)
            .join(new_work, new_work.c.work_id == arriving.c.work_id)
            .order_by(arriving.c.work_id)
        )
        conn.execute(sa.insert(t.work).from_select(t.work.columns.keys(), works))
    if tally.flips:
        settled = {"batch_id": loading.batch_id} | {name: new_work.c[name] for name in STANDING}
        is_mate = t.work.c.work_id.in_(sa.select(of.work_id).where(of.is_mate))
        conn.execute(sa.update(t.work).values(settled).where(t.work.c.work_id == new_work.c.work_id, is_mate))
    for child, owner, part in CHILDREN:
        changed = of[f"{part}_changed"]
        if tally.parts[part]:
            conn.execute(
                sa.delete(child).where(child.c[owner].in_(sa.select(of.work_id).where(of.was_stored, changed)))
            )
        if tally.arrived:
            rewritten = arriving.c.work_id.in_(sa.select(of.work_id).where(changed))
            rows = _arrived(stage[child.name], arriving, child).where(rewritten)
            conn.execute(sa.insert(child).from_select(child.columns.keys(), rows))


def _arrived(staged: FromClause, arriving: Table, child: Table) -> Select[Any]:
    """Staged rows of the versions that are stored, in the columns of the core table."""
    values = [
        arriving.c.work_id.label(c.name) if c.name in ("work_id", "citing_work_id") else staged.c[c.name]
        for c in child.columns
    ]
    return sa.select(*values).join_from(staged, arriving, staged.c.stage_id == arriving.c.stage_id)


def _with_standing(staged: FromClause, arriving: Table) -> Select[Any]:
    """The works that arrive, counted or not as far as each itself decides: retracted, or of a type that does not
    count."""
    reason = own_exclusion(staged.c)
    decided: dict[str, sa.ColumnElement[Any]] = {"is_counted": reason.is_(None), "excluded_reason": reason}
    values = [decided[name].label(name) if name in decided else staged.c[name] for name in COMPARED]
    return sa.select(*values).join_from(staged, arriving, staged.c.stage_id == arriving.c.stage_id)


def _compare(old_work: Table, new_work: Table, arriving: Table, reasons: Reasons) -> Select[Any]:
    """Per work of D: the one reason of its change, the first that holds, and which of its parts changed.

    `is_mate`: the work itself is as before, the standing of another work with its DOI changed its own.
    """
    old, new = old_work.c, new_work.c
    either = sa.func.coalesce(old.work_id, new.work_id)
    standing_differs = sa.or_(
        old.is_counted != new.is_counted, old.excluded_reason.is_distinct_from(new.excluded_reason)
    )
    is_same = sa.false() if reasons.same is None else either.in_(sa.select(reasons.same.c.work_id))
    is_other_class = sa.or_(old.work_id.is_(None), new.work_id.is_(None), old.field_hash != new.field_hash)
    differing = sa.case(
        (sa.and_(is_same, is_other_class), DEFINITION),
        (new.work_id.is_(None), reasons.leaving),
        (old.work_id.is_(None), "new"),
        (standing_differs, "eligibility"),
        (old.place_hash != new.place_hash, "corrected"),
        (old.field_hash != new.field_hash, "reclassified"),
        else_="citations",
    )
    reason = sa.literal(reasons.every) if reasons.every else differing
    changed = [
        sa.or_(old.work_id.is_(None), new.work_id.is_(None), old[f"{part}_hash"] != new[f"{part}_hash"]).label(
            f"{part}_changed"
        )
        for part in PARTS
    ]
    is_mate = sa.and_(new.work_id.is_not(None), new.work_id.not_in(sa.select(arriving.c.work_id)))
    return sa.select(
        either.label("work_id"),
        reason.label("reason"),
        old.work_id.is_not(None).label("was_stored"),
        new.work_id.is_not(None).label("is_stored"),
        is_mate.label("is_mate"),
        *changed,
    ).outerjoin_from(old_work, new_work, old.work_id == new.work_id, full=True)


def _describe_institutions(conn: Connection, stage: Mapping[str, FromClause], keep: Keep) -> None:
    """Keep the newest description of each institution over all valid versions, whether their work changed or not."""
    staged = stage["institution"]
    order = (staged.c.source_updated_at.desc(), staged.c.tie_hash.desc())
    rank = sa.func.row_number().over(partition_by=staged.c.institution_id, order_by=order)
    names = t.institution.columns.keys()
    ranked = (
        sa.select(*(staged.c[name] for name in names), rank.label("rank"))
        .where(
            staged.c.stage_id.not_in(sa.select(stage["rejected"].c.stage_id)),
            staged.c.stage_id.not_in(sa.select(stage["version"].c.stage_id).where(is_blocked(stage["version"]))),
        )
        .subquery()
    )
    have = t.institution
    newer = scratch(
        conn,
        "described",
        sa.select(*(ranked.c[name] for name in names))
        .outerjoin_from(ranked, have, have.c.institution_id == ranked.c.institution_id)
        .where(ranked.c.rank == 1, sa.or_(have.c.institution_id.is_(None), is_older(have.c, ranked.c))),
    )
    described = sa.select(newer.c.institution_id)
    keep("described", described)
    keep("institution", sa.select(have).where(have.c.institution_id.in_(described)))
    conn.execute(sa.delete(have).where(have.c.institution_id.in_(described)))
    conn.execute(sa.insert(have).from_select(names, sa.select(newer).order_by(newer.c.institution_id)))
