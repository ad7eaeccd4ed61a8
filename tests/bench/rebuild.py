"""What the rebuild of the mart costs beside the same tables written by hand: the plain SQL of by_hand.sql, on DuckDB.

Both fill empty tables in one transaction with 2 threads, each on a fresh copy of the base of --works small works that
refresh.py uses, or of --warehouse, in turns, --repeat times. Ours are the selects of `collab rebuild`, slice by slice,
with its memory; plain SQL has the 2 GB that it needs.

First every cell must be equal, or the script ends. Small works name no building block, are of one corpus, and all have
authors and one sector, so the copy on which cells are compared is made more various; seconds are those of the base.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import sqlalchemy as sa

from schemas import tables as t
from tasks.storage.warehouse import Warehouse
from tests.bench.common import BENCH, commit, fixed_seconds, forget_settings, noise, note, say, spread
from tests.bench.warehouses import (
    BENCH_SCHEMA,
    BY_HAND_SCHEMA,
    base_warehouse,
    by_hand_seconds,
    copy_of,
    rebuild_seconds,
    seconds_on_copy,
    settings_for,
)

WAYS = {"ours": rebuild_seconds, "by hand": by_hand_seconds}
HOME = "rebuild-home"
VARIETY = (  # what the base lacks; a table without cells, or a condition that always holds, would prove nothing
    """
    INSERT INTO core.work_mention BY NAME
    SELECT f.work_id, block.mention
    FROM core.work_field f
    JOIN (VALUES ('every-third', 3), ('every-fifth', 5)) block (mention, every) ON f.work_id % block.every = 0
    WHERE f.field = 'ai'
    """,
    "UPDATE core.work SET corpus = 'venues' WHERE work_id % 7 = 0",
    "DELETE FROM core.work_evidence WHERE work_id % 11 = 0",  # like works without authors
    "UPDATE core.work_territory SET sectors = sectors | (1 << (work_id % 10)::INTEGER)",
)


def compare(base: Path) -> dict[str, int]:
    """Both ways into one copy of the base, made more various: cells of each table, and `works`."""
    home = copy_of(base, HOME)
    with Warehouse.open(settings_for(home), reads_all=True) as warehouse:
        with warehouse.transaction() as conn:
            for statement in VARIETY:
                conn.exec_driver_sql(statement)
        for way in WAYS.values():
            way(warehouse, drops=False)
        with warehouse.reading() as conn:
            works = conn.scalar(sa.select(sa.func.count()).select_from(t.work)) or 0
            found = {"works": works} | {mart.name: count_equal_cells(conn, mart) for mart in t.MART}
    shutil.rmtree(home)
    return found


def count_equal_cells(conn: sa.Connection, mart: sa.Table, schema: str = BENCH_SCHEMA) -> int:
    """Cells of a table in a schema of ours; one that is not as by hand, or a table without any, ends the script."""
    columns = ", ".join(column.name for column in mart.columns)
    ours, by_hand = (f"SELECT {columns} FROM {where}.{mart.name}" for where in (schema, BY_HAND_SCHEMA))
    for title, one, other in (("of ours", ours, by_hand), ("by hand", by_hand, ours)):
        differing = conn.exec_driver_sql(f"SELECT count(*) FROM ({one} EXCEPT ALL {other})").scalar()
        if differing:
            raise SystemExit(f"{mart.name}: {differing:,} cells {title} are not among the others")
    cells = conn.exec_driver_sql(f"SELECT count(*) FROM ({ours})").scalar() or 0
    if not cells:
        raise SystemExit(f"{mart.name}: no cells, so nothing was compared")
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--works", type=int, default=100_000, help="stored works")
    parser.add_argument(
        "--warehouse", type=Path, help="DuckDB file of a warehouse to copy instead; nobody may have it open"
    )
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    forget_settings()
    BENCH.mkdir(exist_ok=True)
    base = args.warehouse or base_warehouse(args.works)
    before = fixed_seconds()
    cells = compare(base)
    say(f"rebuild of {cells.pop('works'):,} works on DuckDB; {commit()}")
    say(f"  all cells are equal: {', '.join(f'{count:,} of {name}' for name, count in cells.items())}")
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    for turn in range(args.repeat):  # in turns, so that a noisy minute meets both
        for name, way in WAYS.items():
            runs[name].append(seconds_on_copy(base, HOME, way))
        note(f"turn {turn + 1}: " + ", ".join(f"{name} {seconds[-1]['all']:.2f} s" for name, seconds in runs.items()))
    for table in (*cells, "all"):
        mine, other = ([seconds[table] for seconds in runs[name]] for name in WAYS)
        ratio = statistics.median(mine) / statistics.median(other)
        say(f"  {table:17}  ours {spread(mine, '.2f')} s, by hand {spread(other, '.2f')} s: {ratio:.2f} times")
    say(f"  {noise(before)}")


if __name__ == "__main__":
    main()
