"""Figures of a batch as a whole, measured inside its load transaction, and the limits they are held to.

Cell rules look at the cells the batch touched; drift gates compare with the last 30 batches of the same source, once
there are 10 of them and at least 1,000 works (real daily partitions hold a median of 3 works: nothing can be judged
from those).

A venue list is no series: one batch is CVPR with affiliations, the next NeurIPS without any. Its figures are shown and
kept, but not held against others.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy import Connection, Table

from schemas import tables as t
from schemas.expectations import Gate, raised
from schemas.places.territories import UNKNOWN
from schemas.rules import Severity
from schemas.settings import Settings
from tasks.landing.land import Landing
from tasks.loading.load import Change
from tasks.reading.parsed import CORPUS
from tasks.validation.publishers import arriving_gates, publisher_metrics, unlocated_gate
from tasks.validation.rewriting import rewriting_gates
from tasks.validation.validate import read_staged
from tasks.validation.volume import volume_gates

HISTORY = 30
WINDOW_COMPLETE = "window_complete"
FEWEST_BATCHES = 10
FEWEST_WORKS = 1_000
USUAL_SIGMAS: float = Settings.model_fields["band_sigmas"].default
ANY_BAND = "COLLAB_BAND_SIGMAS=1000"  # as wide as shares can be apart
CONFLICTS = "conflict_rate."  # then the country of the institution
SMALLEST_COUNTRY_WIDTH = 0.03
FEWEST_AFFILIATIONS = 200  # distinct strings of a country in a batch, below which its rate of conflicts says nothing
# UTF-8 read as Latin-1: a capital letter with tilde or circumflex, then a sign from the upper half (trap T7).
MOJIBAKE = r"[ÃÂ][\x{80}-\x{BF}]|â€"
# (name, severity, smallest width of the band): a share may always move by its smallest width
DRIFT: tuple[tuple[str, Severity, float], ...] = (
    ("share_with_country", "stop", 0.05),
    ("conflict_rate", "warn", 0.02),
    ("string_fallback_rate", "warn", 0.05),
    ("mojibake_rate", "warn", 0.01),
)


def staged_metrics(folder: Path) -> dict[str, float]:
    """Shares measured on the staged works of a batch; empty for a batch without works in scope."""
    work = read_staged(folder, "work").select(["authors_located"])
    if not len(work):
        return {}
    rows = read_staged(folder, "affiliation").select(
        ["country_source", "is_conflict", "raw_string", "institution_country", "institution_id"]
    )
    numbers, strings = _numbered(rows["raw_string"])
    is_mangled = pc.match_substring_regex(strings, MOJIBAKE)
    return {
        "share_with_country": _share(pc.greater(work["authors_located"], 0)),
        "conflict_rate": _share(rows["is_conflict"]),
        "string_fallback_rate": _share(pc.equal(rows["country_source"], "string")),
        "mojibake_rate": _share(pc.fill_null(is_mangled.take(numbers), False)),
        **_conflicts_by_country(rows.set_column(2, "string", numbers)),
        **publisher_metrics(folder),
    }


def _numbered(values: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.Array]:
    """Numbers of distinct values, and these: of long strings that recur it is cheaper to compare the numbers."""
    distinct = pc.unique(values.drop_null())
    return pc.index_in(values, distinct), distinct


def _conflicts_by_country(rows: pa.Table) -> dict[str, float]:
    """Share of distinct strings with an institution that contradict it, per country of the institution, where there are
    enough to tell: the wrong links of one country drown in the rate of all. Distinct, because a consortium's string is
    printed for each of its hundred authors."""
    linked = rows.filter(pc.is_valid(rows["institution_country"])).drop_columns("country_source")
    pairs = linked.group_by(["string", "institution_id", "institution_country", "is_conflict"]).aggregate([])
    sums = pairs.group_by("institution_country").aggregate([("is_conflict", "sum"), ("is_conflict", "count")])
    return {
        f"{CONFLICTS}{row['institution_country']}": row["is_conflict_sum"] / row["is_conflict_count"]
        for row in sums.to_pylist()
        if row["is_conflict_count"] >= FEWEST_AFFILIATIONS
    }


def _share(flags: pa.ChunkedArray) -> float:
    return float(pc.mean(flags).as_py() or 0.0) if len(flags) else 0.0


def measure_gates(
    conn: Connection,
    counts: dict[str, int],
    change: Change,
    metrics: dict[str, float],
    source: str,
    settings: Settings,
    corpus: str = CORPUS,
) -> list[Gate]:
    """All gates of a batch that a source brought, measured on the state it would leave behind.

    Args:
        counts: what became of its records and deletions, by name (COUNTS).
        metrics: figures of its staged works; empty where it has none.
    """
    history = _history(conn, source)
    works = counts["fetched"] - counts["quarantined"] - counts["out_of_scope"]
    is_series = corpus == CORPUS
    is_judged = works >= FEWEST_WORKS and len(history) >= FEWEST_BATCHES and is_series
    gates = accounting_gates(conn, counts, change, settings)
    fewest = FEWEST_WORKS if len(history) >= FEWEST_BATCHES or not is_series else None
    gates += rewriting_gates(conn, change, settings, works, corpus, source, fewest)
    if is_series:
        gates.append(unlocated_gate(conn, change, settings))
    if metrics:
        if_not = Gate.if_not if is_series else "the batches of a venue list are no series"
        gates += _drift_gates(metrics, history, settings, is_judged, if_not)
        gates.append(_country_gate(metrics, history, settings))
    if metrics and is_series:
        gates += arriving_gates(metrics, history, settings)
    return gates


def accounting_gates(conn: Connection, counts: dict[str, int], change: Change, settings: Settings) -> list[Gate]:
    """The gates of every batch, whoever asked for it: nothing is lost on the way, and the cells agree with each other.

    Args:
        counts: see measure_gates.
    """
    return [*_count_gates(counts, settings), *_cell_gates(conn, change.cells)]


def _count_gates(counts: dict[str, int], settings: Settings) -> list[Gate]:
    """Whether every record and every deletion is accounted for, and how many records were refused."""
    refused = counts["quarantined"] / max(counts["fetched"], 1)
    unaccounted = counts["fetched"] - sum(counts[name] for name in t.RECORD_COUNTS)
    unapplied = counts["listed"] - sum(counts[name] for name in t.DELETION_COUNTS)
    return [
        Gate("conservation", "stop", unaccounted, 0, 0, "every record fetched must be accounted for"),
        Gate("deletions_conserved", "stop", unapplied, 0, 0, "every deletion listed must be accounted for"),
        Gate(
            "quarantined_share",
            "stop",
            refused,
            0,
            settings.max_quarantined_share,
            "so many bad records mean that the source has changed, not that records are bad",
            counts["fetched"] >= FEWEST_WORKS,
            lifted_by=raised("max_quarantined_share", refused),
        ),
    ]


def _drift_gates(
    metrics: dict[str, float], history: list[dict[str, float]], settings: Settings, is_judged: bool, if_not: str
) -> list[Gate]:
    """Shares of a batch beside the band of those of the last batches; without any, around its own."""
    gates = []
    for name, severity, least in DRIFT:
        if name not in metrics:
            continue
        earlier = [figures[name] for figures in history if name in figures]
        middle = statistics.fmean(earlier) if earlier else metrics[name]
        width = _width(earlier, least, settings) if earlier else least
        low, high = max(middle - width, 0.0), min(middle + width, 1.0)
        why = f"within {width:.3f} of the mean of the last {len(earlier)} batches"
        is_evaluated = is_judged and len(earlier) >= FEWEST_BATCHES
        gates.append(Gate(name, severity, metrics[name], low, high, why, is_evaluated, if_not, ANY_BAND))
    return gates


def _width(earlier: Sequence[float], least: float, settings: Settings) -> float:
    """Half the width of a drift band: `least` at the usual number of standard deviations where nothing ever moved, so
    that more of them let anything pass."""
    usual: float = max(statistics.pstdev(earlier), least / USUAL_SIGMAS)
    return settings.band_sigmas * usual


def _country_gate(metrics: dict[str, float], history: list[dict[str, float]], settings: Settings) -> Gate:
    """The country whose institutions are contradicted most beyond what is usual for it: within the band of the last
    batches where there are enough of them, else within a fixed share."""
    name, worst, limit = "", 0.0, settings.max_country_conflicts
    for metric, rate in metrics.items():
        if not metric.startswith(CONFLICTS):
            continue
        earlier = [figures[metric] for figures in history if metric in figures]
        most = settings.max_country_conflicts
        if len(earlier) >= FEWEST_BATCHES:
            most = min(statistics.fmean(earlier) + _width(earlier, SMALLEST_COUNTRY_WIDTH, settings), 1.0)
        if not name or rate - most > worst - limit:
            name, worst, limit = metric.removeprefix(CONFLICTS), rate, most
    why = f"strings linked to institutions of {name or 'no country'} that name a place elsewhere; `collab explain`"
    return Gate("country_conflict_rate", "warn", worst, None, limit, why, bool(name))


def window_gates(conn: Connection, landing: Landing, settings: Settings) -> list[Gate]:
    """Whether a source holds as much as it is used to, and listed all that it says there is; a source that is copied
    says nothing of the latter."""
    volume = volume_gates(conn, landing, settings)
    if landing.source_records is None or landing.source_listed is None:
        return volume
    missing = max(landing.source_records - landing.source_listed, 0)
    why = "a window must hold what the source says it holds"
    whole = "listed works whose authors could not all be had; asked for again with their month"
    return [
        Gate(WINDOW_COMPLETE, "stop", float(missing), 0, 0, why),
        Gate("works_left_out", "warn", float(landing.left_out), 0, 0, whole),
        *volume,
    ]


def _cell_gates(conn: Connection, cells: dict[str, Table]) -> list[Gate]:
    """Rules that no state of the tables may break, looked at in the cells that the batch touched."""
    found: Counter[str] = Counter()
    for mart in (mart for mart in t.MART if mart.name in cells):
        found.update(_broken(conn, mart, cells))
    why = {
        "negative_cells": "no cell can hold a negative number of works",
        "pair_order": "a pair is stored once, a before b, and never with ZZ",
        "pairs_above_country": "a pair cannot have more papers than one of its countries",
        "countries_above_world": "a country cannot have more papers than the world",
        "shares_below_world": "shares over all territories with ZZ must equal the world's papers",
    }
    return [Gate(name, "stop", float(found[name]), 0, 0, reason) for name, reason in why.items()]


def _broken(conn: Connection, mart: Table, cells: dict[str, Table]) -> dict[str, int]:
    """Number of touched cells of a mart table that break each rule, in one pass over the table."""
    changed = cells[mart.name]
    world, country = t.world_year, t.country_year
    rows: Any = mart.join(changed, sa.and_(*(mart.c[name] == changed.c[name] for name in t.key_columns(mart))))
    rules: dict[str, Any] = {"negative_cells": sa.or_(*(mart.c[name] < 0 for name in t.measures(mart)))}
    if mart is world:
        same_cell = sa.exists(sa.select(1).select_from(changed).where(_same_cell(changed, country)))
        shares = (
            sa.select(*(country.c[name] for name in t.CELL), sa.func.sum(country.c.fractional).label("total"))
            .where(same_cell)
            .group_by(*(country.c[name] for name in t.CELL))
            .subquery()
        )
        rows = rows.outerjoin(shares, _same_cell(shares, world))
        rules["shares_below_world"] = sa.func.coalesce(shares.c.total, 0) != world.c.papers
    elif mart is country:
        rows = rows.outerjoin(world, _same_cell(world, country))
        rules["countries_above_world"] = country.c.papers > sa.func.coalesce(world.c.papers, 0)
    elif "territory_a" in mart.c:
        ends = mart.c.territory_a, mart.c.territory_b
        rules["pair_order"] = sa.or_(ends[0] >= ends[1], *(end == UNKNOWN for end in ends))
        sides = [country.alias(name) for name in ("side_a", "side_b")]
        for side, end in zip(sides, ends, strict=True):
            rows = rows.outerjoin(side, sa.and_(_same_cell(side, mart), side.c.territory == end))
        rules["pairs_above_country"] = sa.or_(*(mart.c.papers > sa.func.coalesce(side.c.papers, 0) for side in sides))
    counts = [sa.func.count().filter(broken).label(name) for name, broken in rules.items()]
    return dict(conn.execute(sa.select(*counts).select_from(rows)).mappings().one())


def _same_cell(left: Any, right: Any) -> sa.ColumnElement[bool]:
    return sa.and_(*(left.c[name] == right.c[name] for name in t.CELL))


def _history(conn: Connection, source: str) -> list[dict[str, float]]:
    """Figures of the last batches of the source that were large enough to be judged, newest first."""
    recent = (
        sa.select(t.metric.c.batch_id)
        .join_from(t.metric, t.batch, t.batch.c.batch_id == t.metric.c.batch_id)
        .where(t.batch.c.source == source, t.metric.c.works >= FEWEST_WORKS)
        .group_by(t.metric.c.batch_id, t.batch.c.finished_at)
        .order_by(t.batch.c.finished_at.desc())
        .limit(HISTORY)
    )
    found: dict[str, dict[str, float]] = {}
    for batch_id, name, value in conn.execute(
        sa.select(t.metric.c.batch_id, t.metric.c.name, t.metric.c.value).where(t.metric.c.batch_id.in_(recent))
    ):
        found.setdefault(batch_id, {})[name] = value
    return list(found.values())
