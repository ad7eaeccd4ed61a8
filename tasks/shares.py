"""Credits the countries of a work, exactly. Pure functions.

Shares follow the Nature Index rule: each author weighs 1/authors, split equally over the author's units, each unit
equally over its known countries. A unit is a distinct raw affiliation string; institutions tied to no string are units
only for an author without linked strings; a unit without a known country, and an author without units, is `ZZ`. Shares
are integers of 1e-9, floored, the remainder to the largest (ties: first code, `ZZ` last), so that a work's shares sum
to exactly 1. Other policies sum the iso shares.

Where affiliations could not be tied to authors, every author is unknown: the countries count as a whole, with share 0.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from schemas.tables import SHARE_SCALE
from schemas.territories import UNKNOWN, Policy, policies

Weights = tuple[tuple[str, int], ...]
"""Territory and divisor of an author's weight; a territory stands once for each unit that holds it."""
_NOBODY = frozenset({UNKNOWN})


class Territory(NamedTuple):
    """Share of a territory in a work under a policy; `share` in units of 1e-9. Columns of core.work_territory."""

    policy: str
    territory: str
    share: int
    authors: int
    only_author: int | None


class PolicyRow(NamedTuple):
    """What a policy makes of a work as a whole. Columns of core.work_policy."""

    policy: str
    territories: int
    unknown_share: int


class Credit(NamedTuple):
    """Territories of a work under every policy."""

    authors_located: int
    territories: tuple[Territory, ...]
    policies: tuple[PolicyRow, ...]


def weights_of(units: dict[int, set[str]]) -> Weights:
    """Weights of an author's units, each given by its countries; an author without units is unknown."""
    known = [(countries - _NOBODY) or _NOBODY for countries in units.values()] or [_NOBODY]
    return tuple((territory, len(known) * len(unit)) for unit in known for territory in sorted(unit))


@lru_cache(maxsize=10_000)
def credit(authors: tuple[Weights, ...], *, is_cut: bool, unassigned: frozenset[str] = frozenset()) -> Credit:
    """Credit of a work from the weights of its authors; `is_cut`: one unknown author stands for those not listed;
    `unassigned`: known countries of affiliations that are tied to no author.

    The countries of small teams repeat, in the same order, in every second work.
    """
    iso = dict.fromkeys(unassigned, 0) | _iso_shares(authors, phantom=is_cut)
    linked: dict[str, list[int]] = {}
    for position, weights in enumerate(authors, start=1):
        for territory in {territory for territory, _ in weights}:
            linked.setdefault(territory, []).append(position)
    territories: list[Territory] = []
    rows: list[PolicyRow] = []
    for policy in policies():
        found = _apply(policy, iso, linked)
        is_partly_unknown = found[-1].territory == UNKNOWN  # ZZ sorts last
        unknown = found[-1].share if is_partly_unknown else 0
        rows.append(PolicyRow(policy.id, len(found) - is_partly_unknown, unknown))
        territories += found
    located = {position for territory, positions in linked.items() if territory != UNKNOWN for position in positions}
    return Credit(len(located), tuple(territories), tuple(rows))


def _iso_shares(authors: tuple[Weights, ...], *, phantom: bool) -> dict[str, int]:
    """Exact shares in units of 1e-9.

    A phantom author of unknown country stands for those the source did not list.
    """
    parts = [*(part for weights in authors for part in weights), *([(UNKNOWN, 1)] if phantom else [])]
    common = math.lcm(*{divisor for _, divisor in parts})
    sums: dict[str, int] = {}
    for territory, divisor in parts:
        sums[territory] = sums.get(territory, 0) + common // divisor
    whole = (len(authors) + phantom) * common
    shares = {territory: part * SHARE_SCALE // whole for territory, part in sums.items()}
    largest = min(shares, key=lambda territory: (-sums[territory], territory == UNKNOWN, territory))
    shares[largest] += SHARE_SCALE - sum(shares.values())
    return shares


def _apply(policy: Policy, iso: dict[str, int], linked: dict[str, list[int]]) -> list[Territory]:
    """Territories of a work under a policy: shares are sums of iso shares, authors are counted anew."""
    shares: dict[str, int] = {}
    positions: dict[str, set[int]] = {}
    for territory, share in iso.items():
        target = policy.counts_as.get(territory, territory)
        shares[target] = shares.get(target, 0) + share
        positions.setdefault(target, set()).update(linked.get(territory, ()))
    return [
        Territory(policy.id, territory, shares[territory], len(found), next(iter(found)) if len(found) == 1 else None)
        for territory, found in sorted(positions.items())
    ]
