"""Definitions other than ours, put in the place of ours; and warehouses that older ones decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import tasks.batches.rederive as rederiving
import tasks.landing.harvest as harvest
import tasks.staging.derive as derive
import tasks.storage.definitions as definitions
import tasks.storage.warehouse as warehouses
from schemas.fields import Definitions, load_definitions
from tasks.batches.rederive import Rederived, rederive
from tasks.storage.warehouse import Warehouse
from tasks.upkeep.retention import prune
from tests.commands import status_of
from tests.factory import OFF_TOPIC

OF_TOPIC = {"primary_topic": OFF_TOPIC, "topics": [OFF_TOPIC]}


def put_digest(monkeypatch, digest: str) -> None:
    """Makes the warehouse take the definitions in place for others than those it was loaded by."""
    for module in (definitions, rederiving, warehouses):
        for name in ("counting_digest", "classifying_digest"):
            monkeypatch.setattr(module, name, lambda: digest, raising=False)


def put_definitions(monkeypatch, changed: Callable[[Definitions], Definitions]) -> None:
    """Puts other definitions of fields in the place of ours."""
    ours = changed(load_definitions())
    for module in (derive, harvest):
        monkeypatch.setattr(module, "load_definitions", lambda: ours)
    put_digest(monkeypatch, changed.__name__)


def wider(ours: Definitions) -> Definitions:
    """One subfield more is admitted, and what was admitted before is robotics as well."""
    admits = replace(ours.fields[0].rules[0], values=("1702", "2105"))
    robots = next(field for field in ours.fields if field.id == "robotics")
    robotics = replace(robots, rules=(replace(robots.rules[0], values=("T10028",)), *robots.rules[1:]))
    ai = replace(ours.fields[0], rules=(admits, *ours.fields[0].rules[1:]))
    return replace(ours, fields=(ai, *(robotics if field is robots else field for field in ours.fields[1:])))


def robotics_too(ours: Definitions) -> Definitions:
    """The same works are admitted, and what was admitted before is robotics as well."""
    return replace(wider(ours), fields=(ours.fields[0], *wider(ours).fields[1:]))


def soup_too(ours: Definitions) -> Definitions:
    """Soup is robotics."""
    robots = next(field for field in ours.fields if field.id == "robotics")
    title = next(rule for rule in robots.rules if rule.kind == "title")
    robotics = replace(robots, rules=(replace(title, values=("soup",), hints=("soup",)),))
    return replace(ours, fields=tuple(robotics if field is robots else field for field in ours.fields))


def narrower(ours: Definitions) -> Definitions:
    """All topics but one are left out."""
    ai = replace(ours.fields[0], exclude_topics=frozenset({*ours.fields[0].exclude_topics, "T10028"}))
    return replace(ours, fields=(ai, *ours.fields[1:]))


def forget_records(settings) -> None:
    """Removes all landed records, as `collab prune` does when they are old."""
    with Warehouse.open(settings) as warehouse:
        prune(warehouse, settings.model_copy(update={"keep_landing": 0, "undo_days": 0}))
    assert list(settings.landing.glob("*/*")) == []


def rebuild(settings) -> Rederived:
    """Decides again, by the definitions in place, what there are records of."""
    with Warehouse.open(settings, any_definitions=True) as warehouse:
        return rederive(warehouse, settings)


def undecided(settings) -> str:
    """The lines of `collab status` about works that older definitions decided, which make it red; empty if none."""
    found, text = status_of(settings)
    lines = [line for line in text.splitlines() if line.startswith("OLDER DEFINITIONS")]
    assert len(lines) == len(found.undecided)
    assert not (lines and found.is_good)
    assert lines or not found.partial
    return "\n".join(lines)
