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

from schemas.places.territories import UNKNOWN, Policy, policies
from schemas.tables import SECTOR_BITS, SHARE_SCALE, UNKNOWN_SECTOR

Weights = tuple[tuple[str, int], ...]
"""Territory and divisor of an author's weight; a territory stands once for each unit that holds it."""
Sectors = tuple[tuple[str, int], ...]
"""Territory and the sum of the sectors (SECTOR_BITS) of the institutions that link an author to it."""
_NOBODY = frozenset({UNKNOWN})


class Territory(NamedTuple):
    """Share of a territory in a work under a policy; `share` in units of 1e-9. Columns of core.work_territory."""

    policy: str
    territory: str
    share: int
    authors: int
    only_author: int | None
    is_first: bool
    is_corresponding: bool
    sectors: int


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


class Part(NamedTuple):
    """An author's part in a work."""

    weights: Weights
    sectors: Sectors


@lru_cache(maxsize=10_000)
def credit(
    authors: tuple[Part, ...],
    corresponding: tuple[int, ...] = (),
    *,
    is_cut: bool = False,
    unassigned: frozenset[str] = frozenset(),
) -> Credit:
    """Credit of a work from the parts of its authors.

    The countries of small teams repeat, in the same order, in every second work.

    Args:
        corresponding: positions of the corresponding authors, from 1.
        is_cut: one unknown author stands for those not listed.
        unassigned: known countries of affiliations that are tied to no author.
    """
    parts = tuple(author.weights for author in authors)
    iso = dict.fromkeys(unassigned, 0) | _iso_shares(parts, phantom=is_cut)
    linked: dict[str, list[int]] = {}
    sectors = {UNKNOWN: SECTOR_BITS[UNKNOWN_SECTOR]} if is_cut else {}
    for position, author in enumerate(authors, start=1):
        for territory in {territory for territory, _ in author.weights}:
            linked.setdefault(territory, []).append(position)
        for territory, bits in author.sectors:
            sectors[territory] = sectors.get(territory, 0) | bits
    territories: list[Territory] = []
    rows: list[PolicyRow] = []
    as_they_are = _apply(policies()[0], iso, linked, sectors, frozenset(corresponding))
    for policy in policies():
        if policy.counts_as.keys().isdisjoint(iso):  # most works: the same under every policy
            found = [territory._replace(policy=policy.id) for territory in as_they_are]
        else:
            found = _apply(policy, iso, linked, sectors, frozenset(corresponding))
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
    largest = min(shares, key=lambda territory: (-sums[territory], territory))  # ZZ sorts last
    shares[largest] += SHARE_SCALE - sum(shares.values())
    return shares


def _apply(
    policy: Policy,
    iso: dict[str, int],
    linked: dict[str, list[int]],
    sectors: dict[str, int],
    corresponding: frozenset[int],
) -> list[Territory]:
    """Territories of a work under a policy: shares are sums of iso shares, authors are counted anew."""
    shares: dict[str, int] = {}
    positions: dict[str, set[int]] = {}
    bits: dict[str, int] = {}
    for territory, share in iso.items():
        target = policy.counts_as.get(territory, territory)
        shares[target] = shares.get(target, 0) + share
        positions.setdefault(target, set()).update(linked.get(territory, ()))
        bits[target] = bits.get(target, 0) | sectors.get(territory, 0)
    return [
        Territory(
            policy=policy.id,
            territory=territory,
            share=shares[territory],
            authors=len(found),
            only_author=next(iter(found)) if len(found) == 1 else None,
            is_first=1 in found,
            is_corresponding=not corresponding.isdisjoint(found),
            sectors=bits[territory] or SECTOR_BITS[UNKNOWN_SECTOR],
        )
        for territory, found in sorted(positions.items())
    ]
