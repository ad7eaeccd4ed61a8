"""What is said of a batch that a gate stopped: by how much, and what lets it pass if the source is right."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.errors import GateStopped
from tasks.validation.gates import WINDOW_COMPLETE
from tasks.validation.validate import Report, Result


def stop_of(batch_id: str, results: list[Result], findings: Report, again: str) -> GateStopped:
    """What to raise for a batch that some rules stopped.

    Args:
        results: all that the rules saw of it.
        findings: what its gates saw.
        again: the command that loads it.
    """
    broken = findings.stopped_by
    figures = "; ".join(f"{result.rule} is {result.observed}, limit {result.expected}" for result in broken)
    lifted = [findings.lifted_by.get(result.rule, "") for result in broken]
    if all(lifted):
        once = " ".join(_widest(lifted))
        how = f"if the source is right, `{once} {again}` lets it pass once; else `{again}` when it is mended"
    elif any(result.rule == WINDOW_COMPLETE for result in broken):
        how = f"the source did not list all that it says there is; `{again}` asks again"
    else:
        how = f"figures contradict each other, which is a defect: `collab verify`, report it; `{again}` tries again"
    hint = f"nothing of it was loaded; `collab status` says why; {how}"
    return GateStopped(f"batch {batch_id} stopped: {figures}", hint, batch_id, tuple(results))


def _widest(lifted: Iterable[str]) -> list[str]:
    """One value for each setting: the one that all rules pass that are held to it."""
    found: dict[str, str] = {}
    for one in lifted:
        name, value = one.split("=")
        choose = min if name.startswith("COLLAB_MIN_") else max
        found[name] = choose(found.get(name, value), value, key=float)
    return [f"{name}={value}" for name, value in found.items()]
