"""What the benchmarks do with a warehouse, on any engine: take in snapshots the whole way with each step timed, grow it
by small works, count its mart anew: our way, or by hand (by_hand.sql)."""

from __future__ import annotations

import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from flows.progress import Lines
from flows.steps import Summary, run_night
from schemas import tables as t
from schemas.settings import Settings, load_settings
from tasks.loading.aggregate import Years, rebuilt, year_slices
from tasks.loading.verify import verify
from tasks.night import Night
from tasks.storage.engines import backend_of
from tasks.storage.warehouse import Warehouse, clear_scratch
from tests.bench.common import BENCH, digest_of, fresh_folder, note
from tests.bench.small import GENERATOR, PART_RECORDS, write_base

PIECE = 5 * PART_RECORDS  # works of a snapshot on disk at one time
STAGES = ("land", "parse and locate", "validate", "load", "publish")
BENCH_SCHEMA = "bench"  # in the warehouse, for as long as a rebuild takes
BY_HAND_SCHEMA = "by_hand"  # the same for by_hand.sql, which names it
MEMORY_BY_HAND = "2GB"
Steps = Iterator[tuple[str, Callable[[], Any]]]
"""What fills one table after the other, by its name."""


def settings_for(home: Path, snapshot: Path | None = None, url: str | None = None) -> Settings:
    """Two threads and the usual memory; no gate stops a night that changes much on purpose."""
    gates = {"max_rewritten_share": 1, "max_year_change": 100, "band_sigmas": 1000, "min_volume_share": 0}
    places = {"home": home, "snapshot": snapshot and str(snapshot), "warehouse_url": url}
    return load_settings(**places, scope="all", workers=2, **gates)


