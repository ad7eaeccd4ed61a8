"""Questions about two countries: their share at a venue or field, their papers by field and year."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from schemas import tables as t
from schemas.errors import UsageError
from tasks.countries.places import name_of, territory_of
from tasks.releases.questions.answer import LOWER_BOUND, Answer, about_many, share
from tasks.releases.release import Release, Slice

INDEX_NOTE = (
    "ncses: NSF collaboration index (c / n_a) / (n_b / W) on international papers, 1 is neutral; salton:"
    " c / sqrt(n_a n_b) on the same; low_n marks fewer than 25 papers"
)


def two_countries(a: str, b: str, policy: str) -> tuple[str, str]:
    """Codes of two countries, in the order of pairs.

    Raises:
        UsageError: one is unknown, folded into another, or they are the same.
    """
    first, second = sorted((territory_of(a, policy), territory_of(b, policy)))
    if first == second:
        raise UsageError(f"{a} and {b} are the same country", "give two")
    return first, second


def joint_share(release: Release, slices: Sequence[Slice], a: str, b: str, policies: list[str]) -> Answer:
    """Share of the papers of each field or venue that have authors in both countries, by year, under each policy, with
    bounds; slices differ in their field and years."""
    rows: list[tuple[object, ...]] = []
    for of in slices:
        for policy in policies:
            ends = two_countries(a, b, policy)
            under = Slice(of.corpus, policy, of.field, of.first, of.last)
            rows += [(of.field, policy, row.year, *_share_of(row)) for row in release.rows(_with_world(under, ends))]
    ends = two_countries(a, b, policies[0])
    return Answer(
        f"Papers with authors in {name_of(ends[0])} and in {name_of(ends[1])}, of all papers of a field or venue",
        ("field", "policy", "year", "papers", "of", "with_unknown", "share_low", "share_high", "share_of_located"),
        rows,
        (
            about_many(release, slices).replace(f"policy {slices[0].policy}", "policies " + ", ".join(policies)),
            "share_low: papers / of; share_high: if every paper with an unknown author had both; share_of_located: of"
            " the papers with every author located; papers and shares are empty where no country of any paper is known:"
            " unknown, not 0",
        ),
        text_columns=3,
    )


def _share_of(row: sa.Row[Any]) -> tuple[object, ...]:
    """Papers, all papers, those with an unknown part, both bounds of the share, and the share of the located ones."""
    if row.world_without_country == row.world:  # 0 would say that there were none
        return None, row.world, row.world_with_unknown, None, None, None
    at_most = row.papers + row.world_with_unknown - row.papers_with_unknown
    among = share(row.papers - row.papers_with_unknown, row.world - row.world_with_unknown)
    bounds = share(row.papers, row.world), share(at_most, row.world)
    return row.papers, row.world, row.world_with_unknown, *bounds, among


def _with_world(of: Slice, ends: tuple[str, str]) -> sa.Select[Any]:
    world, pair = t.world_year, t.pair_year
    same = (pair.c[name] == world.c[name] for name in t.CELL)
    is_pair = sa.and_(*same, pair.c.territory_a == ends[0], pair.c.territory_b == ends[1])
    return (
        sa.select(
            world.c.year,
            sa.func.coalesce(pair.c.papers, 0).label("papers"),
            sa.func.coalesce(pair.c.papers_with_unknown, 0).label("papers_with_unknown"),
            world.c.papers.label("world"),
            world.c.papers_with_unknown.label("world_with_unknown"),
            world.c.papers_without_country.label("world_without_country"),
        )
        .select_from(world.outerjoin(pair, is_pair))
        .where(of.holds(world), world.c.papers > 0)
        .order_by(world.c.year)
    )


def pair_by_field(release: Release, slices: list[Slice], a: str, b: str) -> Answer:
    """Papers and indices of one pair by field and year; years without a joint paper are left out."""
    first = slices[0]
    ends = two_countries(a, b, first.policy)
    found = release.table("pair_indices")
    rates = release.table("pair_rates")
    keys = (*t.CELL, "territory_a", "territory_b")
    rows: list[tuple[object, ...]] = []
    for of in slices:
        query = (
            sa.select(found, rates.c.papers_with_unknown, rates.c.papers_bilateral)
            .join_from(found, rates, sa.and_(*(found.c[name] == rates.c[name] for name in keys)))
            .where(of.holds(found), found.c.territory_a == ends[0], found.c.territory_b == ends[1])
            .order_by(found.c.year)
        )
        rows += [
            (
                of.field,
                row.year,
                row.papers,
                row.papers_with_unknown,
                row.papers_bilateral,
                row.papers_international_a,
                row.papers_international_b,
                row.salton_intl,
                row.association_strength_intl,
                row.low_n,
            )
            for row in release.rows(query)
        ]
    names = [name_of(code) for code in ends]
    own = tuple(f"international_{code}" for code in ends)
    return Answer(
        f"{names[0]} and {names[1]} by field and year",
        ("field", "year", "papers", "with_unknown", "bilateral", *own, "salton", "ncses", "low_n"),
        rows,
        (about_many(release, slices), INDEX_NOTE, "fields overlap: never sum over them; " + LOWER_BOUND),
        text_columns=2,
    )
