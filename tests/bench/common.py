"""What all benchmarks share: where things are cached, snapshots written in pieces, child processes whose memory is
sampled, how noisy the machine is, and figures shown with their spread.

Only the standard library is imported at the top: the rivals run under interpreters that know nothing of this project.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / ".bench"
WORKS = Path("data") / "jsonl" / "works"
MADE_AT_ONCE = 100_000  # the sample is held in memory while it is made: larger snapshots are copies under other ids
SECONDS_BETWEEN_SAMPLES = 0.2
SAMPLES_PER_PSS = 3  # the shares of shared pages are dearer to ask for
FIXED = "x = 0\nfor i in range(5_000_000): x += i * i % 7"


@dataclass(frozen=True)
class Used:
    """What a child process and its descendants used; memory in MB, at its peak."""

    seconds: float
    cpu_seconds: float
    rss_sum: float
    rss_largest: float
    pss_sum: float

    @property
    def memory(self) -> str:
        return (
            f"peak memory {self.pss_sum:,.0f} MB (PSS, shared pages counted once), {self.rss_sum:,.0f} MB (sum of RSS),"
            f" largest process {self.rss_largest:,.0f} MB"
        )


def measured(command: Sequence[str], **environment: str) -> tuple[dict[str, Any], Used]:
    """Run a command, return the JSON object on its last line of output and what it used.

    Settings of this project in the environment are replaced by those given.
    """
    import psutil

    env = {k: v for k, v in os.environ.items() if not k.startswith("COLLAB_")} | environment
    os.sync()  # what others wrote is not written out on this command's time
    began, rounds = time.perf_counter(), 0
    peaks = [0.0, 0.0, 0.0]
    cpu: dict[int, float] = {}  # by process: workers of a fork server are nobody's children when they end
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen(command, stdout=output, env=env, cwd=ROOT)
        watched = psutil.Process(child.pid)
        while child.poll() is None:
            seen = _memory(watched, cpu, with_pss=rounds % SAMPLES_PER_PSS == 0)
            peaks = [max(pair) for pair in zip(peaks, seen, strict=True)]
            rounds += 1
            time.sleep(SECONDS_BETWEEN_SAMPLES)
        seconds = time.perf_counter() - began
        if child.returncode:
            raise SystemExit(f"exit code {child.returncode} of {' '.join(command)}")
        output.seek(0)
        answer = json.loads(output.read().splitlines()[-1])
    return answer, Used(seconds, sum(cpu.values()), *peaks)


def run_child(
    script: str, name: str, python: str = sys.executable, env: dict[str, str] | None = None, **args: Any
) -> tuple[dict[str, Any], Used]:
    """Run the function `child_<name>` of a script in a process of its own."""
    return measured([python, script, "--child", name, json.dumps(args)], **(env or {}))


def is_child(functions: dict[str, Any]) -> bool:
    """Whether this process was started by `run_child`; if so, its function was called and its answer printed."""
    if sys.argv[1:2] != ["--child"]:
        return False
    print(json.dumps(functions[f"child_{sys.argv[2]}"](**json.loads(sys.argv[3]))))
    return True


def forget_settings() -> None:
    """Remove the settings of this project from the environment."""
    for name in [name for name in os.environ if name.startswith("COLLAB_")]:
        del os.environ[name]


def fixed_seconds() -> float:
    """Seconds of a small computation that is always the same, on each core at once: more than usual means that others
    use the machine."""
    began = time.perf_counter()
    running = [subprocess.Popen([sys.executable, "-S", "-c", FIXED]) for _ in range(os.cpu_count() or 1)]
    for process in running:
        process.wait()
    return time.perf_counter() - began


def noise(before: float) -> str:
    """How noisy the machine was since `before` was measured by `fixed_seconds`."""
    return (
        f"fixed computation {before:.2f} s before, {fixed_seconds():.2f} s after;"
        f" load average of the last minutes {', '.join(f'{load:.1f}' for load in os.getloadavg())}"
    )


def _memory(root: Any, cpu: dict[int, float], *, with_pss: bool) -> tuple[float, float, float]:
    """Sum of RSS, largest RSS and sum of PSS of a process and its descendants, in MB; notes the CPU seconds of each."""
    import psutil

    resident, shares = [0], [0]
    try:
        for process in (root, *root.children(recursive=True)):
            try:
                resident.append(process.memory_info().rss)
                used = process.cpu_times()
                cpu[process.pid] = used.user + used.system
                if with_pss:
                    shares.append(process.memory_full_info().pss)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue  # it has just ended
    except psutil.NoSuchProcess:
        pass
    return sum(resident) / 1e6, max(resident) / 1e6, sum(shares) / 1e6


def spread(values: Sequence[float], form: str = ",.1f") -> str:
    """Median and range of repeated measurements."""
    middle = f"{statistics.median(values):{form}}"
    return middle if len(values) == 1 else f"{middle} ({min(values):{form}}..{max(values):{form}})"


def digest_of(*names: str) -> str:
    """Digest of source files and folders of this project: what was made with other ones is made anew."""
    digest = hashlib.sha256()
    for name in names:
        path = ROOT / name
        for file in (
            sorted(p for p in path.rglob("*") if p.is_file() and p.suffix != ".pyc") if path.is_dir() else [path]
        ):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:10]


def fresh_folder(path: Path) -> Path:
    """An empty folder in place of whatever was there."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def write_part(works: Path, day: str, number: int, lines: Iterable[bytes]) -> dict[str, Any]:
    """Write one part of a snapshot; returns its entry in the manifest."""
    from isal import igzip

    part = works / f"updated_date={day}" / f"part_{number:04d}.gz"
    part.parent.mkdir(parents=True, exist_ok=True)
    records = 0
    with igzip.open(part, "wb", compresslevel=2) as out:
        for line in lines:
            out.write(line)
            records += 1
    url = f"s3://openalex/data/jsonl/works/{part.parent.name}/{part.name}"
    return {"url": url, "meta": {"content_length": part.stat().st_size, "record_count": records}}