class Stages:
    """Runs the steps of nights and sums up their seconds. Those of parsing are what the night waits for: the next batch
    is parsed while one is loaded."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.is_publishing = True

    def __call__(self, name: str, about: str, call: Any, *args: Any, retries: int = 0) -> Any:
        del about, retries
        if name == "publish" and not self.is_publishing:
            return None
        began = time.perf_counter()
        result = call(*args)
        self.seconds[name] += time.perf_counter() - began
        return result


def take_in(settings: Settings) -> dict[str, Any]:
    """One night the whole way: records, seconds from opening the warehouse to closing it, and those of each stage."""
    stages, summary, began = Stages(), Summary(), time.perf_counter()
    with Night(settings) as night:
        run_night(night, stages, Lines(), summary)
    records = sum(outcome.row["fetched"] for outcome in summary.outcomes)
    return {"records": records, "seconds": time.perf_counter() - began, "stages": dict(stages.seconds)}


def grow(settings: Settings, stored: int, works: int) -> dict[str, float]:
    """Take in small works from number `stored` + 1 to `works`, from a snapshot of which one piece at a time is on disk,
    and publish once; returns the seconds of each stage."""
    stages, summary, snapshot = Stages(), Summary(), Path(settings.snapshot or "")
    fresh_folder(snapshot)
    with Night(settings) as night:
        for first in range(stored + 1, works + 1, PIECE):
            numbers = range(first, min(first + PIECE, works + 1))
            write_base(snapshot, numbers)
            stages.is_publishing = numbers[-1] == works
            run_night(night, stages, Lines(), summary)
            shutil.rmtree(snapshot)
            shutil.rmtree(settings.landing)
            fresh_folder(snapshot)
            note(f"  {numbers[-1]:,} works: {', '.join(f'{name} {s:.1f}' for name, s in stages.seconds.items())}")
    shutil.rmtree(snapshot)
    refused = sum(outcome.row["quarantined"] for outcome in summary.outcomes)
    if refused:
        raise SystemExit(f"{refused} works were quarantined")
    return dict(stages.seconds)


def base_warehouse(works: int) -> Path:
    """DuckDB file of a warehouse that holds so many small works, built once the whole way and kept in .bench."""
    name = f"base-{works}"
    schemas = [f"schemas/{name}" for name in ("data", "tables.py", "fields.py", "places/territories.py")]
    reading = ["tasks/reading/parse.py", "tasks/reading/parsed.py", "tasks/countries/locate.py"]
    made = digest_of(*schemas, *reading)  # what decides the rows
    file = BENCH / f"{name}-{GENERATOR}-{made}.duckdb"
    if file.exists():
        return file
    for old in BENCH.glob(f"{name}-*.duckdb"):
        old.unlink()
    note(f"building {file.name} the whole way")
    home = fresh_folder(BENCH / f"{name}-home")
    grow(settings_for(home, home / "snapshot"), 0, works)
    (home / "warehouse.duckdb").rename(file)
    shutil.rmtree(home)
    return file


def copy_of(base: Path, name: str) -> Path:
    """A fresh home with a copy of a base."""
    home = fresh_folder(BENCH / name)
    shutil.copyfile(base, home / "warehouse.duckdb")
    return home


def make_empty_mart(conn: sa.Connection, schema: str) -> dict[sa.Table, sa.Table]:
    """Empty tables like those of the mart, keys included, in a schema of their own; by the table they stand for."""
    conn.execute(sa.schema.CreateSchema(schema))
    made = {mart: mart.to_metadata(sa.MetaData(), schema=schema) for mart in t.MART}
    for table in made.values():
        table.create(conn)
    return made


def rebuild_seconds(warehouse: Warehouse, *, drops: bool = True) -> dict[str, float]:
    """Seconds to count every table of the mart anew into empty tables, in one transaction: for each table, and `all`.

    They are the selects of `collab rebuild`, slice by slice, without the comparison with the mart and the ledger.
    """
    return _seconds(warehouse, BENCH_SCHEMA, _our_steps, drops=drops)


def by_hand_seconds(warehouse: Warehouse, *, drops: bool = True) -> dict[str, float]:
    """Seconds of the same by the statements of by_hand.sql, which only DuckDB understands.

    They have more memory than a rebuild: with its 800 MB the blocs of a million works run out of it.
    """
    return _seconds(warehouse, BY_HAND_SCHEMA, _steps_by_hand, drops=drops)


def seconds_on_copy(base: Path, name: str, way: Callable[..., dict[str, float]]) -> dict[str, float]:
    """Seconds of one of both ways on a fresh copy of a base, which is removed."""
    home = copy_of(base, name)
    with Warehouse.open(settings_for(home), reads_all=True) as warehouse:
        seconds = way(warehouse, drops=False)
    shutil.rmtree(home)
    return seconds


def by_hand() -> dict[str, str]:
    """The statements of by_hand.sql, by the table that each fills; one too few or too many ends the script."""
    text = Path(__file__).with_name("by_hand.sql").read_text(encoding="utf-8")
    found = re.findall(rf"^(INSERT INTO {BY_HAND_SCHEMA}\.(\w+) .+?);$", text, re.MULTILINE | re.DOTALL)
    if sorted(name for _, name in found) != sorted(mart.name for mart in t.MART):
        raise SystemExit(
            f"by_hand.sql must fill every table of the mart once, it fills {', '.join(n for _, n in found)}"
        )
    return {name: statement for statement, name in found}


def _our_steps(conn: sa.Connection, made: dict[sa.Table, sa.Table]) -> Steps:
    slices = year_slices(conn)
    for mart, table in made.items():
        yield mart.name, partial(_count_anew, conn, mart, table, slices)


def _count_anew(conn: sa.Connection, mart: sa.Table, table: sa.Table, slices: list[Years]) -> None:
    columns = [*t.key_columns(mart), *t.measures(mart)]
    for years in slices:
        conn.execute(sa.insert(table).from_select(columns, rebuilt(conn, mart, years)))
        clear_scratch(conn)


def _steps_by_hand(conn: sa.Connection, made: dict[sa.Table, sa.Table]) -> Steps:
    del made  # the statements name their tables
    conn.exec_driver_sql(f"SET memory_limit = '{MEMORY_BY_HAND}'")
    for name, statement in by_hand().items():
        yield name, partial(conn.exec_driver_sql, statement)


def _seconds(
    warehouse: Warehouse, schema: str, way: Callable[[sa.Connection, dict[sa.Table, sa.Table]], Steps], *, drops: bool
) -> dict[str, float]:
    seconds: dict[str, float] = {}
    with warehouse.transaction() as conn:
        made = make_empty_mart(conn, schema)
    whole = time.perf_counter()
    with warehouse.transaction() as conn, backend_of(conn).joining_whole(conn):
        for name, fill in way(conn, made):
            began = time.perf_counter()
            fill()
            seconds[name] = time.perf_counter() - began
    seconds["all"] = time.perf_counter() - whole
    if drops:
        with warehouse.transaction() as conn:
            conn.execute(sa.schema.DropSchema(schema, cascade=True))
    return seconds


def verified(settings: Settings) -> float:
    """Seconds of `collab verify`; a difference ends the script."""
    with Warehouse.open(settings, create=False, reads_all=True) as warehouse, warehouse.reading() as conn:
        began = time.perf_counter()
        findings = verify(conn)
        seconds = time.perf_counter() - began
    wrong = [str(finding) for finding in findings if finding.differences]
    if wrong:
        raise SystemExit("the warehouse is not right:\n" + "\n".join(wrong))
    return seconds
