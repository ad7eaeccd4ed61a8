"""Whether a publisher has lost its affiliations: when a registry or a crawler breaks, all works of one publisher come
without them, and the share over all works hardly moves.

A publisher is the registrant of a DOI: 10.1109 of 10.1109/5.771073. Works without a DOI are one more, called `no doi`.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy import Connection

from schemas.expectations import Gate, raised
from schemas.settings import Settings
from tasks.loading.load import Change
from tasks.validation.validate import read_staged

LOCATED = "publisher_with_country."  # metric: share of works with a located author, then the registrant
NO_DOI = "no doi"
FEWEST_REWRITTEN = 100  # rewritten works of a registrant that had a located author, below which nothing is judged
FEWEST_IN_BATCH = 200  # works of a registrant in a batch, below which its share says nothing
FEWEST_BATCHES = 10
SMALLEST_WIDTH = 0.1  # the share of a publisher may always move by this
ANY_LOSS = "COLLAB_MAX_UNLOCATED_SHARE=1"
NEARLY_ALL_LOST = 0.25  # of the smallest share that was usual


def publisher_metrics(folder: Path) -> dict[str, float]:
    """Share of the staged works of each larger registrant that have a located author."""
    work = read_staged(folder, "work").select(["doi", "authors_located"])
    if len(work) < FEWEST_IN_BATCH:
        return {}
    registrant = pc.fill_null(pc.struct_field(pc.extract_regex(work["doi"], r"^(?P<name>[^/]+)/"), "name"), NO_DOI)
    flags = pa.table({"registrant": registrant, "is_located": pc.greater(work["authors_located"], 0)})
    sums = flags.group_by("registrant").aggregate([("is_located", "mean"), ("is_located", "count")])
    return {
        f"{LOCATED}{row['registrant']}": row["is_located_mean"]
        for row in sums.to_pylist()
        if row["is_located_count"] >= FEWEST_IN_BATCH
    }


def unlocated_gate(conn: Connection, change: Change, settings: Settings) -> Gate:
    """The registrant of whose rewritten works most lost every located author."""
    was, now = change.before.c, change.after.c
    registrant = sa.func.coalesce(sa.func.split_part(was.doi, "/", 1), NO_DOI).label("registrant")
    is_lost = now.authors_located == 0
    rewritten = (
        sa.select(registrant, sa.func.count().label("works"), sa.func.count().filter(is_lost).label("lost"))
        .join_from(change.before, change.after, was.work_id == now.work_id)
        .where(was.authors_located > 0)
        .group_by(registrant)
        .having(sa.func.count() >= FEWEST_REWRITTEN)
        .subquery()
    )
    share_lost = rewritten.c.lost * 1.0 / rewritten.c.works
    worst = conn.execute(
        sa.select(rewritten, share_lost.label("share")).order_by(share_lost.desc()).limit(1)
    ).one_or_none()
    observed = float(worst.share) if worst else 0.0
    lifted_by = raised("max_unlocated_share", observed)
    why = (
        f"{worst.lost:,} of {worst.works:,} rewritten works of publisher {worst.registrant} had a country and have none"
        " now: its affiliations are missing at the source; wait until they are back and run again; if it is right,"
        f" run once with {lifted_by}"
        if worst
        else "rewritten works that had a country must still have one"
    )
    limit, if_not = settings.max_unlocated_share, "too few rewritten works"
    return Gate("publisher_unlocated", "stop", observed, 0, limit, why, worst is not None, if_not, lifted_by)


def arriving_gates(
    metrics: Mapping[str, float], history: Sequence[Mapping[str, float]], settings: Settings
) -> list[Gate]:
    """The registrant whose works have countries most below what is usual for it: beyond the band of its last batches
    somebody should look, and works that all come without any are not loaded."""
    name, rate, low, floor, excess = "", 1.0, 0.0, 0.0, -1.0
    for metric, found in metrics.items():
        earlier = [figures[metric] for figures in history if metric in figures]
        if not metric.startswith(LOCATED) or len(earlier) < FEWEST_BATCHES:
            continue
        width = max(settings.band_sigmas * statistics.pstdev(earlier), SMALLEST_WIDTH)
        least = statistics.fmean(earlier) - width
        if least - found > excess:
            name, rate, low, excess = metric.removeprefix(LOCATED), found, least, least - found
            floor = min(earlier) * NEARLY_ALL_LOST
    whose = f"works of publisher {name} with a country, beside its last batches" if name else "works with a country"
    remedy = (
        "its affiliations are missing at the source; wait until they are back and run again; if it is right, run once"
        f" with {ANY_LOSS}"
    )
    if_not = "too few works of any publisher, or too few earlier batches"
    is_let_pass = settings.max_unlocated_share == 1
    return [
        Gate("publisher_with_country", "warn", rate, low, None, f"{whose}; `collab explain`", bool(name), if_not),
        Gate(
            "publisher_lost",
            "stop",
            rate,
            floor,
            None,
            f"{whose}: {remedy}",
            bool(name) and not is_let_pass,
            if_not,
            ANY_LOSS,
        ),
    ]
