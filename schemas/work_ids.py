"""Ids of works as people write them: `W2741809807` for a work of OpenAlex, `L...` for a paper of a venue list.

Behind either letter stands the `work_id` of the tables. Papers of lists have a range of their own, above all that
OpenAlex can give.
"""

from __future__ import annotations

import re
from hashlib import blake2b

from schemas.identifiers import OPENALEX

FIRST_OF_LISTS = 2**62  # ids of OpenAlex have at most 18 digits, so they end below
_written = re.compile(r"([WL]?)([1-9][0-9]{0,18})", re.IGNORECASE)


def is_of_list(work_id: int) -> bool:
    """Whether the work came from a venue list."""
    return work_id >= FIRST_OF_LISTS


def shown_id(work_id: int) -> str:
    """A work id as people read it."""
    return f"{'L' if is_of_list(work_id) else 'W'}{work_id}"


def read_id(text: str) -> int:
    """Number of a work: W2741809807, L5764607523034234880, the number alone, or the address at OpenAlex.

    Raises:
        ValueError: it is none of these, or its letter belongs to the other range.
    """
    match = _written.fullmatch(text.strip().removeprefix(OPENALEX))
    if match is None or not 0 < (number := int(match[2])) < 2 * FIRST_OF_LISTS:
        raise ValueError(f"{text[:40]!r} is not the id of a work")
    if match[1] and match[1].upper() != shown_id(number)[0]:
        raise ValueError(f"{text[:40]!r} is not the id of a work: {shown_id(number)} is")
    return number


def list_id(*identity: str) -> int:
    """Id of a paper of a list: 62 bits of BLAKE2b over what identifies it, above `FIRST_OF_LISTS`."""
    digest = blake2b("\x1f".join(identity).encode(), digest_size=8).digest()
    return FIRST_OF_LISTS + (int.from_bytes(digest, "little") >> 2)
