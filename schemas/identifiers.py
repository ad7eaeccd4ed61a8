"""Shapes of identifiers from elsewhere, each worded once, and the ids that sources write where they do not know one."""

from __future__ import annotations

OPENALEX = "https://openalex.org/"
"""Address that OpenAlex ids begin with, as in https://openalex.org/W2741809807."""
OPENALEX_NUMBER = r"[1-9][0-9]{0,17}"
"""What stands behind the letter of an OpenAlex id: at most 18 digits."""
DOI = r"10\.[0-9]{4,9}/\S+"
"""A DOI without the resolver's address."""
ROR = r"0[a-z0-9]{8}"
"""A ROR id without its address."""
AUTHOR_SENTINELS = frozenset({9999999999, 5317838346})
"""Numbers of OpenAlex authors that stand for none: a null author, and deleted ones (trap T28)."""
INSTITUTION_SENTINEL = f"{OPENALEX}I-1"
"""An institution of which only the name is known (trap T4)."""
