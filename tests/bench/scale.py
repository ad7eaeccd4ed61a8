"""What grows with the number of stored works, and what does not.

One warehouse is grown through --sizes by small works (no abstract, few references, else of the shape of OpenAlex), from
a temporary snapshot of which a piece at a time is on disk. It lives in .bench, or for PostgreSQL in a server of its own
in a temporary folder, and is removed at the end. At each size, in turns, --repeat times (medians are shown):

Grow     seconds of each stage of getting here from the former size, and works a second. Parsing is what the load waits
         for: the next batch is parsed while one is loaded. Writing the snapshot is not counted.
Night    --changed works, mixed as in refresh.py: the load transactions alone, and the whole night from opening the
         warehouse to closing it, landing and publishing included (starting Python is not).
Rebuild  every table of the mart counted anew into empty tables, with the selects of `collab rebuild`. A night is shown
         in percent of it.
Verify   `collab verify`, once. A difference ends the script.
Memory   peak of each of these in MB: PSS over a process of its own and its descendants. DuckDB is in it; the server of
         PostgreSQL is not.
Disk     bytes per work: the DuckDB file, or pg_database_size (without the write-ahead log), after growing.
Queries  on mart.pair_year of the warehouse, median of 5 in ms, and how often each fits in reading the whole table:
         pair      one pair, all years and fields
         partners  top 20 partners of one country in one field and year
         year      all pairs of one field and year
Machine  seconds of a small fixed computation on each core before and after, and the load average: how noisy it was.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import sqlalchemy as sa

from schemas import tables as t
from tasks.storage.warehouse import Warehouse
from tests.bench.common import (
    BENCH,
    Used,
    commit,
    fixed_seconds,
    forget_settings,
    fresh_folder,
    is_child,
    note,
    run_child,
    say,
)
from tests.bench.small import write_night
from tests.bench.warehouses import STAGES, grow, rebuild_seconds, settings_for, take_in, verified
from tests.servers import PostgresServer

SIZES = {"duckdb": [100_000, 300_000, 1_000_000, 3_000_000], "postgresql": [100_000, 300_000, 1_000_000]}
TIMES = 5
ONE_CELL = "corpus = 'openalex' AND policy = 'iso' AND field = 'ai' AND year = 2024"
QUERIES = {
    "pair": "SELECT field, year, papers, score FROM mart.pair_year"
    " WHERE corpus = 'openalex' AND policy = 'iso' AND territory_a = 'CN' AND territory_b = 'US' ORDER BY field, year",
    "partners": "SELECT CASE territory_a WHEN 'US' THEN territory_b ELSE territory_a END AS partner, papers, score"
    f" FROM mart.pair_year WHERE {ONE_CELL} AND 'US' IN (territory_a, territory_b)"
    " ORDER BY papers DESC, partner LIMIT 20",
    "year": f"SELECT * FROM mart.pair_year WHERE {ONE_CELL}",
}
WHOLE_TABLE = (
    f"SELECT count(*), {', '.join(f'max({column.name})' for column in t.pair_year.columns)} FROM mart.pair_year"
)


def child_grow(home: str, url: str | None, stored: int, works: int) -> dict[str, Any]:
    return grow(settings_for(Path(home), Path(home) / "snapshot", url), stored, works)


def child_night(home: str, url: str | None, snapshot: str) -> dict[str, Any]:
    return take_in(settings_for(Path(home), Path(snapshot), url))


def child_rebuild(home: str, url: str | None) -> dict[str, Any]:
    with Warehouse.open(settings_for(Path(home), url=url), create=False, reads_all=True) as warehouse:
        return rebuild_seconds(warehouse)


def child_verify(home: str, url: str | None) -> dict[str, Any]:
    return {"all": verified(settings_for(Path(home), url=url))}


def child_queries(home: str, url: str | None) -> dict[str, Any]:
    with Warehouse.open(settings_for(Path(home), url=url), create=False) as warehouse, warehouse.reading() as conn:
        works = conn.scalar(sa.select(sa.func.count()).select_from(t.work))
        found = {name: _median_ms(conn, query) for name, query in {**QUERIES, "whole": WHOLE_TABLE}.items()}
        return {"works": works, "cells": conn.exec_driver_sql(WHOLE_TABLE).one()[0], "ms": found}


def _median_ms(conn: sa.Connection, query: str) -> float:
    seconds = []
    for _ in range(TIMES):
        began = time.perf_counter()
        rows = conn.exec_driver_sql(query).all()
        seconds.append(time.perf_counter() - began)
        if not rows:
            raise SystemExit(f"nothing found: {query}")
    return statistics.median(seconds) * 1000


@contextmanager
def database(engine: str) -> Iterator[str | None]:
    """URL of an empty database; None for the file that a home has anyway."""
    if engine == "duckdb":
        yield None
        return
    with PostgresServer() as server:
        yield server.new_database()


def bytes_on_disk(home: Path, url: str | None) -> int:
    if url is None:
        return (home / "warehouse.duckdb").stat().st_size
    with closing(sa.create_engine(settings_for(home, url=url).url, poolclass=sa.NullPool).connect()) as conn:
        return int(conn.scalar(sa.text("SELECT pg_database_size(current_database())")) or 0)


def measure(home: Path, url: str | None, at: int, args: argparse.Namespace) -> dict[str, str]:
    """Grow the warehouse to one of the sizes and measure there: cells of the table by title."""
    where = {"home": str(home), "url": url}
    stored, works = [0, *args.sizes][at : at + 2]
    before = fixed_seconds()
    note(f"growing to {works:,} works")
    stages, growing = run_child(__file__, "grow", stored=stored, works=works, **where)
    size = bytes_on_disk(home, url)
    read, _ = run_child(__file__, "queries", **where)
    nights, rebuilds = [], []
    for turn in range(args.repeat):  # in turns, so that a noisy minute meets both
        snapshot = home / "night"
        write_night(snapshot, works, args.changed, at * args.repeat + turn)
        nights.append(run_child(__file__, "night", snapshot=str(snapshot), **where))
        rebuilds.append(run_child(__file__, "rebuild", **where))
        night, rebuild = nights[-1][0], rebuilds[-1][0]
        note(f"  load {night['stages']['load']:.2f} s, night {night['seconds']:.2f} s, rebuild {rebuild['all']:.2f} s")
    verify, verifying = run_child(__file__, "verify", **where)
    memory = {"grow": [growing], "night": _used(nights), "rebuild": _used(rebuilds), "verify": [verifying]}
    return {
        "works stored": f"{read['works']:,}",
        "pair_year cells": f"{read['cells']:,}",
        **_growth(stages, works - stored),
        **_nights([night for night, _ in nights], [rebuild["all"] for rebuild, _ in rebuilds]),
        "verify s": f"{verify['all']:.2f}",
        **{f"{name} MB": f"{max(used.pss_sum for used in all_used):,.0f}" for name, all_used in memory.items()},
        "disk bytes/work": f"{size / works:,.0f}",
        "whole-table ms": f"{read['ms']['whole']:.1f}",
        **{f"{name} ms": f"{read['ms'][name]:.2f}" for name in QUERIES},
        **{f"{name} fits": f"{read['ms']['whole'] / read['ms'][name]:.1f}" for name in QUERIES},
        "fixed before": f"{before:.2f}",
        "fixed after": f"{fixed_seconds():.2f}",
        "load average": f"{os.getloadavg()[0]:.1f}",
    }


def _used(runs: list[tuple[dict[str, Any], Used]]) -> list[Used]:
    return [used for _, used in runs]


def _growth(stages: dict[str, float], works: int) -> dict[str, str]:
    seconds = {name: stages[name] for name in STAGES} | {"grow": sum(stages[name] for name in STAGES)}
    row = {f"{name} s": f"{each:,.1f}" for name, each in seconds.items()}
    return row | {f"{name} /s": f"{works / each:,.0f}" for name, each in seconds.items()}


def _nights(nights: list[dict[str, Any]], rebuilds: list[float]) -> dict[str, str]:
    rebuild = statistics.median(rebuilds)
    load = statistics.median(night["stages"]["load"] for night in nights)
    whole = statistics.median(night["seconds"] for night in nights)
    shown = {"night-load s": load, "night-whole s": whole, "rebuild s": rebuild}
    row = {title: f"{seconds:.2f}" for title, seconds in shown.items()}
    return row | {"night-load %": f"{load / rebuild:.1%}", "night-whole %": f"{whole / rebuild:.1%}"}


def show_row(row: dict[str, str], *, with_titles: bool) -> None:
    """One line for a size, under titles of two words."""
    words = [title.rsplit(" ", 1) for title in row]
    words = [[first.removeprefix("parse and "), second] for first, second in words]
    widths = [max(len(cell), *map(len, both)) for cell, both in zip(row.values(), words, strict=True)]
    lines = [*zip(*words, strict=True)] if with_titles else []
    for line in [*lines, row.values()]:
        say("  ".join(f"{cell:>{max(width, 6)}}" for cell, width in zip(line, widths, strict=True)))


def main() -> None:
    if is_child(globals()):
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=SIZES, default="duckdb")
    parser.add_argument("--sizes", type=int, nargs="+", help="stored works, growing")
    parser.add_argument("--changed", type=int, default=2_000, help="works that a night changes")
    parser.add_argument("--repeat", type=int, default=3, help="nights and rebuilds at each size")
    args = parser.parse_args()
    args.sizes = sorted(args.sizes or SIZES[args.engine])
    forget_settings()
    home, rows = fresh_folder(BENCH / f"scale-{args.engine}"), []
    memory = "of our processes, DuckDB included" if args.engine == "duckdb" else "of our processes, not of the server"
    say(f"{args.engine}, nights of {args.changed:,} changed works, memory {memory}; {commit()}")
    with database(args.engine) as url:
        for at in range(len(args.sizes)):
            rows.append(measure(home, url, at, args))
            show_row(rows[-1], with_titles=at == 0)
    shutil.rmtree(home)
    say("\nthe same, by figure")
    for title in rows[0]:
        say(f"{title:20}" + "".join(f"{row[title]:>12}" for row in rows))


if __name__ == "__main__":
    main()
