"""What a night costs beside counting everything again, and whether that depends on how much is stored.

A base warehouse of --works small works (no abstract, few references, else of the shape of OpenAlex) is built once the
whole way, from a snapshot written here, and kept in .bench. Each measurement starts from a fresh copy of its file.

Night    the load step alone (staging to commit; without land, parse, locate, validate, imports and publish), summed
         over the batches of the night: works and deletions. Changed works are drawn evenly from all that is stored:
         60 % other citations, 20 % new works, 12 % corrected affiliations, 5 % reclassified, 3 % retracted or deleted.
Rebuild  INSERT of `tasks.loading.aggregate.rebuilt` into empty tables, for every table of the mart, under the same
         memory limit and 2 threads: what a night would cost that counts everything again.
By hand  the same tables by the statements of by_hand.sql, with the memory that these need (2 GB): what a night would
         cost that counts everything again in plain SQL, without any of ours. rebuild.py holds both equal.

Nights of 0.2 % and 1 % of the works are held against the rebuild and against the same by hand, and the first also
against as many changed works on a tenth of the base. `tasks.loading.verify` compares every kind of night with the
rebuild once; a difference ends the script. The targets are printed beside the figures and fail nothing.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import sqlalchemy as sa

from flows.progress import Lines
from flows.steps import Summary, run_night
from schemas import tables as t
from tasks.night import Night
from tests.bench.common import BENCH, commit, forget_settings, note, say, spread
from tests.bench.small import write_night
from tests.bench.warehouses import (
    base_warehouse,
    by_hand_seconds,
    copy_of,
    rebuild_seconds,
    seconds_on_copy,
    settings_for,
    verified,
)

HOME = "refresh-home"
WAYS = {"full rebuild": rebuild_seconds, "the same by hand": by_hand_seconds}


class Rival(NamedTuple):
    """Seconds that a night is held against, and how the ratio is shown."""

    seconds: list[float]
    unit: str
    target: str = ""
    form: str = ".1%"


@dataclass
class Watch:
    """Seconds of the load steps, and of each kind of statement in them."""

    loads: list[float] = field(default_factory=list)
    statements: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    counts: Counter[str] = field(default_factory=Counter)
    _is_loading: bool = False
    _began: float = 0.0

    def step(self, name: str, about: str, call: Any, *args: Any, retries: int = 0) -> Any:
        """Runs a step of the night; leaves out publishing."""
        del about, retries
        if name == "publish":
            return None
        self._is_loading, began = name == "load", time.perf_counter()
        result = call(*args)
        ended, self._is_loading = time.perf_counter(), False
        if name == "load":
            self.loads.append(ended - began)
            self.statements["COMMIT, and removal of the staging folder"] += ended - self._began
            self.counts.update({k: v for k, v in result.row.items() if isinstance(v, int)})
        return result

    def attach(self, engine: sa.Engine) -> None:
        """Listen to an engine."""
        sa.event.listen(engine, "before_cursor_execute", lambda *_: self._start())
        sa.event.listen(engine, "after_cursor_execute", lambda *args: self._stop(args[2]))
        sa.event.listen(engine, "commit", lambda _: self._start())

    def _start(self) -> None:
        self._began = time.perf_counter()

    def _stop(self, statement: str) -> None:
        if self._is_loading:
            self.statements[" ".join(statement.split())[:60]] += time.perf_counter() - self._began


def run_once(base: Path, snapshot: Path, *, check: bool) -> Watch:
    """One night on a fresh copy of a base."""
    home, watch = copy_of(base, HOME), Watch()
    with Night(settings_for(home, snapshot)) as night:
        watch.attach(night.warehouse.engine)
        run_night(night, watch.step, Lines(), Summary())
    if check:
        verified(settings_for(home))
        note(f"{snapshot.name}: all comparisons hold")
    shutil.rmtree(home)
    return watch


def show_night(title: str, watches: list[Watch], *rivals: Rival) -> None:
    loads = [sum(watch.loads) for watch in watches]
    counts = ", ".join(f"{v:,} {k}" for k, v in watches[0].counts.items() if v and k in ("new", "updated", "applied"))
    each = " + ".join(f"{statistics.median(load):.2f}" for load in zip(*(w.loads for w in watches), strict=True))
    say(f"{title}: {spread(loads, '.2f')} s (batches: {each}; {counts})")
    for against, unit, target, form in rivals:
        ratios = [load / other for load in loads for other in against]
        ratio, low, high = statistics.median(loads) / statistics.median(against), min(ratios), max(ratios)
        say(f"  {ratio:{form}} ({low:{form}}..{high:{form}}) {unit}{target and f', target {target}'}")


def show_breakdown(title: str, watches: list[Watch], top: int = 12) -> None:
    sums: Counter[str] = Counter()
    for watch in watches:
        sums.update({key: seconds / len(watches) for key, seconds in watch.statements.items()})
    whole = statistics.mean(sum(watch.loads) for watch in watches)
    sums["outside SQL: staging, gates, building of statements"] = whole - sum(sums.values())
    say(f"\n{title}: where {whole:.2f} s go (mean)")
    for key, seconds in sums.most_common(top):
        say(f"  {seconds:6.3f} s {seconds / whole:6.1%}  {key}")


def measure(args: argparse.Namespace) -> None:
    sizes = {"large": args.works, "small": args.works // 10}
    bases = {name: base_warehouse(works) for name, works in sizes.items()}
    few, many = round(args.works * 0.002), round(args.works * 0.01)
    plans = {"few": ("large", few), "many": ("large", many), "few on small": ("small", few)}
    nights = {name: BENCH / f"night-{sizes[base]}-{changed}" for name, (base, changed) in plans.items()}
    for name, (base, changed) in plans.items():
        write_night(nights[name], sizes[base], changed)
    megabytes = {name: round(file.stat().st_size / 1e6) for name, file in bases.items()}
    say(f"{args.works:,} stored works in a file of {megabytes['large']:,} MB; {commit()}")
    runs: dict[str, list[Watch]] = {name: [] for name in plans}
    rebuilds: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    for turn in range(args.repeat):  # in turns, so that a noisy minute meets them all
        for name, way in WAYS.items():
            rebuilds[name].append(seconds_on_copy(bases["large"], HOME, way))
        for name, (base, _) in plans.items():
            runs[name].append(run_once(bases[base], nights[name], check=turn == 0))
            note(f"turn {turn + 1}, {name}: {sum(runs[name][-1].loads):.2f} s")
    for name, made in rebuilds.items():
        parts = ", ".join(f"{mart.name} {statistics.median(each[mart.name] for each in made):.2f}" for mart in t.MART)
        say(f"{name}: {spread([each['all'] for each in made], '.2f')} s ({parts})")
    full, by_hand = ([each["all"] for each in made] for made in rebuilds.values())
    small = [sum(watch.loads) for watch in runs["few on small"]]
    for name, title, target in (
        ("few", f"{few:,} changed works (0.2 %)", "<= 5 %"),
        ("many", f"{many:,} changed works (1 %)", "<= 15 %"),
    ):
        rivals = Rival(full, "of the rebuild", target), Rival(by_hand, "of the same by hand")
        show_night(f"night of {title}", runs[name], *rivals)
    say(f"the {few:,} on {sizes['small']:,} stored works: {spread(small, '.2f')} s")
    times = Rival(small, f"times from {sizes['small']:,} to {args.works:,} stored works", "<= 4", ".2f")
    show_night(f"the {few:,} on {args.works:,} stored works", runs["few"], times)
    for name, (base, changed) in plans.items():
        show_breakdown(f"{changed:,} changed works on {sizes[base]:,}", runs[name])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--works", type=int, default=1_000_000, help="stored works; the small base has a tenth")
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    forget_settings()
    BENCH.mkdir(exist_ok=True)
    measure(args)


if __name__ == "__main__":
    main()
