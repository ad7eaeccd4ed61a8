"""The disk is full, may not be written, or gives back other bytes than it was given."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import tasks.batches.batch as batches
import tasks.landing.intake as intake
import tasks.night as nights
from schemas.errors import CollabError, LandingError, PublishError, UsageError, WarehouseError
from tasks.landing.land import WORKS
from tasks.releases.publish import publish
from tasks.storage.warehouse import Warehouse
from tests.factory import run
from tests.faults.homes import of_api
from tests.faults.promises import promises_hold, twice_is_once
from tests.nights import TODAY, night
from tests.servers import USER

pytestmark = pytest.mark.slow
MEGABYTE = 1 << 20
STEPS = {  # what comes right after the moment at which the disk fills
    "landing": (intake, "land", LandingError, r"cannot land .*No space left on device -> free space"),
    "staging": (nights, "OpenLanding", LandingError, r"cannot stage .*No space left on device -> free space"),
    "publishing": (nights, "publish", PublishError, r"cannot publish into .*No space left on device -> free space"),
}


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, left: int) -> Path:
    """Fill a disk up to so many free bytes."""
    filler = folder / "filler"
    stats = os.statvfs(folder)
    with filler.open("wb") as file:
        for _ in range(max(stats.f_bavail * stats.f_frsize - left, 0) // MEGABYTE):
            file.write(b"x" * MEGABYTE)
    stats = os.statvfs(folder)
    rest = stats.f_bavail * stats.f_frsize - left
    if rest > 0:
        with filler.open("ab") as file:
            file.write(b"x" * rest)
    return filler


@pytest.mark.parametrize("step", STEPS)
def test_the_disk_is_full(home_of, undisturbed, snapshot, monkeypatch, survived, step):
    module, name, error, message = STEPS[step]
    settings = home_of(snapshot=str(snapshot))
    real = getattr(module, name)

    def full(*args, **more):
        fill(settings.home, 0)
        return real(*args, **more)

    with small_disk(settings.home, 200):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, full)
            with pytest.raises(error, match=message) as caught:
                run(settings)
        (settings.home / "filler").unlink()
        run(settings)
        twice_is_once(settings, undisturbed)
    survived(f"disk full while {step}", caught.value, "free space, run again")


@pytest.mark.parametrize("engine", ["duckdb"], indirect=True)
@pytest.mark.parametrize("left", [0, 60_000, 400_000])
def test_the_disk_is_full_while_duckdb_writes(home_of, undisturbed, snapshot, monkeypatch, survived, left):
    settings = home_of(snapshot=str(snapshot))
    real = batches.check_gates

    def full(gates):
        fill(settings.home, left)
        return real(gates)

    with small_disk(settings.home, 200):
        with monkeypatch.context() as patched:
            patched.setattr(batches, "check_gates", full)
            with pytest.raises(CollabError, match=r"-> .*free space") as caught:
                run(settings)
        (settings.home / "filler").unlink()
        run(settings)
        twice_is_once(settings, undisturbed)
    survived(f"disk full while DuckDB commits, {left:,} bytes left", caught.value, "free space, run again")


@pytest.mark.parametrize("engine", [pytest.param("postgresql", marks=pytest.mark.postgresql)], indirect=True)
def test_the_disk_of_postgresql_is_full(home_of, undisturbed, snapshot, postgres, monkeypatch, survived):
    place = postgres.folder / "space"
    with small_disk(place, 60):
        shutil.chown(place, USER, USER)
        home = home_of(snapshot=str(snapshot))
        postgres.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
        postgres.execute(f"ALTER DATABASE {home.url.database} SET TABLESPACE small")
        real = batches.load_works

        def full(*args, **more):
            fill(place, 0)
            return real(*args, **more)

        with monkeypatch.context() as patched:
            patched.setattr(batches, "load_works", full)
            with pytest.raises(
                WarehouseError, match=r"No space left on device -> free space on the server, then run again"
            ) as caught:
                run(home)
        (place / "filler").unlink()
        run(home)
        twice_is_once(home, undisturbed)
        postgres.execute(f"DROP DATABASE {home.url.database} WITH (FORCE)")
        postgres.execute("DROP TABLESPACE small")
    survived("disk of the database full while loading", caught.value, "free space, run again")


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder that even root may not write."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a folder read-only")
    for command in (["--bind", str(folder), str(folder)], ["-o", "remount,ro,bind", str(folder)]):
        done = subprocess.run(["mount", *command], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"a folder cannot be mounted read-only here: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize(
    ("place", "error", "message"),
    [
        (".", UsageError, r"Read-only file system -> .*COLLAB_HOME"),
        ("landing", LandingError, r"cannot land .*Read-only file system -> .*mend permissions"),
        ("published", PublishError, r"cannot publish .*Read-only file system -> .*mend permissions"),
    ],
)
def test_a_folder_is_read_only(home_of, undisturbed, snapshot, survived, place, error, message):
    settings = home_of(snapshot=str(snapshot))
    folder = settings.home / place
    folder.mkdir(parents=True)
    expected = WarehouseError if place == "." and settings.url.drivername == "duckdb" else error
    with read_only(folder), pytest.raises(expected, match=message if expected is error else r"-> ") as caught:
        run(settings)
    run(settings)
    twice_is_once(settings, undisturbed)
    survived(f"read-only folder: {'home' if place == '.' else place}", caught.value, "mend it, run again")


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.chmod(0o644)
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-20])


@pytest.mark.parametrize("source", ["snapshot", "api"])
@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("part-0000.jsonl.gz", flip, r"was changed since it was landed -> remove the folder and run again"),
        ("part-0000.jsonl.gz", cut, r"was changed since it was landed -> remove the folder and run again"),
        ("part-0000.jsonl.gz", Path.unlink, r"No such file or directory -> remove the folder and run again"),
        ("manifest.json", cut, r"landing .* is damaged: .* -> remove the folder and run again"),
    ],
)
def test_a_landed_file_is_damaged(
    request, home_of, snapshot, api, monkeypatch, survived, source, file, damage, message
):
    more = {"snapshot": str(snapshot)} if source == "snapshot" else of_api(api())
    go = run if source == "snapshot" else lambda settings: night(settings, TODAY)
    expected = request.getfixturevalue("undisturbed" if source == "snapshot" else "undisturbed_api")
    settings = home_of(**more)
    real = batches.load

    def die(warehouse, batch, *args):
        if batch.landing.kind == WORKS and batch.landing.records:
            raise KeyboardInterrupt
        return real(warehouse, batch, *args)

    with monkeypatch.context() as patched:
        patched.setattr(batches, "load", die)
        with pytest.raises(KeyboardInterrupt):
            go(settings)
    (part,) = settings.landing.glob(f"openalex-{source}/*/part-0000.jsonl.gz")
    landed = part.with_name(file)
    damage(landed)
    with pytest.raises(LandingError, match=message) as caught:
        go(settings)
    assert str(landed.parent) in str(caught.value)
    shutil.rmtree(landed.parent)
    go(settings)
    twice_is_once(settings, expected, go)
    what = {flip: "a byte flipped", cut: "cut", Path.unlink: "gone"}[damage]
    survived(f"landed {file} of {source} {what}", caught.value, "remove the folder, run again")


@pytest.mark.parametrize(
    ("file", "damage"), [("manifest.json", cut), ("atlas.duckdb", flip), ("atlas.duckdb", Path.unlink)]
)
def test_a_release_is_damaged(home_of, snapshot, survived, file, damage):
    settings = home_of(snapshot=str(snapshot))
    run(settings)
    expected = promises_hold(settings)
    current = (settings.published / "current").resolve()
    damage(current / file)
    with Warehouse.open(settings) as warehouse:
        made = publish(warehouse, settings)
        assert made is not None
        assert made.folder != current
        assert publish(warehouse, settings) is None
    assert json.loads((settings.published / "current" / "manifest.json").read_text())["release"] == made.release_id
    assert promises_hold(settings) == expected
    survived(f"{file} of the release damaged ({damage.__name__})", "nothing", "the next publish writes another")
