"""Questions about what moved since the release before, who cites whom, and what papers name."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from schemas import tables as t
from schemas.mentions import load_mentions
from tasks.countries.places import name_of, territory_of
from tasks.releases.questions.answer import WHOLE, Answer, about, share
from tasks.releases.questions.pairs import two_countries
from tasks.releases.release import Release, Slice, closest

AGGREGATES = {mart.name.removesuffix("_year"): mart.name for mart in t.MART if "policy" in mart.c}


def changes(release: Release, corpus: str, policy: str, field: str, aggregate: str = "pair", top: int = 20) -> Answer:
    """The cells that moved most since the release before, each with its reasons."""
    release.check("corpus", corpus)
    release.check("policy", policy)
    release.check_field(field)
    table = AGGREGATES[closest("--of", aggregate, sorted(AGGREGATES))]
    moved = release.table("change")
    cell = ("year", "territory_a", "territory_b", "detail")
    wanted = {"corpus": corpus, "policy": policy, "field": field, "aggregate": table}
    found = release.rows(
        sa.select(moved)
        .where(*(moved.c[name] == value for name, value in wanted.items()))
        .order_by(*(moved.c[name] for name in cell), moved.c.reason)
    )
    cells: dict[tuple[Any, ...], list[sa.Row[Any]]] = {}
    for row in found:
        cells.setdefault(tuple(getattr(row, name) for name in cell), []).append(row)
    rows: list[tuple[object, ...]] = []
    for (year, *ends, detail), parts in cells.items():
        # every reason is named at least once: where neither papers nor citations moved, shares did
        by_papers = [f"{part.papers:+,} {part.reason}" for part in parts if part.papers or not part.citations]
        by_citations = [f"{part.citations:+,} {part.reason}" for part in parts if part.citations]
        named = " ".join(filter(None, (" - ".join(_named(code) for code in ends if code) or "World", detail)))
        sums = (sum(part.papers for part in parts), sum(part.citations for part in parts))
        rows.append((named, year, ", ".join(by_papers), ", ".join(by_citations), *sums))
    rows.sort(key=lambda row: (-abs(int(str(row[4]))), -abs(int(str(row[5]))), str(row[1]), str(row[0])))
    elsewhere = sorted({row.field for row in release.rows(sa.select(moved.c.field).distinct())} - {field})
    return Answer(
        f"What moved since the release before: {len(rows):,} cells of {table}, the first {min(top, len(rows))}",
        ("cell", "year", "papers_by_reason", "citations_by_reason", "papers", "citations"),
        rows[:top],
        (
            f"release {release.release_id}, corpus {corpus}, policy {policy}, field {field}",
            "one reason per work and batch; +0 in papers_by_reason: only shares moved; in a first release everything is"
            " new",
            f"other fields that moved: {', '.join(elsewhere) or 'none'}",
        ),
        text_columns=4,
    )


def _named(code: str) -> str:
    """Name of a territory; blocs have ids."""
    return name_of(code) if code.isupper() else code


def flows(release: Release, of: Slice, country: str, top: int = 10) -> Answer:
    """Whom the papers of a country cite, and who cites them, inside the corpus."""
    code = territory_of(country, of.policy)
    flow = release.table("flow_year")
    sums: dict[str, list[Any]] = {}
    ends = (flow.c.territory_citing, flow.c.territory_cited)
    for at, (own, other) in enumerate((ends, ends[::-1])):
        totals = [sa.func.sum(flow.c.citations).label("whole"), sa.func.sum(flow.c.fractional).label("part")]
        query = sa.select(other.label("partner"), *totals).where(of.holds(flow), own == code).group_by(other)
        for row in release.rows(query):
            sums.setdefault(row.partner, [0, 0.0, 0, 0.0])[2 * at : 2 * at + 2] = [int(row.whole), float(row.part)]
    made, received = (sum(found[at] for found in sums.values()) for at in (1, 3))
    ranked = sorted(sums.items(), key=lambda item: (-item[1][1] - item[1][3], item[0]))[:top]
    rows = [
        (
            name_of(partner),
            cites,
            part_of_cites,
            part_of_cites / made if made else None,
            cited_by,
            part_of_cited,
            part_of_cited / received if received else None,
        )
        for partner, (cites, part_of_cites, cited_by, part_of_cited) in ranked
    ]
    (listed,) = release.rows(_references(release, of))
    (edges,) = release.rows(sa.select(sa.func.sum(flow.c.fractional).label("known")).where(of.holds(flow)))
    known = share(int(edges.known or 0), int(listed.listed or 0))
    return Answer(
        f"Citations from and to {name_of(code)}",
        (
            "country",
            "cites",
            "cites_fractional",
            "of_its_citing",
            "cited_by",
            "cited_by_fractional",
            "of_its_being_cited",
        ),
        rows,
        (
            about(release, of),
            "year and field are the citing work's; fractional: each citation split by the shares of both papers,"
            " Unknown included; whole: 1 for each country of either side; in order of both fractional figures together",
            f"known edges: {int(edges.known or 0):,} of {int(listed.listed or 0):,} references listed by counted works"
            + (f" ({known:.1%})" if known is not None else "")
            + "; what is cited outside the corpus is not seen",
        ),
    )


def _references(release: Release, of: Slice) -> sa.Select[Any]:
    world = release.table("world_year")
    return sa.select(sa.func.sum(world.c.references_listed).label("listed")).where(of.holds(world))


def mentions(release: Release, of: Slice, mention: str | None, country: str, partner: str | None = None) -> Answer:
    """Papers of a country, or of two countries together, that name a building block, by year; all of them without a
    name."""
    table = release.table("mention_pair_year" if partner else "mention_year")
    about_mention: tuple[str, ...] = ()
    if mention is not None:
        known, mention = release.table("mention_year"), mention.casefold()
        held = {row.mention for row in release.rows(sa.select(known.c.mention).distinct())}
        closest("mention", mention, sorted(held | load_mentions().names.keys()))
        if mention not in held:
            about_mention = (f"0 papers: no counted work of the release, of any country or year, names {mention}",)
    if partner:
        ends = two_countries(country, partner, of.policy)
        is_wanted = sa.and_(table.c.territory_a == ends[0], table.c.territory_b == ends[1])
        whole = release.table("pair_year")
        is_whole = sa.and_(of.holds(whole), whole.c.territory_a == ends[0], whole.c.territory_b == ends[1])
        named = " and ".join(name_of(code) for code in ends)
    else:
        code = territory_of(country, of.policy)
        is_wanted = table.c.territory == code
        whole = release.table("country_year")
        is_whole = sa.and_(of.holds(whole), whole.c.territory == code)
        named = name_of(code)
    papers = {row.year: row.papers for row in release.rows(sa.select(whole.c.year, whole.c.papers).where(is_whole))}
    query = sa.select(table.c.mention, table.c.year, table.c.papers).where(of.holds(table), is_wanted)
    query = query.where(table.c.mention == mention) if mention is not None else query
    found = release.rows(query.order_by(table.c.mention, table.c.year))
    unknown = _unknown_mentions(release, of)
    rows = [
        (
            row.mention,
            row.year,
            row.papers,
            papers.get(row.year, 0),
            share(row.papers, papers.get(row.year, 0)),
            unknown.get((row.mention, row.year), 0),
        )
        for row in found
    ]
    return Answer(
        f"Papers of {named} that name {mention or 'a building block'}",
        ("mention", "year", "papers", "of", "share", "world_with_unknown"),
        rows,
        (
            about(release, of),
            "named in title or abstract, where there is one: to name is not to use; " + WHOLE,
            "world_with_unknown: papers of the world that name it and have an author whose country is not known",
            *about_mention,
        ),
        text_columns=2,
    )


def _unknown_mentions(release: Release, of: Slice) -> dict[tuple[str, int], int]:
    table = release.table("mention_year")
    query = sa.select(table.c.mention, table.c.year, table.c.papers).where(of.holds(table), table.c.territory == "ZZ")
    return {(row.mention, row.year): row.papers for row in release.rows(query)}
