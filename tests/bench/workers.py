"""What a second process brings to parsing and locating: --works full-size works (throughput.py's) from landed files to
staged tables, by one process and by two, in turns, --repeat times.

Workers are started and the reviewed files are read before the clock starts, as they are in a night from its second
batch on. Reading and cutting of the landed files belongs to it, and stays in one process.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tasks.night import Night
from tests.bench.common import (
    BENCH,
    commit,
    fixed_seconds,
    forget_settings,
    fresh_folder,
    noise,
    sample_snapshot,
    say,
    spread,
)
from tests.bench.warehouses import settings_for

TARGET = 1.6


def seconds_of(snapshot: Path, processes: int) -> float:
    """Seconds to parse and locate every batch of a snapshot."""
    home = fresh_folder(BENCH / "workers-home")
    settings = settings_for(home, snapshot).model_copy(update={"workers": processes})
    with Night(settings) as night:
        (window,) = night.plan()
        batches = night.batches_left(night.land_works(window))
        shutil.rmtree(night.derive(batches[0]))  # starts the workers
        began = time.perf_counter()
        for batch in batches:
            shutil.rmtree(night.derive(batch))
        seconds = time.perf_counter() - began
    shutil.rmtree(home)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--works", type=int, default=40_000)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    forget_settings()
    BENCH.mkdir(exist_ok=True)
    snapshot, before = sample_snapshot(args.works), fixed_seconds()
    say(f"parse and locate {args.works:,} works; {commit()}")
    found: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(args.repeat):  # in turns, so that a noisy minute meets both
        for processes, seconds in found.items():
            seconds.append(seconds_of(snapshot, processes))
    for processes, seconds in found.items():
        rate = args.works / statistics.median(seconds)
        say(f"  {processes} process{'es' if processes > 1 else ''}: {spread(seconds, '.2f')} s, {rate:,.0f} works/s")
    ratios = [one / two for one in found[1] for two in found[2]]
    ratio = statistics.median(found[1]) / statistics.median(found[2])
    say(f"  {ratio:.2f} times as fast ({min(ratios):.2f}..{max(ratios):.2f}), target >= {TARGET}")
    say(f"  {noise(before)}")


if __name__ == "__main__":
    main()
