"""Works a second and peak memory from gzip JSONL to a published release, beside three other ways to read these files.

The works are generated ones of 10 kB or, with --real, copies of the real records (tests/bench/real.py).

Ours     land to publish as a user runs it: a fresh COLLAB_HOME, 2 processes, scope all, without Prefect. The time of
         the whole process counts, imports included.
DuckDB   its own raw way: read_json with explicit columns for the fields we use, then unnest into tables of a database
         file; 2 threads. It locates, classifies, validates and counts nothing. It reads the abstract, which we search,
         as JSON (--without-abstract spares it that).
pandas   json.loads and json_normalize of whole records into frames, on the first --part works; nothing is written.
dlt      a merge of whole records into a DuckDB file, the abstract as JSON, on the first --part works. It runs under an
         interpreter of its own, to keep its pins apart. Neither it nor pandas is told which fields matter: both do
         more than reading the fields we use would take.

Ours and DuckDB run in turns, --repeat times, on the same files; each run is a process of its own, and so are pandas and
dlt, whose rates are extrapolated from the part. --memory-only runs ours alone for each of --sizes.
No figure fails this script: the targets are printed beside.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import statistics
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.common import (
    BENCH,
    Used,
    commit,
    fresh_folder,
    is_child,
    parts_of,
    run_child,
    sample_snapshot,
    say,
    spread,
)
from tests.bench.real import real_snapshot

TARGETS = {"duckdb": 0.3, "pandas": 20, "dlt": 20}

# The fields of schemas/openalex.py, as DuckDB types.
TOPIC = "STRUCT(id VARCHAR, subfield STRUCT(id VARCHAR))"
AUTHORSHIP = (
    "STRUCT(author STRUCT(id VARCHAR),"
    " institutions STRUCT(id VARCHAR, display_name VARCHAR, ror VARCHAR, country_code VARCHAR, type VARCHAR)[],"
    " is_corresponding BOOLEAN, raw_affiliation_strings VARCHAR[],"
    " affiliations STRUCT(raw_affiliation_string VARCHAR, institution_ids VARCHAR[])[])"
)
COLUMNS = {
    **dict.fromkeys(["id", "updated_date", "doi", "title", "display_name", "publication_date"], "VARCHAR"),
    **dict.fromkeys(["language", "type"], "VARCHAR"),
    **dict.fromkeys(["publication_year", "cited_by_count", "authors_count"], "BIGINT"),
    **dict.fromkeys(["is_retracted", "is_xpac", "is_authors_truncated"], "BOOLEAN"),
    "primary_location": "STRUCT(source STRUCT(display_name VARCHAR))",
    "primary_topic": TOPIC,
    "topics": f"{TOPIC}[]",
    "keywords": "STRUCT(id VARCHAR)[]",
    "authorships": f"{AUTHORSHIP}[]",
    "referenced_works": "VARCHAR[]",
}
EACH_AUTHORSHIP = "SELECT id, generate_subscripts(authorships, 1) AS position, unnest(authorships) AS a FROM work"
UNNESTED = {
    "authorship": f"SELECT id, position, a.author.id AS author_id, a.is_corresponding FROM ({EACH_AUTHORSHIP})",
    "affiliation": f"SELECT id, position, unnest(a.affiliations, recursive := true) FROM ({EACH_AUTHORSHIP})",
    "institution": "SELECT work_id, position, unnest(i) FROM (SELECT id AS work_id, position, unnest(a.institutions)"
    f" AS i FROM ({EACH_AUTHORSHIP}))",
    "topic": "SELECT id, t.id AS topic_id, t.subfield.id AS subfield FROM (SELECT id, unnest(topics) AS t FROM work)",
    "reference": "SELECT id, unnest(referenced_works) AS cited FROM work",
}


def child_ours() -> dict[str, Any]:
    from schemas.settings import load_settings
    from tests.bench.warehouses import take_in

    found = take_in(load_settings())
    return {"records": found["records"], "stages": found["stages"]}


def child_duckdb(files: list[str], database: str, without_abstract: bool) -> dict[str, Any]:
    import duckdb

    columns = COLUMNS | ({} if without_abstract else {"abstract_inverted_index": "JSON"})
    listed = ", ".join(f"{name}: '{type_}'" for name, type_ in columns.items())
    stages = {}
    with duckdb.connect(database, config={"threads": 2}) as conn:
        began = time.perf_counter()
        source = f"read_json({files}, format = 'newline_delimited', compression = 'gzip', columns = {{{listed}}})"
        conn.execute(f"CREATE TABLE work AS SELECT * FROM {source}")
        stages["read_json"] = time.perf_counter() - began
        for name, query in UNNESTED.items():
            conn.execute(f"CREATE TABLE {name} AS {query}")
        stages["unnest"] = time.perf_counter() - began - stages["read_json"]
        (records,) = conn.execute("SELECT count(*) FROM work").fetchone()
    return {"records": records, "stages": stages, "version": duckdb.__version__}


def child_pandas(files: list[str], part: int) -> dict[str, Any]:
    import pandas as pd

    began = time.perf_counter()
    works = _first_works(files, part)
    frames = [pd.json_normalize(works)]
    lists = ("authorships", "topics", "keywords", "referenced_works")
    frames += [pd.json_normalize(works, record_path=name, meta=["id"], record_prefix=f"{name}.") for name in lists]
    authorships = [{"work_id": w["id"], "at": at} | a for w in works for at, a in enumerate(w["authorships"])]
    for name in ("institutions", "affiliations"):
        frames += [pd.json_normalize(authorships, record_path=name, meta=["work_id", "at"], record_prefix="of.")]
    return {"records": len(frames[0]), "seconds": time.perf_counter() - began, "version": pd.__version__}


def child_dlt(files: list[str], part: int, folder: str) -> dict[str, Any]:
    import dlt
    import duckdb

    # As JSON: each word of an abstract would become a column, and 2,000 works took more than 8 minutes.
    abstract = {"abstract_inverted_index": {"data_type": "json"}}

    @dlt.resource(name="work", primary_key="id", write_disposition="merge", columns=abstract)
    def work() -> Any:
        yield from _first_works(files, part)

    database = str(Path(folder) / "dlt.duckdb")
    target = dlt.destinations.duckdb(database)
    pipeline = dlt.pipeline("bench", pipelines_dir=folder, destination=target, dataset_name="b")
    began = time.perf_counter()
    pipeline.run(work())
    seconds = time.perf_counter() - began
    with duckdb.connect(database) as conn:
        (records,) = conn.execute("SELECT count(*) FROM b.work").fetchone()
    return {"records": records, "seconds": seconds, "version": f"{dlt.__version__} with duckdb {duckdb.__version__}"}


def _first_works(files: list[str], part: int) -> list[dict[str, Any]]:
    """The first works of the files, whole: neither pandas nor dlt is told which fields matter."""
    import gzip

    with gzip.open(files[0]) as lines:
        return [json.loads(line) for line in islice(lines, part)]


def run_ours(root: Path) -> tuple[dict[str, Any], Used]:
    home = fresh_folder(BENCH / "home")
    env = {"HOME": str(home), "WORKERS": "2", "SCOPE": "all", "SNAPSHOT": str(root)}
    found = run_child(__file__, "ours", env={f"COLLAB_{name}": value for name, value in env.items()})
    shutil.rmtree(home)
    return found


def run_duckdb(files: list[str], without_abstract: bool) -> tuple[dict[str, Any], Used]:
    folder = fresh_folder(BENCH / "duckdb")
    found = run_child(
        __file__, "duckdb", files=files, database=str(folder / "raw.duckdb"), without_abstract=without_abstract
    )
    shutil.rmtree(folder)
    return found


def show_run(name: str, answer: dict[str, Any], used: Used) -> None:
    parts = answer.get("stages") or {f"{answer['records']:,} works": answer["seconds"]}
    stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in parts.items())
    rest = used.seconds - sum(parts.values())
    say(f"  {name:7} {used.seconds:7.1f} s, CPU {used.cpu_seconds:.1f} s: {stages}, start and end {rest:.1f}")
    say(f"          {used.memory}")


def run_dlt(python: str, part: dict[str, Any]) -> tuple[dict[str, Any], Used]:
    folder = fresh_folder(BENCH / "dlt-run")
    env = {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}
    found = run_child(__file__, "dlt", python=python, env=env, folder=str(folder), **part)
    shutil.rmtree(folder)
    return found


def snapshot_of(args: argparse.Namespace, works: int) -> Path:
    return real_snapshot(works) if args.real else sample_snapshot(works)


def compare(args: argparse.Namespace) -> None:
    root = snapshot_of(args, args.works)
    files = [str(part) for part in parts_of(root)]
    part = {"files": files, "part": min(args.part, args.works)}
    size = sum(Path(file).stat().st_size for file in files) / 1e6
    kind = "copies of real works" if args.real else "generated works"
    say(f"{args.works:,} {kind}, {size:,.0f} MB of gzip in {len(files)} files; {commit()}")
    ways = {
        "ours": lambda: run_ours(root),
        "duckdb": lambda: run_duckdb(files, args.without_abstract),
        "pandas": lambda: run_child(__file__, "pandas", **part),
        "dlt": lambda: run_dlt(args.dlt_python, part),
    }
    if not args.dlt_python:
        del ways["dlt"]
    runs: dict[str, list[tuple[dict[str, Any], Used]]] = {name: [] for name in ways}
    for _ in range(args.repeat):  # in turns, so that a noisy minute meets them all
        for name, run in ways.items():
            runs[name].append(run())
            show_run(name, *runs[name][-1])
    rates = {name: [a["records"] / a.get("seconds", used.seconds) for a, used in runs[name]] for name in runs}
    say("\nworks a second, median (min..max)")
    for name, found in rates.items():
        version = runs[name][0][0].get("version", "land to publish")
        is_part = name in ("pandas", "dlt")
        how = f"extrapolated from {part['part']:,} works, imports left out" if is_part else "whole process"
        say(f"  {name:7} {spread(found, ',.0f'):>24}  {version}, {how}")
    if not args.dlt_python:
        say("  dlt     skipped: not importable. To get it: python3 -m venv .bench/dlt, then in there")
        say('          pip install "dlt[duckdb]" and the duckdb version of .venv')
    say("\nours beside")
    for name in (name for name in TARGETS if name in rates):
        ratio = statistics.median(rates["ours"]) / statistics.median(rates[name])
        span = [ours / its for ours in rates["ours"] for its in rates[name]]
        say(f"  {name:7} {ratio:.2f} times its rate ({min(span):.2f}..{max(span):.2f}), target >= {TARGETS[name]}")
    for name in ("ours", "duckdb"):
        worst = max((used for _, used in runs[name]), key=lambda used: used.pss_sum)
        say(f"  {name:7} {worst.memory}" + (", target < 1,000 MB" if name == "ours" else ""))


def memory_only(args: argparse.Namespace) -> None:
    say(f"peak memory of ours; {commit()}")
    for works in args.sizes:
        answer, used = run_ours(snapshot_of(args, works))
        show_run(f"{answer['records']:,}", answer, used)
    say("target < 1,000 MB, and the same for every size")


def main() -> None:
    if is_child(globals()):
        return
    own = BENCH / "dlt" / "bin" / "python"
    has_dlt = sys.executable if importlib.util.find_spec("dlt") else None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--works", type=int, default=100_000)
    parser.add_argument("--real", action="store_true", help="copies of the real records instead of generated ones")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--part", type=int, default=2_000, help="works that pandas and dlt read")
    parser.add_argument("--without-abstract", action="store_true", help="spare DuckDB the abstract, which we read")
    parser.add_argument("--dlt-python", default=str(own) if own.exists() else has_dlt, help="interpreter that has dlt")
    parser.add_argument("--memory-only", action="store_true")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 400_000], help="for --memory-only")
    args = parser.parse_args()
    BENCH.mkdir(exist_ok=True)
    (memory_only if args.memory_only else compare)(args)


if __name__ == "__main__":
    main()
