"""Steps of a history of nights, and a warehouse that takes them, held to a model in plain Python after each.

The model says which versions may not come back, and what the tables hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

import tasks.batches.batch as batches
import tasks.batches.internal_batches
from schemas import tables as t
from schemas.errors import UndoRefused, UsageError
from schemas.settings import load_settings
from tasks.batches.undo import release, undo
from tasks.landing.land import DELETIONS, WORKS, Landing
from tasks.reading import quarantine
from tasks.staging.derive import Deriver
from tasks.staging.workers import LocalWorkers
from tasks.storage.warehouse import Warehouse
from tasks.upkeep.retention import prune
from tasks.validation.validate import Report, read_staged
from tests.arrivals import land_lines, plain_gates, reject_by_year
from tests.factory import adds_up, contents, prove, rows

Version = tuple[int, datetime, int]
Content = dict[str, list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Arrive:
    """Records that arrive together; `is_strict`: while the rule about years holds."""

    kind: str
    lines: tuple[bytes, ...]
    is_strict: bool = True
    source: str = "test"


@dataclass(frozen=True)
class Again:
    """An earlier arrival is sent again."""

    which: int


@dataclass(frozen=True)
class Retry:
    """The quarantine is retried, after the rule about years was mended, or not."""

    is_strict: bool


@dataclass(frozen=True)
class Undo:
    """The batch so many places before the newest one is taken back."""

    back: int
    with_later: bool


@dataclass(frozen=True)
class Release:
    """A batch that was undone is let in again."""

    which: int


@dataclass(frozen=True)
class Prune:
    """What is old is removed; with no days to undo, nothing of what is loaded can be undone any more."""

    undo_days: int
    keep_landing: int


Step = Arrive | Again | Retry | Undo | Release | Prune


@dataclass
class Loaded:
    """A batch that counts: what the tables were before it, the records that it could bring, and the versions that it
    brought."""

    batch_id: str
    before: Content
    arrival: Arrive
    valid: dict[int, Version]
    """Its valid versions by their lines."""
    could: Arrive
    """Its lines without those whose versions were blocked then."""
    brought: set[Version]
    lifted: dict[Version, str] = field(default_factory=dict)
    """Blocks that it was loaded to lift, and of which batch they are."""
    can_be_undone: bool = True


class Play:
    """A warehouse and the model of it."""

    def __init__(self, home: Path) -> None:
        self.settings = load_settings(home=home, scope="all", workers=1)
        self.deriver = Deriver(LocalWorkers(1))
        self.warehouse = Warehouse.open(self.settings)
        self.sent: list[Arrive] = []
        self.stack: list[Loaded] = []
        self.undone: list[Loaded] = []
        self.blocked: dict[Version, str] = {}
        self.now = contents(self.warehouse)

    def take(self, step: Step) -> None:
        """One step, on the warehouse and in the model, and what must hold after it."""
        match step:
            case Arrive():
                self.sent.append(step)
                self.load(step)
            case Again(which):
                self.load(self.sent[which % len(self.sent)])
            case Retry(is_strict):
                with self.warehouse.reading() as conn:
                    lines = tuple(quarantine.raw_of_open_records(conn))
                if lines:
                    self.load(Arrive(WORKS, lines, is_strict, quarantine.SOURCE))
            case Undo(back, with_later) if self.stack:
                self.undo(len(self.stack) - 1 - back % len(self.stack), with_later)
            case Release(which) if self.undone:
                self.release(self.undone[-1 - which % len(self.undone)])
            case Prune(undo_days, keep_landing):
                kept = {"undo_days": undo_days, "keep_landing": keep_landing}
                prune(self.warehouse, self.settings.model_copy(update=kept))
                for batch in self.stack:
                    batch.can_be_undone &= undo_days > 0
                assert contents(self.warehouse) == self.now
        self.look()

    def load(self, arrival: Arrive) -> None:
        name = f"arrival-{uuid4().hex}"
        identity = Landing(name, arrival.source, name, arrival.kind, ())
        landed, (batch,) = land_lines(self.settings, identity, arrival.lines)
        with rules(arrival.is_strict):
            folder = batches.stage(batch, landed, self.deriver, self.settings.staging / "test", self.settings)
            report = batches.validate(folder)
            valid = valid_versions(folder, report, arrival)
            outcome = batches.load(self.warehouse, batch, folder, report, self.settings)
        assert outcome is not None
        assert adds_up(outcome.row), outcome.row
        self.push(batch.batch_id, arrival, valid)

    def push(self, batch_id: str, arrival: Arrive, valid: dict[int, Version], **more: Any) -> None:
        """Note a batch that was loaded: of its versions those count that are not blocked, and those are brought that
        are newer than what was seen."""
        seen = self.seen()
        free = {at: one for at, one in valid.items() if one not in self.blocked}
        brought = {one for one in free.values() if one[0] not in seen or seen[one[0]] < one[1:]}
        lines = tuple(raw for at, raw in enumerate(arrival.lines) if at in free or at not in valid)
        could = replace(arrival, lines=lines)
        self.stack.append(Loaded(batch_id, self.now, arrival, valid, could, brought, **more))
        self.now = contents(self.warehouse)

    def undo(self, at: int, with_later: bool) -> None:
        chosen = self.stack[at:]
        name = chosen[0].batch_id
        if len(chosen) > 1 and not with_later:
            with pytest.raises(UsageError, match="loaded after"):
                undo(self.warehouse, self.settings, name)
        elif not all(batch.can_be_undone for batch in chosen):
            with pytest.raises(UndoRefused, match="COLLAB_UNDO_DAYS"):
                undo(self.warehouse, self.settings, name, with_later=with_later)
        else:
            done = undo(self.warehouse, self.settings, name, with_later=with_later)
            assert [one.batch_id for one in done] == [batch.batch_id for batch in reversed(chosen)]
            for batch in reversed(chosen):
                self.stack.pop()
                self.undone.append(batch)
                for version, owner in (dict.fromkeys(batch.brought, batch.batch_id) | batch.lifted).items():
                    self.blocked.setdefault(version, owner)
            self.now = chosen[0].before

    def release(self, batch: Loaded) -> None:
        of = t.blocked.c.batch_id == batch.batch_id
        if not rows(self.warehouse, sa.select(t.blocked).where(of)):
            with pytest.raises(UsageError, match="are blocked"):
                release(self.warehouse, self.settings, batch.batch_id)
            return
        with rules(batch.arrival.is_strict):
            outcome = release(self.warehouse, self.settings, batch.batch_id).outcome
        lifted = {version: owner for version, owner in self.blocked.items() if owner == batch.batch_id}
        for version in lifted:
            del self.blocked[version]
        if outcome is not None:
            self.push(outcome.row["batch_id"], batch.arrival, batch.valid, lifted=lifted)

    def seen(self) -> dict[int, tuple[datetime, int]]:
        """Newest version seen of each work."""
        return {work_id: (updated_at, tie) for work_id, updated_at, tie, _ in self.now["seen"]}

    def look(self) -> None:
        """The tables are as the model has them; nothing is kept out but what may not come back; a record is open unless
        what was seen overtakes it."""
        assert contents(self.warehouse) == self.now
        seen = self.seen()
        kept_out = rows(self.warehouse, sa.select(t.blocked))
        blocked = {(row["work_id"], row["source_updated_at"], row["tie_hash"]): row["batch_id"] for row in kept_out}
        assert blocked.items() <= self.blocked.items()
        for work_id, *version in self.blocked.keys() - blocked.keys():  # pruned
            assert tuple(version) < seen[work_id]
        for row in rows(self.warehouse, sa.select(t.quarantine)):
            at = seen.get(row["work_id"])
            is_overtaken = at is not None and (row["source_updated_at"], row["version"]) <= at
            assert (row["resolved_at"] is not None) == is_overtaken, row

    def release_all(self) -> None:
        """Let everything in again, and send everything again, with the rule about years mended."""
        held = rows(self.warehouse, sa.select(t.blocked.c.batch_id).distinct().order_by(t.blocked.c.batch_id))
        with rules(is_strict=False):
            for row in held:
                release(self.warehouse, self.settings, row["batch_id"])
        self.blocked.clear()
        for arrival in together(replace(arrival, is_strict=False) for arrival in self.sent):
            self.load(arrival)

    def is_right(self) -> None:
        with self.warehouse.reading() as conn:
            prove(conn)


def valid_versions(folder: Path, report: Report, arrival: Arrive) -> dict[int, Version]:
    """Valid versions of a staged batch, by the lines that they came with."""
    if arrival.kind == DELETIONS:
        newest = {row["work_id"]: tuple(row.values()) for row in read_staged(folder, "deletion").to_pylist()}
        ids = [int(raw.split(b",")[0].rsplit(b"W")[-1]) for raw in arrival.lines]
        return {at: newest[work_id] for at, work_id in enumerate(ids)}
    refused = {rejection.stage_id for rejection in report.rejections}
    named = ("work_id", "source_updated_at", "tie_hash")
    found = {row["stage_id"]: row for row in read_staged(folder, "version").to_pylist()}
    return {at: tuple(row[name] for name in named) for at, row in found.items() if at not in refused}


def together(arrivals: Iterable[Arrive]) -> list[Arrive]:
    """Fewer arrivals with the same lines: their order and grouping do not matter (test_properties.py)."""
    lines: dict[tuple[str, bool], tuple[bytes, ...]] = {}
    for one in arrivals:
        lines[one.kind, one.is_strict] = lines.get((one.kind, one.is_strict), ()) + one.lines
    return [Arrive(kind, every, is_strict) for (kind, is_strict), every in lines.items() if every]


@contextmanager
def rules(is_strict: bool) -> Iterator[None]:
    """The two entry points of Great Expectations replaced by plain Python."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(batches, "validate_staged", reject_by_year if is_strict else lambda folder: Report([], []))
        for module in (batches, tasks.batches.internal_batches):
            patched.setattr(module, "check_gates", plain_gates)
        yield
