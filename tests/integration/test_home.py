"""A home belongs to one warehouse: another one would remove what `collab undo` needs, so it is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa

from schemas import tables as t
from schemas.errors import UsageError
from schemas.settings import Settings
from tasks.batches.former import FOLDER
from tasks.storage.home import NOTE
from tasks.storage.warehouse import Warehouse
from tests.commands import invoke, set_environment
from tests.factory import proven, rows, run, work, write_snapshot

pytestmark = pytest.mark.usefixtures("unpublished")


@pytest.fixture
def settings(tmp_path, settings_for) -> Settings:
    """A home and warehouse in which a batch was loaded."""
    made = settings_for(write_snapshot(tmp_path / "s", {"2026-01-01": [work(11)]}))
    run(made)
    return made


def other_than(settings: Settings, tmp_path: Path) -> Settings:
    """Another warehouse in the same home."""
    return settings.model_copy(update={"warehouse_url": f"duckdb:///{tmp_path}/other.duckdb"})


def give_another_id(settings: Settings) -> None:
    """What removing a warehouse and beginning it anew at its address does to its id."""
    with Warehouse.open(settings) as warehouse, warehouse.transaction() as conn:
        conn.execute(sa.update(t.meta).where(t.meta.c.name == "warehouse_id").values(value="another"))


def files_in(home: Path) -> set[Path]:
    return {path for path in home.rglob("*") if path.is_file() and "staging" not in path.parts}


def test_another_warehouse_is_refused_in_one_line_that_names_both(settings, tmp_path):
    address = json.loads((settings.home / NOTE).read_text())["address"]
    before = files_in(settings.home)
    assert any(FOLDER in path.parts for path in before)  # what an undo needs
    other = other_than(settings, tmp_path)
    with pytest.raises(UsageError) as caught:
        run(other)
    assert caught.value.exit_code == 2
    assert str(caught.value) == (
        f"{settings.home} belongs to the warehouse {address}, not to {tmp_path}/other.duckdb: they would remove each"
        f" other's files -> set COLLAB_HOME to a folder of its own, or remove {settings.home / NOTE} if {address} is"
        " no longer used"
    )
    assert files_in(settings.home) == before
    run(other.model_copy(update={"home": tmp_path / "its-own"}))
    (settings.home / NOTE).unlink()
    run(other)
    with pytest.raises(UsageError, match=r"belongs to the warehouse .*other\.duckdb, not to"):
        run(settings)


def test_commands_that_look_say_so_too(settings, tmp_path, monkeypatch):
    other = other_than(settings, tmp_path).model_copy(update={"home": tmp_path / "its-own"})
    run(other)
    set_environment(monkeypatch, other_than(settings, tmp_path), "home", "scope", "warehouse_url")
    for args, code in ((["status"], 2), (["prune"], 2), (["check"], 1)):
        found = invoke(*args)
        told = [line for line in found.output.splitlines() if line.startswith(f"collab {args[0]}: ")]
        assert (found.exit_code, len(told)) == (code, 1), found.output
        assert "belongs to the warehouse" in told[0]


def test_a_warehouse_begun_anew_at_its_address_takes_the_home_over(settings):
    give_another_id(settings)
    run(settings)
    assert json.loads((settings.home / NOTE).read_text())["warehouse_id"] == "another"


@pytest.mark.engines("duckdb")
def test_a_file_that_was_removed_is_begun_anew_also_where_the_home_was_moved(settings, tmp_path):
    shutil.move(settings.home, tmp_path / "moved")
    moved = settings.model_copy(update={"home": tmp_path / "moved"})
    (moved.home / "warehouse.duckdb").unlink()
    run(moved)
    assert set(proven(moved)["work"]) != set()


@pytest.mark.engines("duckdb")
def test_a_copy_of_the_warehouse_is_the_warehouse(settings, tmp_path):
    shutil.copy(settings.home / "warehouse.duckdb", tmp_path / "other.duckdb")
    run(other_than(settings, tmp_path))
    run(settings)


def test_a_home_of_an_older_release_is_taken_over_and_a_warehouse_without_id_takes_none(settings):
    (settings.home / NOTE).unlink()
    with Warehouse.open(settings, create=False):
        assert not (settings.home / NOTE).exists()  # looking is no claim
    run(settings)
    assert (settings.home / NOTE).exists()
    (settings.home / NOTE).unlink()
    with Warehouse.open(settings, create=False) as warehouse, warehouse.transaction() as conn:
        conn.execute(sa.delete(t.meta).where(t.meta.c.name == "warehouse_id"))
    run(settings)
    assert not (settings.home / NOTE).exists()


def test_a_note_that_cannot_be_read_is_one_line(settings):
    (settings.home / NOTE).write_text("{")
    with pytest.raises(UsageError, match=rf"{NOTE} cannot be read: .* -> mend or remove it"):
        run(settings)
    (settings.home / NOTE).unlink()
    run(settings)


def test_the_note_holds_no_user_and_no_password(settings):
    noted = json.loads((settings.home / NOTE).read_text())
    with Warehouse.open(settings) as warehouse:
        (told,) = rows(warehouse, sa.select(t.meta.c.value).where(t.meta.c.name == "warehouse_id"))
    assert noted["warehouse_id"] == told["value"]
    assert str(settings.url.database) in f"{settings.home}/{noted['address']}"
    assert "@" not in noted["address"]
