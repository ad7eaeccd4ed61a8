"""Puts one validated batch into the warehouse: one transaction, from staging to mart and ledger.

Which version of a work is stored depends on (updated_date, tie_hash) alone, never on the order or grouping in which
versions arrive. Rejected
versions take no part in that order: a work keeps its last good version until a newer good one comes.

Steps: pick the newest version of each work; find the set D of works that change, joined by the stored works that share
a DOI with them; copy D's rows before and after; replace them in core; add the difference to ledger and mart; check the
gates; write the batch row; commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, FromClause, Select, Table

from schemas import tables as t
from schemas.contributions import Relations
from schemas.territories import work_types
from tasks.aggregate import apply_increment
from tasks.warehouse import scratch

CHILDREN = (  # children of a work, the column that ties them to it, and the hash that says whether they changed
    (t.authorship, "work_id", "place_changed"),
    (t.affiliation, "work_id", "place_changed"),
    (t.work_policy, "work_id", "place_changed"),
    (t.work_territory, "work_id", "place_changed"),
    (t.work_field, "work_id", "field_changed"),
    (t.reference, "citing_work_id", "reference_changed"),
)
CATEGORIES = ("new", "updated", "unchanged", "superseded", "out_of_scope")


@dataclass(frozen=True)
class Change:
    """What a batch did to the warehouse so far, inside its transaction."""

    counts: dict[str, int]
    cells: dict[str, Table]
    """Per mart table: cells that changed, and by how much."""
    affected: Table
    """work_id, reason, and which parts of the work changed."""
    batch_id: str


def load_works(conn: Connection, stage: Mapping[str, FromClause], batch_id: str) -> Change:
    """Apply the versions of a batch.

    Args:
        stage: readable staged tables by name (schemas/staging.py), plus `rejected` (stage_id) with the records that
            validation refused.
    """
    picked = scratch(conn, "picked", _pick(stage))
    counts = dict.fromkeys(CATEGORIES, 0)
    counts |= dict(
        conn.execute(
            sa.select(picked.c.action, sa.func.count()).where(picked.c.action != "removed").group_by(picked.c.action)
        )
        .tuples()
        .all()
    )
    removed = conn.scalar(sa.select(sa.func.count()).where(picked.c.action == "removed")) or 0
    counts["out_of_scope"] += removed
    arrivals = sa.select(picked.c.work_id, picked.c.stage_id).where(picked.c.action.in_(["new", "updated"]))
    leaving = sa.select(picked.c.work_id).where(picked.c.action == "removed")
    change = _replace(conn, stage, arrivals, leaving, "out_of_scope", counts, batch_id)
    _remember(conn, picked)
    _describe_institutions(conn, stage)
    return change


def load_deletions(conn: Connection, deletion: FromClause, stage: Mapping[str, FromClause], batch_id: str) -> Change:
    """Apply a list of deletions: relation (work_id, source_updated_at, tie_hash), one row per work, the date being
    the end of the day."""
    judged = scratch(
        conn,
        "judged",
        sa.select(deletion, t.seen.c.state)
        .outerjoin_from(deletion, t.seen, t.seen.c.work_id == deletion.c.work_id)
        .where(sa.or_(t.seen.c.work_id.is_(None), _is_older(t.seen.c, deletion.c))),
    )
    leaving = sa.select(judged.c.work_id).where(judged.c.state == "stored")
    listed = conn.scalar(sa.select(sa.func.count()).select_from(deletion)) or 0
    applied = conn.scalar(sa.select(sa.func.count()).select_from(leaving.subquery())) or 0
    counts = {"listed": listed, "applied": applied, "absent": listed - applied}
    names: list[Any] = [sa.cast(sa.null(), sa.BigInteger).label(name) for name in ("work_id", "stage_id")]
    change = _replace(conn, stage, sa.select(*names).where(sa.false()), leaving, "deleted", counts, batch_id)
    conn.execute(sa.delete(t.seen).where(t.seen.c.work_id.in_(sa.select(judged.c.work_id))))
    now_deleted = sa.select(judged.c.work_id, judged.c.source_updated_at, judged.c.tie_hash, sa.literal("deleted"))
    conn.execute(sa.insert(t.seen).from_select(["work_id", "source_updated_at", "tie_hash", "state"], now_deleted))
    return change


def _is_older(left: Any, right: Any) -> sa.ColumnElement[bool]:
    """Left < right in the order of versions: (source_updated_at, tie_hash)."""
    same_date = sa.and_(left.source_updated_at == right.source_updated_at, left.tie_hash < right.tie_hash)
    return sa.or_(left.source_updated_at < right.source_updated_at, same_date)


def _pick(stage: Mapping[str, FromClause]) -> Select[Any]:
    """One row per valid version with the action it calls for; `is_last` marks the newest version of its work in
    this batch."""
    version = stage["version"]
    order = (version.c.source_updated_at.desc(), version.c.tie_hash.desc(), version.c.stage_id.desc())
    ranked = (
        sa.select(
            version,
            (sa.func.row_number().over(partition_by=version.c.work_id, order_by=order) == 1).label("is_last"),
            sa.func.max(sa.cast(version.c.in_scope, sa.Integer))
            .over(partition_by=version.c.work_id)
            .label("was_in_scope"),
        )
        .where(version.c.stage_id.not_in(sa.select(stage["rejected"].c.stage_id)))
        .subquery("ranked")
    )
    seen, stored, staged = t.seen.c, t.work.c, stage["work"].c
    action = sa.case(
        (~ranked.c.is_last, "superseded"),
        (sa.and_(seen.work_id.is_not(None), _is_older(ranked.c, seen)), "superseded"),
        (sa.and_(~ranked.c.in_scope, seen.state == "stored"), "removed"),
        (~ranked.c.in_scope, "out_of_scope"),
        (sa.and_(seen.state == "stored", stored.content_hash == staged.content_hash), "unchanged"),
        (seen.state == "stored", "updated"),
        else_="new",
    )
    is_newer = sa.or_(seen.work_id.is_(None), _is_older(seen, ranked.c))
    return (
        sa.select(
            ranked, action.label("action"), is_newer.label("is_newer"), seen.work_id.is_not(None).label("is_known")
        )
        .outerjoin_from(ranked, t.seen, t.seen.c.work_id == ranked.c.work_id)
        .outerjoin(t.work, t.work.c.work_id == ranked.c.work_id)
        .outerjoin(stage["work"], stage["work"].c.stage_id == ranked.c.stage_id)
    )


def _remember(conn: Connection, picked: Table) -> None:
    """Advance `seen`. A work that never was in scope is not remembered."""
    p = picked.c
    to_remember = sa.and_(p.is_last, p.is_newer, p.action != "superseded", sa.or_(p.is_known, p.was_in_scope == 1))
    conn.execute(sa.delete(t.seen).where(t.seen.c.work_id.in_(sa.select(p.work_id).where(to_remember))))
    state = sa.case((p.in_scope, "stored"), else_="out_of_scope")
    rows = sa.select(p.work_id, p.source_updated_at, p.tie_hash, state).where(to_remember).order_by(p.work_id)
    conn.execute(sa.insert(t.seen).from_select(["work_id", "source_updated_at", "tie_hash", "state"], rows))


def _replace(
    conn: Connection,
    stage: Mapping[str, FromClause],
    arrivals: Select[Any],
    leaving: Select[Any],
    leaving_reason: str,
    counts: dict[str, int],
    batch_id: str,
) -> Change:
    """Replace the rows of D in core and carry the difference into ledger and mart."""
    arriving = scratch(conn, "arriving", arrivals)
    gone = scratch(conn, "gone", leaving)
    changing = sa.union_all(sa.select(arriving.c.work_id), sa.select(gone.c.work_id)).subquery()
    old_work = scratch(conn, "old_work", sa.select(t.work).where(t.work.c.work_id.in_(sa.select(changing.c.work_id))))
    new_work = scratch(conn, "new_work", _with_eligibility(stage["work"], arriving, batch_id))
    _add_doi_mates(conn, old_work, new_work, batch_id)

    affected = scratch(conn, "affected", _compare(old_work, new_work, leaving_reason))
    is_mate = ~sa.exists(sa.select(1).where(changing.c.work_id == affected.c.work_id))
    before = {"work": old_work}
    after = {"work": new_work}
    ids = sa.select(affected.c.work_id)
    for child, owner, _ in CHILDREN:
        if child in (t.work_policy, t.work_territory, t.work_field):
            before[child.name] = scratch(conn, f"old_{child.name}", sa.select(child).where(child.c[owner].in_(ids)))
            unchanged = sa.select(before[child.name]).where(before[child.name].c.work_id.in_(ids.where(is_mate)))
            arrived = _arrived(stage[child.name], arriving, child)
            after[child.name] = scratch(conn, f"new_{child.name}", sa.union_all(arrived, unchanged))

    if conn.scalar(sa.select(sa.func.count()).select_from(old_work)):
        conn.execute(sa.delete(t.work).where(t.work.c.work_id.in_(ids)))
    conn.execute(
        sa.insert(t.work).from_select(
            t.work.columns.keys(), sa.select(*(new_work.c[c.name] for c in t.work.columns)).order_by(new_work.c.work_id)
        )
    )
    for child, owner, changed in CHILDREN:
        rewritten = ids.where(affected.c[changed])
        if conn.scalar(
            sa.select(sa.func.count()).select_from(affected).where(affected.c[changed], affected.c.was_stored)
        ):
            conn.execute(sa.delete(child).where(child.c[owner].in_(rewritten.where(affected.c.was_stored))))
        rows = (
            _arrived(stage[child.name], arriving, child)
            .where(arriving.c.work_id.in_(rewritten))
            .order_by(arriving.c.work_id)
        )
        conn.execute(sa.insert(child).from_select(child.columns.keys(), rows))

    cells = apply_increment(conn, Relations(**before), Relations(**after), affected, batch_id)
    return Change(counts, cells, affected, batch_id)


def _arrived(staged: FromClause, arriving: Table, child: Table) -> Select[Any]:
    """Staged rows of the versions that are stored, in the columns of the core table."""
    values = [
        arriving.c.work_id if c.name in ("work_id", "citing_work_id") else staged.c[c.name] for c in child.columns
    ]
    return sa.select(*values).join_from(staged, arriving, staged.c.stage_id == arriving.c.stage_id)


def _with_eligibility(staged: FromClause, arriving: Table, batch_id: str) -> Select[Any]:
    """New rows of `work`, counted or not as far as the work itself decides: retracted, or of a type that does not
    count."""
    reason = sa.case(
        (staged.c.is_retracted, "retracted"),
        (staged.c.type.not_in(sorted(work_types().counted)), "type"),
        else_=sa.null(),
    )
    decided: dict[str, sa.ColumnElement[Any]] = {
        "is_counted": reason.is_(None),
        "excluded_reason": sa.cast(reason, sa.String),
        "batch_id": sa.literal(batch_id),
    }
    values = [decided[c.name].label(c.name) if c.name in decided else staged.c[c.name] for c in t.work.columns]
    return sa.select(*values).join_from(staged, arriving, staged.c.stage_id == arriving.c.stage_id)


def _add_doi_mates(conn: Connection, old_work: Table, new_work: Table, batch_id: str) -> None:
    """Decide which work of each DOI counts, and add stored works whose standing flips to both sides of the comparison.

    Of the works of a corpus that share a DOI the one with most located authors counts, then the lowest id; the others
    get `duplicate_doi`.
    """
    is_candidate = [sa.or_(w.c.is_counted, w.c.excluded_reason == "duplicate_doi") for w in (t.work, new_work)]
    dois = sa.union(*(sa.select(w.c.doi).where(w.c.doi.is_not(None)) for w in (old_work, new_work)))
    mates = scratch(
        conn,
        "mates",
        sa.select(t.work).where(
            t.work.c.doi.in_(dois), is_candidate[0], t.work.c.work_id.not_in(sa.select(old_work.c.work_id))
        ),
    )
    columns = ("work_id", "corpus", "doi", "authors_located")
    rivals = sa.union_all(
        sa.select(*(new_work.c[n] for n in columns)).where(is_candidate[1], new_work.c.doi.is_not(None)),
        sa.select(*(mates.c[n] for n in columns)),
    ).subquery()
    order = (rivals.c.authors_located.desc(), rivals.c.work_id)
    rank = sa.func.row_number().over(partition_by=(rivals.c.corpus, rivals.c.doi), order_by=order)
    losers = scratch(
        conn,
        "losers",
        sa.select(sa.select(rivals.c.work_id, rank.label("rank")).subquery()).where(sa.literal_column("rank") > 1),
    )
    lost = sa.select(losers.c.work_id)
    conn.execute(
        sa.update(new_work)
        .values(is_counted=False, excluded_reason="duplicate_doi")
        .where(new_work.c.work_id.in_(lost))
    )
    flips = mates.c.is_counted == mates.c.work_id.in_(lost)
    conn.execute(sa.insert(old_work).from_select(mates.columns.keys(), sa.select(mates).where(flips)))
    flipped = {
        "is_counted": ~mates.c.is_counted,
        "excluded_reason": sa.case((mates.c.is_counted, "duplicate_doi"), else_=None),
        "batch_id": sa.literal(batch_id),
    }
    rows = sa.select(*(flipped.get(c.name, c) for c in mates.columns)).where(flips)
    conn.execute(sa.insert(new_work).from_select(mates.columns.keys(), rows))


def _compare(old_work: Table, new_work: Table, gone_reason: str) -> Select[Any]:
    """Per work of D: the one reason of its change, the first that holds, and which of its parts changed."""
    old, new = old_work.c, new_work.c
    standing_differs = sa.or_(
        old.is_counted != new.is_counted, old.excluded_reason.is_distinct_from(new.excluded_reason)
    )
    reason = sa.case(
        (new.work_id.is_(None), gone_reason),
        (old.work_id.is_(None), "new"),
        (standing_differs, "eligibility"),
        (old.place_hash != new.place_hash, "corrected"),
        (old.field_hash != new.field_hash, "reclassified"),
        else_="citations",
    )
    changed = [
        sa.or_(old.work_id.is_(None), new.work_id.is_(None), old[f"{part}_hash"] != new[f"{part}_hash"]).label(
            f"{part}_changed"
        )
        for part in ("place", "field", "reference")
    ]
    return sa.select(
        sa.func.coalesce(old.work_id, new.work_id).label("work_id"),
        reason.label("reason"),
        old.work_id.is_not(None).label("was_stored"),
        *changed,
    ).outerjoin_from(old_work, new_work, old.work_id == new.work_id, full=True)


def _describe_institutions(conn: Connection, stage: Mapping[str, FromClause]) -> None:
    """Keep the newest description of each institution over all valid versions, whether their work changed or not."""
    staged = stage["institution"]
    order = (staged.c.source_updated_at.desc(), staged.c.tie_hash.desc())
    rank = sa.func.row_number().over(partition_by=staged.c.institution_id, order_by=order)
    names = t.institution.columns.keys()
    ranked = (
        sa.select(*(staged.c[name] for name in names), rank.label("rank"))
        .where(staged.c.stage_id.not_in(sa.select(stage["rejected"].c.stage_id)))
        .subquery()
    )
    have = t.institution
    newer = scratch(
        conn,
        "described",
        sa.select(*(ranked.c[name] for name in names))
        .outerjoin_from(ranked, have, have.c.institution_id == ranked.c.institution_id)
        .where(ranked.c.rank == 1, sa.or_(have.c.institution_id.is_(None), _is_older(have.c, ranked.c))),
    )
    conn.execute(sa.delete(have).where(have.c.institution_id.in_(sa.select(newer.c.institution_id))))
    conn.execute(sa.insert(have).from_select(names, sa.select(newer).order_by(newer.c.institution_id)))
