"""What a warehouse on PostgreSQL costs beside a bare COPY, and a night on it beside counting everything again.

The server is one of the tests' own (tests/servers.py), thrown away at the end: it writes nothing through to the disk.

COPY   --works full-size works (throughput.py's) the whole way into a new database, as a user runs it without Prefect;
       then COPY FROM of the very same rows into the same empty tables, made by the project with their keys and indexes,
       all tables in one transaction to its commit; the rows come from local files in PostgreSQL's own text form. In
       turns, --repeat times. Shown are the whole process and the load steps alone, as multiples of the COPY.
Night  on --stored small works, a night that changes 0.2 % of them (mixed as in refresh.py): the load transactions alone
       and the whole night, in percent of a full rebuild (every table of the mart counted anew into empty tables) of the
       same turn. At the end `collab verify` runs once; a difference ends the script.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import sqlalchemy as sa

from schemas import tables as t
from tasks.storage.warehouse import Warehouse
from tests.bench.common import (
    BENCH,
    commit,
    fixed_seconds,
    forget_settings,
    fresh_folder,
    is_child,
    noise,
    note,
    run_child,
    sample_snapshot,
    say,
    spread,
)
from tests.bench.small import write_night
from tests.bench.warehouses import grow, rebuild_seconds, settings_for, take_in, verified
from tests.servers import Missing, PostgresServer

BLOCK = 1 << 20
CHANGED = 0.002


def child_ours(home: str, url: str, snapshot: str) -> dict[str, Any]:
    return take_in(settings_for(Path(home), Path(snapshot), url))


def export(url: str, folder: Path) -> int:
    """Copy every table of a warehouse to a file; returns their bytes."""
    with _cursor(url) as cursor:
        for table in t.metadata.sorted_tables:
            with (folder / table.name).open("wb") as file, cursor.copy(f"COPY {_name(table)} TO STDOUT") as rows:
                for block in rows:
                    file.write(block)
    return sum(file.stat().st_size for file in folder.iterdir())


def copy_in(url: str, folder: Path) -> float:
    """Seconds of COPY FROM into the empty tables of a new warehouse, all in one transaction."""
    with Warehouse.open(settings_for(folder, url=url)), _cursor(url) as cursor:
        cursor.execute(f"TRUNCATE {', '.join(_name(table) for table in t.metadata.sorted_tables)}")
        cursor.connection.commit()
        cursor.execute("CHECKPOINT")  # what was written before is not written out on this time
        cursor.connection.commit()
        began = time.perf_counter()
        for table in t.metadata.sorted_tables:
            with (folder / table.name).open("rb") as file, cursor.copy(f"COPY {_name(table)} FROM STDIN") as rows:
                while block := file.read(BLOCK):
                    rows.write(block)
        cursor.connection.commit()
        return time.perf_counter() - began


def count_rows(url: str) -> dict[str, int]:
    with _cursor(url) as cursor:
        return {
            table.name: cursor.execute(f"SELECT count(*) FROM {_name(table)}").fetchone()[0]
            for table in t.metadata.sorted_tables
        }


def _name(table: sa.Table) -> str:
    return f"{table.schema}.{table.name}"


@contextmanager
def _cursor(url: str) -> Iterator[Any]:
    import psycopg

    with psycopg.connect(url) as conn, conn.cursor() as cursor:
        yield cursor


def beside_copy(server: PostgresServer, works: int, repeat: int) -> None:
    snapshot, before = sample_snapshot(works), fixed_seconds()
    copies, wholes, loads = [], [], []
    for turn in range(repeat):
        home, folder = fresh_folder(BENCH / "postgresql-home"), fresh_folder(BENCH / "postgresql-rows")
        ours, copied = server.new_database(), server.new_database()
        answer, used = run_child(__file__, "ours", home=str(home), url=ours, snapshot=str(snapshot))
        size = export(ours, folder)
        copies.append(copy_in(copied, folder))
        rows = count_rows(ours)
        if rows != count_rows(copied) or rows["work"] == 0:
            raise SystemExit("COPY left other rows than the load")
        wholes.append(used.seconds)
        loads.append(answer["stages"]["load"])
        stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in answer["stages"].items())
        note(f"turn {turn + 1}: COPY {copies[-1]:.2f} s; ours {used.seconds:.1f} s: {stages}")
        shutil.rmtree(home)
        shutil.rmtree(folder)
    held = f"{sum(rows.values()):,} rows in {len(rows)} tables, {size / 1e6:,.0f} MB of text"
    say(f"{rows['work']:,} full-size works: {held}")
    say(f"  bare COPY      {spread(copies, '.2f')} s, {works / statistics.median(copies):,.0f} works/s")
    for title, seconds in {"whole process": wholes, "load alone": loads}.items():
        rate = f"{works / statistics.median(seconds):,.0f} works/s"
        say(f"  {title:13}  {spread(seconds, '.2f')} s, {rate}: {_ratios(seconds, copies, '.1f')} times COPY")
    say(f"  {noise(before)}")


def beside_rebuild(server: PostgresServer, stored: int, repeat: int) -> None:
    changed, before = round(stored * CHANGED), fixed_seconds()
    home, url = fresh_folder(BENCH / "postgresql-home"), server.new_database()
    note(f"taking in {stored:,} small works")
    grow(settings_for(home, home / "snapshot", url), 0, stored)
    loads, wholes, rebuilds = [], [], []
    for turn in range(repeat):  # in turns, so that a noisy minute meets both
        write_night(home / "night", stored, changed, turn)
        answer, _ = run_child(__file__, "ours", home=str(home), url=url, snapshot=str(home / "night"))
        loads.append(answer["stages"]["load"])
        wholes.append(answer["seconds"])
        with Warehouse.open(settings_for(home, url=url), create=False, reads_all=True) as warehouse:
            rebuilds.append(rebuild_seconds(warehouse)["all"])
        note(f"turn {turn + 1}: load {loads[-1]:.2f} s, night {wholes[-1]:.2f} s, rebuild {rebuilds[-1]:.2f} s")
    seconds = verified(settings_for(home, url=url))
    say(f"night of {changed:,} changed works on {stored:,} small works; rebuild {spread(rebuilds, '.2f')} s")
    say(f"  load alone   {spread(loads, '.2f')} s: {_ratios(loads, rebuilds, '.1%')} of the rebuild")
    say(f"  whole night  {spread(wholes, '.2f')} s: {_ratios(wholes, rebuilds, '.1%')} of the rebuild")
    say(f"  verify holds, {seconds:.2f} s")
    say(f"  {noise(before)}")
    shutil.rmtree(home)


def _ratios(ours: list[float], others: list[float], form: str) -> str:
    """Median and range of the ratios within each turn."""
    return spread([mine / other for mine, other in zip(ours, others, strict=True)], form)


def main() -> None:
    if is_child(globals()):
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--works", type=int, default=20_000, help="full-size works beside COPY; 0: leave this out")
    parser.add_argument("--stored", type=int, default=100_000, help="small works for the night; 0: leave this out")
    parser.add_argument("--repeat", type=int, default=2)
    args = parser.parse_args()
    forget_settings()
    BENCH.mkdir(exist_ok=True)
    say(f"PostgreSQL; {commit()}")
    try:
        started = PostgresServer()
    except Missing as why:
        say(f"  skipped: {why}")
        return
    with started as server:
        if args.works:
            beside_copy(server, args.works, args.repeat)
        if args.stored:
            beside_rebuild(server, args.stored, args.repeat)


if __name__ == "__main__":
    main()
