"""Great Expectations suites. Row rules come from the columns in tables.py; rules on whole records and on a batch are
declared here.

Great Expectations takes seconds to import, so it is imported when the first suite is built.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table

from schemas.rules import NEXT_YEAR, Rule, Severity, between, in_set
from schemas.settings import PREFIX
from schemas.staging import STAGED
from schemas.tables import SHARE_SCALE

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite

_GX_SEVERITY = {"stop": "critical", "reject": "critical", "warn": "warning", "repair": "info"}
SHARES = "work_shares"  # frame of one row per version and policy: `total`, in units of 1e-9


@dataclass(frozen=True)
class Check:
    """A rule on a column of a frame."""

    suite: str
    column: str
    rule: Rule

    @property
    def expected(self) -> str:
        """The rule in words, for reports."""
        params = self.rule.params
        match self.rule.kind:
            case "between":
                low, high = params["min_value"], params["max_value"]
                return (
                    f"{self.column} >= {low}"
                    if high is None
                    else f"{self.column} <= {high}"
                    if low is None
                    else f"{low} <= {self.column} <= {high}"
                )
            case "in_set" | "not_in_set":
                values = [str(v) for v in params["value_set"]]
                shown = ", ".join(values[:6]) + (f", ... ({len(values)})" if len(values) > 6 else "")
                return f"{self.column} {'in' if self.rule.kind == 'in_set' else 'not in'} ({shown})"
            case "matches":
                return f"{self.column} like {params['regex']}"
            case _:
                return f"{self.column} is not null"


def record_checks() -> list[Check]:
    """Checks on staged records, in the order in which a record's first broken rule is reported."""
    found = []
    for name, source in STAGED.items():
        if isinstance(source, Table):
            found += [Check(name, c.name, rule) for c in source.columns for rule in c.info.get("rules", ())]
    why = "the shares of a work must sum to exactly 1"
    found.append(Check(SHARES, "total", in_set("shares_sum", "reject", [SHARE_SCALE], why)))
    return [_resolved(check) for check in found]


@dataclass(frozen=True)
class Gate:
    """A figure of a batch with its limits; None leaves a side open.

    `is_evaluated` is false where there is too little to judge by.
    """

    name: str
    severity: Severity
    observed: float
    low: float | None
    high: float | None
    why: str
    is_evaluated: bool = True
    if_not: str = "too few works or earlier batches"
    """Why it is not evaluated, where it is not."""
    lifted_by: str = ""
    """The setting, with its value, that lets this figure pass, such as COLLAB_MIN_VOLUME_SHARE=0.30; empty if none
    may."""

    @property
    def excess(self) -> float:
        """How far the figure lies outside its limits; 0 within them, or where it is not evaluated."""
        below = 0.0 if self.low is None else self.low - self.observed
        above = 0.0 if self.high is None else self.observed - self.high
        return max(below, above, 0.0) if self.is_evaluated else 0.0

    @property
    def expected(self) -> str:
        """The limits in words. No figure is negative, so that 0 is no limit worth a word."""
        if self.high is None:
            return "" if self.low is None else f"at least {self.low:.6g}"
        if self.low == self.high:
            return f"exactly {self.high:.6g}"
        return f"{self.low:.6g} to {self.high:.6g}" if self.low else f"at most {self.high:.6g}"


def raised(setting: str, observed: float, most: float | None = 1) -> str:
    """The setting of an upper limit with a value that lets a figure pass.

    Args:
        setting: its name in Settings.
        most: largest value it takes; None if there is none.
    """
    above = math.ceil(100 * observed + 1) / 100
    return f"{PREFIX}{setting.upper()}={above if most is None else min(above, most)}"


GATES = "gates"  # frame of one row per gate
GATE_CHECK = Check(GATES, "excess", between("gate", "stop", 0, 0, "a figure outside its limits"))


def build_suite(name: str, checks: Iterable[Check]) -> ExpectationSuite:
    """Suite of the given checks; each expectation's `meta` carries rule id and severity."""
    import great_expectations as gx
    import great_expectations.expectations as gxe

    kinds: dict[str, Any] = {
        "not_null": gxe.ExpectColumnValuesToNotBeNull,
        "between": gxe.ExpectColumnValuesToBeBetween,
        "in_set": gxe.ExpectColumnValuesToBeInSet,
        "not_in_set": gxe.ExpectColumnValuesToNotBeInSet,
        "matches": gxe.ExpectColumnValuesToMatchRegex,
    }
    expectations = [
        kinds[c.rule.kind](
            column=c.column,
            meta={"rule": c.rule.id, "severity": c.rule.severity},
            severity=_GX_SEVERITY[c.rule.severity],
            description=c.rule.why,
            **c.rule.params,
        )
        for c in checks
    ]
    return gx.ExpectationSuite(name=name, expectations=expectations)


def _resolved(check: Check) -> Check:
    if NEXT_YEAR not in check.rule.params.values():
        return check
    params = {k: datetime.now(UTC).year + 1 if v == NEXT_YEAR else v for k, v in check.rule.params.items()}
    return replace(check, rule=replace(check.rule, params=params))
