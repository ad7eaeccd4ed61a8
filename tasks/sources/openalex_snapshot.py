"""OpenAlex snapshot, layout of June 2026: data/jsonl/works/manifest.json and updated_date=YYYY-MM-DD/part_NNNN.gz.

A manifest is written last: present means complete. Partitions are taken in order of date: those not loaded yet, those
that grew since, and again the last two dates loaded, because records move between partitions while a snapshot is
written. Facts: ../shared/reference/sources.md 1.11.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import msgspec

from schemas.errors import SourceError, UsageError
from schemas.settings import Settings
from schemas.words import counted
from tasks.sources.files import Root

SOURCE = "openalex-snapshot"
REPEATED_DATES = 2
DELETED_IDS = "deleted_ids.csv"
# Below the root: the public bucket, dated full snapshots, or the parent of the folder of works itself.
_PLACES = ("data/jsonl", "jsonl", "")
_PART = re.compile(
    r"(?:s3|https?)://[^/?#]+/(?:[\w=-][\w.=-]*/)*works/(updated_date=(\d{4}-\d{2}-\d{2})/part_\d{1,9}\.gz)"
)


class _Meta(msgspec.Struct):
    content_length: int
    record_count: int


class _File(msgspec.Struct):
    url: str
    meta: _Meta


class _Entity(msgspec.Struct):
    entity: str
    record_count: int
    files: list[_File]


class _Combined(msgspec.Struct):
    entities: list[_Entity]


class Part(NamedTuple):
    """One file of the snapshot as the manifest describes it; `path` is relative to the folder `works`."""

    path: str
    day: date
    records: int
    bytes: int


@dataclass(frozen=True)
class Window:
    """What one landing holds: parts in order, named by their dates."""

    name: str
    parts: tuple[Part, ...]

    @property
    def why(self) -> str:
        """How many files it is."""
        return counted(len(self.parts), "part")

    @property
    def records(self) -> int:
        """Records according to the manifest."""
        return sum(part.records for part in self.parts)


class Volumes(NamedTuple):
    """How much a manifest lists: in all, up to which date, and on each date of a window."""

    snapshot_records: int
    snapshot_ends: str
    dates: dict[str, int]


class Snapshot:
    """An OpenAlex snapshot below a root."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self._folder = ""

    def read_manifest(self) -> list[Part]:
        """Parts of the works, in order of their path, from the per-entity manifest or else the combined one.

        Raises:
            SourceError: there is no manifest, it does not fit the contract, contradicts itself, is empty, or names a
                url outside the root.
        """
        for place in _PLACES:
            base = f"{place}/" if place else ""
            for name in (f"{base}works/manifest.json", f"{base}manifest.json"):
                if self.root.exists(name):
                    self._folder = f"{base}works"
                    return self._parts(name, self.root.read(name))
        raise SourceError(
            f"no manifest below {self.root.address}",
            "give the folder that holds data/jsonl/works/manifest.json; without one the copy is not complete",
        )

    def path_of(self, part: Part) -> str:
        """Path of a part below the root."""
        return f"{self._folder}/{part.path}"

    def read_deletions(self, until: date | None) -> tuple[bytes, int] | None:
        """The cumulative list of deleted ids up to a date as (csv without header, lines), or None where the snapshot
        has none.

        Raises:
            SourceError: the header is not the one of the contract.
        """
        path = f"{self._folder}/{DELETED_IDS}"
        if not self.root.exists(path):
            return None
        header, *lines = self.root.read(path).decode("utf-8-sig", "replace").split("\n")
        if header.strip() != "work_id,deleted_date":
            raise SourceError(
                f"{path}: the header is {header[:100]!a}, not work_id,deleted_date", "check that the file is whole"
            )
        kept = [line for line in lines if line.strip() and not _is_later(line, until)]
        return "\n".join(kept).encode(), len(kept)

    def _parts(self, name: str, raw: bytes) -> list[Part]:
        entity: _Entity | None
        try:
            if name.endswith("works/manifest.json"):
                entity = msgspec.json.decode(raw, type=_Entity)
            else:
                combined = msgspec.json.decode(raw, type=_Combined)
                entity = next((e for e in combined.entities if e.entity == "works"), None)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            raise SourceError(
                f"{self.root.address}/{name}: {exc}",
                "the manifest is cut or of another layout; fetch the snapshot again",
            ) from None
        if entity is None or entity.entity != "works":
            raise SourceError(f"{self.root.address}/{name} describes no works", "give the root of a works snapshot")
        parts = []
        for file in entity.files:
            match = _PART.fullmatch(file.url)
            if match is None:
                raise SourceError(
                    f"{name}: refused url {file.url[:200]!a}",
                    "parts must be works/updated_date=YYYY-MM-DD/part_NNNN.gz inside the root",
                )
            try:
                day = date.fromisoformat(match[2])
            except ValueError:
                raise SourceError(f"{name}: {match[2]} is not a date", "fetch the snapshot again") from None
            parts.append(Part(match[1], day, file.meta.record_count, file.meta.content_length))
        if len({part.path for part in parts}) != len(parts):
            raise SourceError(f"{name} lists a part twice", "fetch the snapshot again")
        if sum(part.records for part in parts) != entity.record_count:
            raise SourceError(
                f"{name}: parts hold {sum(p.records for p in parts)} records, record_count is {entity.record_count}",
                "fetch the snapshot again",
            )
        if not parts:
            raise SourceError(f"{name} lists no parts", "the snapshot is empty; check its address")
        return sorted(parts)


