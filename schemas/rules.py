"""Vocabulary of the rules that stand beside the columns in tables.py. What a rule means to Great Expectations is in
expectations.py.

Severities, nothing more: `reject` (the work goes to quarantine with its reason), `repair` (parse or locate mends the
value and records before and after; the expectation proves that it was mended), `warn` (stored and shown), `stop` (the
batch rolls back).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["reject", "repair", "warn", "stop"]
Kind = Literal["not_null", "between", "in_set", "not_in_set", "matches"]
NEXT_YEAR = "next year"  # a bound that is resolved when the rule is applied, not when it is declared


@dataclass(frozen=True)
class Rule:
    """One rule on one column. `why` is shown to whoever meets a broken one."""

    id: str
    severity: Severity
    kind: Kind
    why: str
    params: dict[str, Any] = field(default_factory=dict, hash=False)


def not_null(id: str, severity: Severity, why: str) -> Rule:
    """The value is there."""
    return Rule(id, severity, "not_null", why)


def between(id: str, severity: Severity, low: float | str | None, high: float | str | None, why: str) -> Rule:
    """Low <= value <= high; None leaves a side open."""
    return Rule(id, severity, "between", why, {"min_value": low, "max_value": high})


def in_set(id: str, severity: Severity, values: Collection[Any], why: str) -> Rule:
    """The value is one of a list; null passes."""
    return Rule(id, severity, "in_set", why, {"value_set": sorted(values)})


def not_in_set(id: str, severity: Severity, values: Collection[Any], why: str) -> Rule:
    """The value is none of a list; null passes."""
    return Rule(id, severity, "not_in_set", why, {"value_set": sorted(values)})


def matches(id: str, severity: Severity, regex: str, why: str) -> Rule:
    """The value matches a regular expression; null passes."""
    return Rule(id, severity, "matches", why, {"regex": regex})
