"""An answer: rows with their numerators, denominators and unknown parts, and what must be said with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.releases.release import Release, Slice

LOWER_BOUND = "counts of pairs and international papers are lower bounds: an author without a known country may add one"
WHOLE = "whole counting: a paper counts 1 for each of its countries"


@dataclass(frozen=True)
class Answer:
    """Rows in order; `text_columns` of them, from the left, are read as words, years among them."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[object, ...]]
    notes: tuple[str, ...]
    text_columns: int = 1


def share(part: int, whole: int) -> float | None:
    """A quotient; None where the whole is 0."""
    return part / whole if whole else None


def about(release: Release, of: Slice) -> str:
    """Where the numbers come from, with the years that are not complete."""
    said = f"release {release.release_id}, corpus {of.corpus}, policy {of.policy}, field {of.field}, {of.years}"
    if not release.has_works(of.corpus, of.policy, of.field):
        return f"{said}; 0 papers: no counted work of this corpus is in field {of.field}"
    lacking = release.lacking(of)
    return f"{said}; years not complete or without works: {lacking}" if lacking else said


def about_many(release: Release, slices: Sequence[Slice]) -> str:
    """The same for slices of one corpus and policy that differ in their fields."""
    if len(slices) == 1:
        return about(release, slices[0])
    first = slices[0]
    said = f"release {release.release_id}, corpus {first.corpus}, policy {first.policy}, {len(slices)} fields"
    is_empty = not any(release.has_works(of.corpus, of.policy, of.field) for of in slices)
    return f"{said}; 0 papers: no counted work of this corpus is in one of them" if is_empty else said
