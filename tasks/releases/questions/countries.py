"""Questions about one country or a ranking of them: non-Western collaborators, partners."""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa

from schemas import tables as t
from schemas.indices.intensity import relative_intensity
from schemas.indices.view import LOW_N
from tasks.countries.places import name_of, territory_of
from tasks.releases.questions.answer import LOWER_BOUND, WHOLE, Answer, about, share
from tasks.releases.release import Release, Slice, closest, country_sums, pair_sums, world_sums

NON_WESTERN = "non-western"
PARTNERS_SHOWN = 3
RIC_COLUMNS = ("of_international", "ric", "ric_low", "ric_high", "low_n")
RIC_NOTE = (
    "ric: relative intensity (Fuchs and others 2021), 1 is neutral, with its 95 % interval; empty where undefined;"
    f" low_n marks fewer than {LOW_N} papers"
)


class Own(NamedTuple):
    """Measures of a country over a span; a country without papers has no row, and zeros."""

    papers: int = 0
    papers_international: int = 0
    papers_undetermined: int = 0
    links: int = 0


def members_of(release: Release, bloc: str) -> sa.Table:
    """The dated memberships of a bloc: table `bloc_member` of the release, checked to hold the bloc.

    Raises:
        UsageError: the release is older than blocs, or has no such bloc.
    """
    member = release.table("bloc_member")
    known = [row.bloc for row in release.rows(sa.select(member.c.bloc).distinct())]
    closest("bloc", bloc, sorted(known))
    return member


def non_western(release: Release, of: Slice, top: int = 10, bloc: str = NON_WESTERN) -> Answer:
    """The members of a bloc with most international papers over a span, each with its first three partners: the table
    of Rest of World for `non-western`."""
    member, country = members_of(release, bloc), t.country_year
    is_member = _is_member(member, bloc, country.c.territory, country.c.year)
    names = ("papers_international", "papers_undetermined", "papers")
    sums = [sa.cast(sa.func.sum(country.c[name]), sa.BigInteger).label(name) for name in names]
    ranked = release.rows(
        sa.select(country.c.territory, *sums)
        .where(of.holds(country), sa.exists(sa.select(1).select_from(member).where(is_member).correlate(country)))
        .group_by(country.c.territory)
        .order_by(sa.desc("papers_international"), country.c.territory)
        .limit(top)
    )
    found = _partners(release, of, member, bloc, {row.territory for row in ranked})
    rows = [
        (
            rank,
            name_of(row.territory),
            row.papers_international,
            row.papers,
            row.papers_undetermined,
            *_first_three(found.get(row.territory, [])),
        )
        for rank, row in enumerate(ranked, start=1)
    ]
    return Answer(
        f"Members of bloc {bloc} by international papers, with their first three partners",
        ("rank", "country", "international", "papers", "undetermined", "first", "second", "third"),
        rows,
        (
            about(release, of),
            WHOLE + "; a country counts in the years in which it is a member of the bloc, its partners too",
            "undetermined: may be international or not; " + LOWER_BOUND,
        ),
        text_columns=2,
    )


def partners(release: Release, of: Slice, country: str, top: int = 10) -> Answer:
    """The partners of a country over a span, by joint papers, with RIC over the span."""
    code = territory_of(country, of.policy)
    (world,) = release.rows(world_sums(of))
    every = {row.territory: row for row in release.rows(country_sums(of))}
    own = _own(every.get(code))
    rows: list[tuple[object, ...]] = []
    place, last = 0, None
    for at, row in enumerate(_pairs_of(release, of, code)[:top], start=1):
        place, last = (place, last) if row.papers == last else (at, row.papers)
        partner = row.territory_b if row.territory_a == code else row.territory_a
        found = relative_intensity(row.papers, own.links, every[partner].links, world.links)
        ric = (found.ric, found.low, found.high) if found else (None, None, None)
        portion = share(row.papers, own.papers_international)
        figures = (row.papers, row.papers_with_unknown, portion, *ric, row.papers < LOW_N)
        rows.append((place, name_of(partner), partner, *figures))
    name = name_of(code)
    return Answer(
        f"Partners of {name}: {own.papers_international:,} international papers of {own.papers:,},"
        f" {own.papers_undetermined:,} undetermined",
        ("rank", "partner", "code", "papers", "with_unknown", *RIC_COLUMNS),
        rows,
        (about(release, of), WHOLE + "; a paper can have several partners", RIC_NOTE, LOWER_BOUND),
        text_columns=3,
    )


