"""Views over the counts, by theme.

Basis and bounds are in the name; undefined is null, never 0 or infinity. Floats only here.

The order is that of making them: a view stands after those it reads.
"""

from __future__ import annotations

from schemas.indices import country, groups, pair, time
from schemas.indices.view import LOW_N, View

__all__ = ["LOW_N", "VIEWS", "View"]

VIEWS: dict[str, View] = {
    **country.VIEWS,
    **pair.VIEWS,
    **time.VIEWS,
    **groups.VIEWS,
}
