"""Relative intensity of collaboration over counts that were summed in Python, such as those of a span of years.

For single years the views do the same in SQL (`pair_ric`); a test holds one against the other.
"""

from __future__ import annotations

from math import exp, log, sqrt
from typing import NamedTuple

from schemas.indices.pair import Z_95


class Intensity(NamedTuple):
    """RIC with the ends of its 95 % interval; 1 is neutral."""

    ric: float
    low: float
    high: float


def relative_intensity(joint: int, links: int, partner_links: int, world_links: int) -> Intensity | None:
    """RIC(a, b) = (c / C_a) / ((C_b - c) / (T - C_a)), Fuchs, Sivertsen and Rousseau 2021.

    The interval comes from the standard error of its logarithm. None where a cell of the fourfold table is empty.

    Args:
        joint: links between both, c.
        links: links of the territory, C_a.
        partner_links: links of the partner, C_b.
        world_links: links of the world, T.
    """
    elsewhere, rest = partner_links - joint, world_links - links
    if min(joint, elsewhere, rest) <= 0:
        return None
    ric = (joint / links) / (elsewhere / rest)
    error = sqrt(max(0.0, 1 / joint - 1 / links + 1 / elsewhere - 1 / rest))
    return Intensity(ric, exp(log(ric) - Z_95 * error), exp(log(ric) + Z_95 * error))
