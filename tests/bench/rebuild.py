"""What the rebuild of the mart costs beside the same tables written by hand: three GROUP BY over core, on DuckDB.

Both fill empty tables in one transaction, under the same memory limit and 2 threads, each on a fresh copy of the base
of --works small works that refresh.py uses, in turns, --repeat times. Ours are the selects of `collab rebuild`, slice
by slice. Every cell must be equal, or the script ends.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import sqlalchemy as sa

from schemas import tables as t
from tasks.warehouse import Warehouse
from tests.bench.common import BENCH, commit, fixed_seconds, forget_settings, noise, note, say, spread
from tests.bench.warehouses import (
    BENCH_SCHEMA,
    base_warehouse,
    copy_of,
    make_empty_mart,
    rebuild_seconds,
    settings_for,
)

BY_HAND_SCHEMA = "by_hand"
BY_HAND = {
    "world_year": """
        INSERT INTO by_hand.world_year
        SELECT w.corpus, p.policy, f.field, w.year,
            count(*) FILTER (w.is_counted),
            count(*) FILTER (w.is_counted AND p.territories >= 2),
            count(*) FILTER (w.is_counted AND p.territories = 1 AND p.unknown_share = 0),
            count(*) FILTER (w.is_counted AND p.territories <= 1 AND p.unknown_share > 0),
            count(*) FILTER (w.is_counted AND p.unknown_share > 0),
            count(*) FILTER (w.is_counted AND p.territories = 0),
            coalesce(sum(p.unknown_share) FILTER (w.is_counted), 0),
            coalesce(sum(p.territories * (p.territories - 1) // 2) FILTER (w.is_counted), 0),
            coalesce(sum(w.cited_by_count) FILTER (w.is_counted), 0),
            count(*) FILTER (w.excluded_reason = 'retracted'),
            count(*) FILTER (w.excluded_reason = 'type'),
            count(*) FILTER (w.excluded_reason = 'duplicate_doi')
        FROM core.work w
        JOIN core.work_policy p ON p.work_id = w.work_id
        JOIN core.work_field f ON f.work_id = w.work_id
        GROUP BY w.corpus, p.policy, f.field, w.year
    """,
    "country_year": """
        INSERT INTO by_hand.country_year
        SELECT w.corpus, p.policy, f.field, w.year, a.territory,
            count(*),
            sum(a.share),
            count(*) FILTER (p.territories >= 2),
            count(*) FILTER (a.territory <> 'ZZ' AND p.territories = 1 AND p.unknown_share = 0),
            count(*) FILTER (p.territories <= 1 AND p.unknown_share > 0),
            coalesce(sum(p.territories - 1) FILTER (a.territory <> 'ZZ'), 0),
            sum(w.cited_by_count)
        FROM core.work w
        JOIN core.work_policy p ON p.work_id = w.work_id
        JOIN core.work_field f ON f.work_id = w.work_id
        JOIN core.work_territory a ON a.work_id = w.work_id AND a.policy = p.policy
        WHERE w.is_counted
        GROUP BY w.corpus, p.policy, f.field, w.year, a.territory
    """,
    "pair_year": """
        INSERT INTO by_hand.pair_year
        SELECT w.corpus, p.policy, f.field, w.year, a.territory, b.territory,
            count(*),
            count(*) FILTER (p.unknown_share > 0),
            count(*) FILTER (p.territories = 2),
            count(*) FILTER (p.territories > 2),
            count(*) FILTER (a.only_author = b.only_author),
            sum(a.share + b.share),
            sum(w.cited_by_count)
        FROM core.work w
        JOIN core.work_policy p ON p.work_id = w.work_id
        JOIN core.work_field f ON f.work_id = w.work_id
        JOIN core.work_territory a ON a.work_id = w.work_id AND a.policy = p.policy
        JOIN core.work_territory b ON b.work_id = w.work_id AND b.policy = p.policy AND a.territory < b.territory
        WHERE w.is_counted AND a.territory <> 'ZZ' AND b.territory <> 'ZZ'
        GROUP BY w.corpus, p.policy, f.field, w.year, a.territory, b.territory
    """,
}


def by_hand_seconds(warehouse: Warehouse) -> dict[str, float]:
    """Seconds of the statements by hand, in one transaction: for each table, and `all`."""
    seconds = {}
    with warehouse.transaction() as conn:
        make_empty_mart(conn, BY_HAND_SCHEMA)
    whole = time.perf_counter()
    with warehouse.transaction() as conn:
        for name, statement in BY_HAND.items():
            began = time.perf_counter()
            conn.exec_driver_sql(statement)
            seconds[name] = time.perf_counter() - began
    seconds["all"] = time.perf_counter() - whole
    return seconds


def count_equal_cells(conn: sa.Connection) -> dict[str, int]:
    """Cells of each table; one that differs ends the script."""
    found = {}
    for mart in t.MART:
        ours, by_hand = f"{BENCH_SCHEMA}.{mart.name}", f"{BY_HAND_SCHEMA}.{mart.name}"
        for one, other in ((ours, by_hand), (by_hand, ours)):
            query = f"SELECT count(*) FROM (SELECT * FROM {one} EXCEPT ALL SELECT * FROM {other})"
            if differing := conn.exec_driver_sql(query).scalar():
                raise SystemExit(f"{differing:,} cells of {one} are not in {other}")
        found[mart.name] = conn.exec_driver_sql(f"SELECT count(*) FROM {ours}").scalar() or 0
    return found


def run_ours(base: Path) -> dict[str, float]:
    home = copy_of(base, "rebuild-home")
    with Warehouse.open(settings_for(home), reads_all=True) as warehouse:
        return rebuild_seconds(warehouse)


def run_by_hand(base: Path) -> dict[str, float]:
    home = copy_of(base, "rebuild-home")
    with Warehouse.open(settings_for(home), reads_all=True) as warehouse:
        return by_hand_seconds(warehouse)


def compare(base: Path) -> dict[str, int]:
    """Both ways into one copy of the base."""
    home = copy_of(base, "rebuild-home")
    with Warehouse.open(settings_for(home), reads_all=True) as warehouse:
        rebuild_seconds(warehouse, drops=False)
        by_hand_seconds(warehouse)
        with warehouse.reading() as conn:
            return count_equal_cells(conn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--works", type=int, default=100_000, help="stored works")
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    forget_settings()
    BENCH.mkdir(exist_ok=True)
    base, before = base_warehouse(args.works), fixed_seconds()
    cells = compare(base)
    say(f"rebuild of {args.works:,} works on DuckDB; {commit()}")
    say(f"  all cells are equal: {', '.join(f'{count:,} of {name}' for name, count in cells.items())}")
    ours, by_hand = [], []
    for turn in range(args.repeat):  # in turns, so that a noisy minute meets both
        ours.append(run_ours(base))
        by_hand.append(run_by_hand(base))
        note(f"turn {turn + 1}: ours {ours[-1]['all']:.2f} s, by hand {by_hand[-1]['all']:.2f} s")
    shutil.rmtree(BENCH / "rebuild-home")
    for name in (*BY_HAND, "all"):
        mine, other = [seconds[name] for seconds in ours], [seconds[name] for seconds in by_hand]
        ratio = statistics.median(mine) / statistics.median(other)
        say(f"  {name:12}  ours {spread(mine, '.2f')} s, by hand {spread(other, '.2f')} s: {ratio:.2f} times")
    say(f"  {noise(before)}")


if __name__ == "__main__":
    main()