def write_manifest(works: Path, files: list[dict[str, Any]], deleted: Iterable[str] = ()) -> None:
    """Write the list of deleted ids and, last, the manifest that says the snapshot is complete."""
    (works / "deleted_ids.csv").write_text("work_id,deleted_date\n" + "".join(f"{row}\n" for row in deleted))
    total = sum(file["meta"]["record_count"] for file in files)
    manifest = {"date": "2026-06-01", "format": "jsonl", "entity": "works", "record_count": total, "files": files}
    (works / "manifest.json").write_text(json.dumps(manifest))


def commit() -> str:
    """What was measured: commit, and whether files differ from it."""

    def git(*words: str) -> str:
        found = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
        return found.stdout.strip()

    return (git("log", "-1", "--format=%h %s") or "no commit") + (" + changes" if git("status", "--porcelain") else "")


def say(line: str = "") -> None:
    print(line, flush=True)


def note(line: str) -> None:
    """Progress, apart from the figures."""
    print(line, file=sys.stderr, flush=True)


def sample_snapshot(works: int) -> Path:
    """A snapshot of full-size works in one day, made once; above MADE_AT_ONCE of as many whole copies as fit."""
    folder = BENCH / f"snapshot-{works}-{digest_of('tasks/sample/snapshot.py', 'tasks/sample/records.py')}"
    if (folder / WORKS / "manifest.json").exists():
        return folder
    note(f"writing {works:,} works to {folder.relative_to(ROOT)}")
    fresh_folder(folder)
    if works <= MADE_AT_ONCE:  # in a process of its own, which gives the memory back
        make = f"write_sample(Path({str(folder)!r}), works={works}, days=1, seed=1)"
        code = f"from pathlib import Path; from tasks.sample.snapshot import write_sample; {make}"
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
        return folder
    parts, files = parts_of(sample_snapshot(MADE_AT_ONCE)), []
    for copy in range(works // MADE_AT_ONCE):
        for part in parts:
            files.append(write_part(folder / WORKS, "2026-06-01", len(files), _under_other_ids(part, copy)))
    write_manifest(folder / WORKS, files)
    return folder


def _under_other_ids(part: Path, copy: int) -> Iterator[bytes]:
    from isal import igzip

    with igzip.open(part, "rb") as lines:
        for line in lines:  # ids and DOIs of the sample are 99900 and five digits
            yield line.replace(b"/W99900", b"/W9990%d" % copy).replace(b".99900", b".9990%d" % copy)


def parts_of(snapshot: Path) -> list[Path]:
    """Files of works of a snapshot."""
    return sorted((snapshot / WORKS).glob("*/*.gz"))
