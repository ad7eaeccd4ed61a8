"""What places are decided by beside the rules: reviewed corrections and the organisations of ROR.

A reference is a folder of files that worker processes map into memory. The warehouse holds what it is made from, so
that every home and every worker decides alike; `tasks/countries/registry.py` writes and finds it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp

import msgspec

from schemas.overrides import Override, shipped_overrides
from tasks.countries.ror_index import Match, RorIndex

OVERRIDES = "overrides.json"
INDEX = "ror"


class Reference:
    """Corrections and organisations. Users' corrections beat those that ship with the package."""

    def __init__(self, overrides: tuple[Override, ...] = (), index: RorIndex | None = None) -> None:
        every = {(one.kind, one.key): one for one in (*shipped_overrides(), *overrides)}
        self._strings = {key: one for (kind, key), one in every.items() if kind == "string"}
        self._institutions = {key: one for (kind, key), one in every.items() if kind == "institution"}
        self._index = index

    @classmethod
    def load(cls, folder: Path | None) -> Reference:
        """The reference in a folder; without one, what ships with the package."""
        if folder is None:
            return cls()
        overrides = msgspec.json.decode((folder / OVERRIDES).read_bytes(), type=tuple[Override, ...])
        index = RorIndex.load(folder / INDEX) if (folder / INDEX).exists() else None
        return cls(overrides, index)

    def override(self, institution_id: int | None, ror: str | None, folded: str) -> Override | None:
        """Correction of a folded string, else of an institution."""
        if folded and (found := self._strings.get(folded)):
            return found
        if not self._institutions:
            return None
        return self._institutions.get(f"I{institution_id}") or self._institutions.get(ror or "")

    def country_of_ror(self, ror: str | None) -> str | None:
        """Country of an organisation in ROR; None if it is unknown, or in several countries."""
        return self._index.country_of(ror) if ror and self._index else None

    def find(self, raw: str) -> Match | None:
        """The organisation of ROR that a string names."""
        return self._index.find(raw) if self._index else None


@lru_cache(maxsize=2)
def load_reference(folder: str | None) -> Reference:
    """The reference in a folder, loaded once a process."""
    if folder is None:
        return Reference.load(None)
    return Reference.load(_received.get(folder) or Path(folder))


_received: dict[str, Path] = {}


def receive_reference(folder: str, files: dict[str, bytes]) -> None:
    """Keep a copy of a reference on a machine that does not share the folder: what a Dask worker is sent."""
    if folder in _received or Path(folder).exists():
        return
    target = Path(mkdtemp(prefix="collab-reference-"))
    for name, content in files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(content)
    _received[folder] = target