def partners_by_year(release: Release, of: Slice, country: str, top: int = 10) -> Answer:
    """The first partners of a country over a span, year by year, with the RIC of each year."""
    code = territory_of(country, of.policy)
    first = [
        row.territory_b if row.territory_a == code else row.territory_a for row in _pairs_of(release, of, code)[:top]
    ]
    rank, ric = release.table("partner_rank"), release.table("pair_ric")
    keys = (*t.CELL, "territory", "partner")
    found = release.rows(
        sa.select(rank, ric.c.ric, ric.c.ric_low, ric.c.ric_high)
        .join_from(rank, ric, sa.and_(*(rank.c[name] == ric.c[name] for name in keys)))
        .where(of.holds(rank), rank.c.territory == code, rank.c.partner.in_(first))
        .order_by(rank.c.year, rank.c.rank, rank.c.partner)
    )
    rows = [
        (
            row.year,
            name_of(row.partner),
            row.partner,
            row.rank,
            row.papers,
            row.papers_with_unknown,
            row.share_of_international,
            row.ric,
            row.ric_low,
            row.ric_high,
            row.low_n,
        )
        for row in found
    ]
    return Answer(
        f"Partners of {name_of(code)} by year (the first {len(first)} over the span)",
        ("year", "partner", "code", "rank", "papers", "with_unknown", *RIC_COLUMNS),
        rows,
        (about(release, of), WHOLE + "; a paper can have several partners", RIC_NOTE, LOWER_BOUND),
        text_columns=3,
    )


def _first_three(partners: list[tuple[str, int]]) -> list[str | None]:
    named: list[str | None] = [f"{name_of(code)} ({papers:,})" for code, papers in partners[:PARTNERS_SHOWN]]
    return named + [None] * (PARTNERS_SHOWN - len(named))


def _own(row: sa.Row[Any] | None) -> Own:
    return Own(*(getattr(row, name) for name in Own._fields)) if row else Own()


def _pairs_of(release: Release, of: Slice, code: str) -> list[sa.Row[Any]]:
    pair = t.pair_year.c
    with_it = sa.or_(pair.territory_a == code, pair.territory_b == code)
    return [row for row in release.rows(pair_sums(of).where(with_it)) if row.papers]


def _is_member(member: sa.Table, bloc: str, territory: Any, year: Any) -> sa.ColumnElement[bool]:
    in_year = year.between(member.c.first_year, member.c.last_year)
    return sa.and_(member.c.bloc == bloc, member.c.territory == territory, in_year)


def _partners(
    release: Release, of: Slice, member: sa.Table, bloc: str, wanted: set[str]
) -> dict[str, list[tuple[str, int]]]:
    """Partners of each wanted territory in the years of its membership, with papers, most first."""
    pair = t.pair_year
    papers = sa.cast(sa.func.sum(pair.c.papers), sa.BigInteger).label("papers")
    found: dict[str, list[tuple[str, int]]] = {}
    for own, other in ((pair.c.territory_a, pair.c.territory_b), (pair.c.territory_b, pair.c.territory_a)):
        is_member = sa.exists(
            sa.select(1).select_from(member).where(_is_member(member, bloc, own, pair.c.year)).correlate(pair)
        )
        query = sa.select(own.label("own"), other.label("other"), papers).where(of.holds(pair), is_member)
        for row in release.rows(query.where(own.in_(wanted)).group_by(own, other)):
            found.setdefault(row.own, []).append((row.other, row.papers))
    return {own: sorted(others, key=lambda one: (-one[1], one[0])) for own, others in found.items()}