def _is_later(line: str, until: date | None) -> bool:
    """Whether a line of the deletions has a date that is yet to come; what has no date is not left out here."""
    try:
        return until is not None and date.fromisoformat(line.rsplit(",", 1)[-1].strip()) > until
    except ValueError:
        return False


def open_snapshot(settings: Settings) -> Snapshot:
    """The snapshot that the settings name.

    Raises:
        UsageError: they name none.
    """
    if not settings.snapshot:
        raise UsageError(
            "source openalex-snapshot needs the root of a snapshot", "give --snapshot DIR or set COLLAB_SNAPSHOT"
        )
    return Snapshot(Root(settings.snapshot))


def plan_windows(parts: Sequence[Part], known: dict[str, int], until: date | None, batch_works: int) -> list[Window]:
    """Windows to land, in order of date: unseen parts, parts that grew since, and the last two loaded dates again.

    Consecutive small parts share a window of at most `batch_works` records; a larger part is a window of its own.

    Args:
        known: records of the loaded parts, by path.
        until: leave out later dates.
    """
    in_reach = [part for part in parts if until is None or part.day <= until]
    repeated = set(sorted({part.day for part in in_reach if part.path in known})[-REPEATED_DATES:])
    return _grouped(
        [part for part in in_reach if part.day in repeated or _is_unseen(part, known.get(part.path))], batch_works
    )


def plan_rescan(parts: Sequence[Part], known: dict[str, tuple[int, int]], batch_works: int) -> list[Window]:
    """Windows of all parts that the manifest describes otherwise than they were loaded, also those that shrank or kept
    their number of records, of those that were loaded before the definitions in force, and of unseen ones.

    Args:
        known: records and bytes, by path, of the loaded parts that the definitions in force decided.
    """
    return _grouped([part for part in parts if known.get(part.path) != (part.records, part.bytes)], batch_works)


def _grouped(wanted: Sequence[Part], batch_works: int) -> list[Window]:
    windows: list[Window] = []
    group: list[Part] = []
    for part in wanted:
        if group and sum(p.records for p in group) + part.records > batch_works:
            windows.append(_window(group))
            group = []
        group.append(part)
    if group:
        windows.append(_window(group))
    return windows


def left_after(parts: Sequence[Part], known: dict[str, int], windows: Sequence[Window]) -> dict[str, int]:
    """Records of the parts that are still unread when each window was taken in, by its name: works that changed since
    lie there alone, because a snapshot holds each work once, on the date of its last change.

    Args:
        known: records of the loaded parts, by path.
        windows: in the order in which they are taken in.
    """
    unread = {part for part in parts if _is_unseen(part, known.get(part.path))}
    left, found = sum(part.records for part in unread), {}
    for window in windows:
        left -= sum(part.records for part in window.parts if part in unread)
        found[window.name] = left
    return found


def volumes(parts: Sequence[Part], window: Window) -> Volumes:
    """What the gates hold a window against."""
    days = {part.day for part in window.parts}
    by_date: Counter[str] = Counter()
    for part in parts:
        if part.day in days:
            by_date[part.day.isoformat()] += part.records
    return Volumes(sum(part.records for part in parts), max(part.day for part in parts).isoformat(), dict(by_date))


def _is_unseen(part: Part, loaded: int | None) -> bool:
    return loaded is None or part.records > loaded


def _window(parts: Iterable[Part]) -> Window:
    held = tuple(parts)
    first, last = held[0].day.isoformat(), held[-1].day.isoformat()
    number = held[0].path.rsplit("part_", 1)[1].removesuffix(".gz")
    name = first if first == last else f"{first}_{last}"
    return Window(f"{name}.{number}", held)
