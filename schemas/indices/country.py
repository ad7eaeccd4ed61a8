"""Views of territories and of the world: rates with bounds, shares of the world, coverage, sums that must agree."""

from __future__ import annotations

from schemas import tables as t
from schemas.indices.view import LOW_N, View, cell, count, join, kept, low_n, number, rate, ratio
from schemas.tables import CELL

WORLD = join("{mart}world_year", "w", "c")

_BIBLIOMETRIX = (
    "bibliometrix counts each paper once, under the country of its first or corresponding author (its SCP, MCP and"
    " MCP_Ratio); here a paper counts under every country it has, so ours is the rate of all papers of the territory"
)

VIEWS = {
    "coverage_rates": View(
        "Per field, year and evidence the shares of the works with every author, some or no author located, and the"
        " share of all authors whose country rests on it (evidence all: 1).",
        ("corpus", "field", "year", "evidence"),
        (
            *kept(t.coverage_year, "c"),
            rate(
                "share_all_located",
                ratio("c.papers_all_located", "c.papers"),
                "works without an unknown part",
                of="papers of the row",
            ),
            rate(
                "share_some_located",
                ratio("c.papers_some_located", "c.papers"),
                "works with a known territory and an unknown part",
                of="papers of the row",
            ),
            rate(
                "share_none_located",
                ratio("c.papers_none_located", "c.papers"),
                "works of which no country is known",
                of="papers of the row",
            ),
            rate(
                "share_of_authors",
                ratio("c.authors", "w.authors"),
                "authors whose country rests on this evidence",
                of="authors of all works of the field and year",
            ),
            low_n("c.papers"),
        ),
        "FROM {mart}coverage_year c\n"
        + join("{mart}coverage_year", "w", "c", on=("corpus", "field", "year"), evidence="'all'"),
    ),
    "country_rates": View(
        "Per territory the share of its papers with another country, with bounds for what is unknown, and its shares of"
        " the world's papers.",
        (*CELL, "territory"),
        (
            *kept(t.country_year, "c"),
            count("world_papers", "w.papers", "counted works of the world"),
            rate(
                "international_rate_low",
                ratio("c.papers_international", "c.papers"),
                "papers with another known territory",
                of="papers credited to the territory",
                caveat="a lower bound: an author without country may be abroad. " + _BIBLIOMETRIX,
                source="OECD Science, Technology and Industry Scoreboard and CWTS Leiden Ranking, PP(int collab)",
            ),
            rate(
                "international_rate_high",
                ratio("c.papers_international + c.papers_undetermined", "c.papers"),
                "the same if every undetermined paper were international",
                of="papers credited to the territory",
                caveat="says nothing of papers that no known author links to the territory",
                source="the rule that unknown is never counted as domestic",
            ),
            rate(
                "world_share",
                ratio("c.papers", "w.papers"),
                "papers with an author in the territory, each counted whole",
                of="papers of the world",
                caveat="shares of territories add up to more than 1, because joint papers count for each",
                source="whole counting, as in CSET's Country Activity Tracker",
            ),
            rate(
                "world_share_fractional",
                ratio("c.fractional", "w.papers"),
                "the territory's shares of its papers",
                of="papers of the world",
                caveat="with ZZ the shares of all territories add up to 1; ZZ is not listed here, see country_year",
                source="Nature Index Share",
            ),
            rate(
                "world_share_international",
                ratio("c.papers_international", "w.papers_international"),
                "international papers with the territory",
                of="international papers of the world",
                caveat="adds up to more than 1; on both sides lower bounds",
                source="the denominator of the NSF NCSES collaboration index: n_a / W",
            ),
            rate(
                "partners_per_paper",
                ratio("c.links", "c.papers_international"),
                "other territories on an international paper of the territory, on average",
                of="international papers of the territory",
                unit="territories",
            ),
            low_n("c.papers"),
        ),
        f"FROM {{mart}}country_year c\n{WORLD}\nWHERE c.territory <> 'ZZ'",
    ),
    "reconciliation": View(
        "Sums over territories and pairs beside the figure of the world that they must equal. Every gap is 0.",
        CELL,
        (
            *cell("w"),
            count("papers", "w.papers", "counted works of the world"),
            rate(
                "fractional_gap",
                "CAST(coalesce(c.fractional, 0) - w.papers AS DOUBLE PRECISION)",
                "shares of all territories with ZZ, minus the papers of the world",
                of="none: a difference",
                unit="works",
            ),
            count(
                "links_gap",
                "CAST(coalesce(c.links, 0) - 2 * w.links AS BIGINT)",
                "links of all territories, minus twice those of the world",
                unit="pairs",
            ),
            count(
                "pairs_gap",
                "CAST(coalesce(p.papers, 0) - w.links AS BIGINT)",
                "papers of all pairs, minus the links of the world",
                unit="pairs",
            ),
            number(
                "territories",
                "CAST(coalesce(c.territories, 0) AS INTEGER)",
                f"known territories with papers, however few (fewer than {LOW_N} too)",
                unit="territories",
            ),
        ),
        "FROM {mart}world_year w\n"
        + join(
            "(SELECT corpus, policy, field, year, sum(fractional) AS fractional, sum(links) AS links,"
            " sum(CASE WHEN territory <> 'ZZ' AND papers > 0 THEN 1 ELSE 0 END) AS territories"
            " FROM {mart}country_year GROUP BY corpus, policy, field, year)",
            "c",
            "w",
            "LEFT JOIN",
        )
        + "\n"
        + join(
            "(SELECT corpus, policy, field, year, sum(papers) AS papers"
            " FROM {mart}pair_year GROUP BY corpus, policy, field, year)",
            "p",
            "w",
            "LEFT JOIN",
        ),
    ),
}
