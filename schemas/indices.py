"""Views over the counts, by theme in schemas/indices_*.py.

Basis and bounds are in the name; undefined is null, never 0 or infinity. Floats only here.

The order is that of making them: a view stands after those it reads.
"""

from __future__ import annotations

from schemas import indices_country, indices_groups, indices_pair, indices_time
from schemas.indices_view import LOW_N, View

__all__ = ["LOW_N", "VIEWS", "View"]

VIEWS: dict[str, View] = {
    **indices_country.VIEWS,
    **indices_pair.VIEWS,
    **indices_time.VIEWS,
    **indices_groups.VIEWS,
}
