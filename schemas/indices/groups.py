"""Views of lead, blocs, sectors, citation flows and mentions."""

from __future__ import annotations

from sqlalchemy import String

from schemas.indices.view import View, ViewColumn, cell, count, double, join, low_n, rate, ratio
from schemas.tables import CELL

_WORLD = join("{mart}world_year", "w", "c")
_MANY = "an author with addresses in several territories counts for each of them"


def _text(name: str, alias: str, text: str) -> ViewColumn:
    return ViewColumn(name, f"{alias}.{name}", String(), text)


def _lead(name: str, who: str, caveat: str) -> list[ViewColumn]:
    """Count and shares of the papers that a territory leads by its first or corresponding author; null where no paper
    of the cell says who that is."""
    papers = f"CASE WHEN l.papers_{name} > 0 THEN c.papers_{name} END"
    unknown = f"coalesce(u.papers_{name}, 0)"
    return [
        count(f"papers_{name}", papers, f"papers of which {who} is in the territory", caveat=caveat),
        count(
            f"world_{name}_unknown",
            unknown,
            f"papers of the world of which {who} has an unknown part: any territory may have more by so many",
        ),
        rate(
            f"{name}_share",
            ratio(papers, "c.papers"),
            f"papers of which {who} is in the territory",
            of="papers of the territory",
            caveat=caveat,
        ),
        rate(
            f"world_share_{name}",
            ratio(papers, "w.papers"),
            f"papers of which {who} is in the territory",
            of="papers of the world",
            caveat=caveat,
        ),
    ]


_MARKED = "not every source marks corresponding authors, so this is a lower bound; " + _MANY

VIEWS = {
    "lead_rates": View(
        "Per territory how many of its papers it leads, by the first or a corresponding author. Numbers and shares of"
        " first authors are null where no paper of the field and year has one linked to a territory, ZZ included; those"
        " of corresponding authors likewise.",
        (*CELL, "territory"),
        (
            *cell("c", "territory"),
            count("papers", "c.papers", "papers of the territory"),
            *_lead("first", "the first author", _MANY),
            rate(
                "mcp_ratio",
                ratio("c.papers_first_international", "c.papers_first"),
                "papers of which the first author is in the territory, with another known territory",
                of="papers of which the first author is in the territory",
                caveat="a lower bound; bibliometrix takes the corresponding author where there is one",
                source="MCP_Ratio of bibliometrix biblioAnalysis",
            ),
            *_lead("corresponding", "a corresponding author", _MARKED),
            low_n("c.papers"),
        ),
        f"FROM {{mart}}country_year c\n{_WORLD}\n"
        + join(
            "(SELECT corpus, policy, field, year, sum(papers_first) AS papers_first,"
            " sum(papers_corresponding) AS papers_corresponding"
            " FROM {mart}country_year GROUP BY corpus, policy, field, year)",
            "l",
            "c",
        )
        + "\n"
        + join(
            "(SELECT corpus, policy, field, year, papers_first, papers_corresponding"
            " FROM {mart}country_year WHERE territory = 'ZZ')",
            "u",
            "c",
            "LEFT JOIN",
        )
        + "\nWHERE c.territory <> 'ZZ'",
    ),
    "pair_lead": View(
        "Per pair which side leads its papers, by the first author.",
        (*CELL, "territory_a", "territory_b"),
        (
            *cell("c", "territory_a", "territory_b"),
            count("papers", "c.papers", "papers of the pair"),
            *(
                column
                for end in "ab"
                for column in (
                    count(f"papers_first_{end}", f"c.papers_first_{end}", f"those with the first author in {end}"),
                    rate(
                        f"first_share_{end}",
                        ratio(f"c.papers_first_{end}", "c.papers"),
                        f"papers of the pair with the first author in {end}",
                        of="papers of the pair",
                        caveat="both shares add up to more than 1 where a first author has addresses in both, and to"
                        " less where the first author is in a third territory or unknown",
                    ),
                )
            ),
            low_n("c.papers"),
        ),
        "FROM {mart}pair_year c",
    ),
    "bloc_rates": View(
        "Per bloc its share of the world and how far its papers stay inside it.",
        (*CELL, "bloc"),
        (
            *cell("c"),
            _text("bloc", "c", "bloc of territories, with its members of that year"),
            count("papers", "c.papers", "papers with an author in a member, each once for the bloc"),
            rate(
                "world_share",
                ratio("c.papers", "w.papers"),
                "papers of the bloc, each counted whole",
                of="papers of the world",
                caveat="blocs overlap and share papers; their shares are never summed",
            ),
            rate(
                "world_share_fractional",
                ratio("c.fractional", "w.papers"),
                "shares of the members in their papers",
                of="papers of the world",
                source="Nature Index Share",
            ),
            rate(
                "internal_share",
                ratio("c.papers_internal", "c.papers"),
                "papers with two or more members of the bloc",
                of="papers of the bloc",
                caveat="a paper may be internal and external at once",
            ),
            rate(
                "external_share",
                ratio("c.papers_external", "c.papers"),
                "papers with a known territory outside the bloc",
                of="papers of the bloc",
                caveat="a lower bound: an author without country may be outside",
            ),
            rate(
                "unknown_share",
                ratio("c.papers_with_unknown", "c.papers"),
                "papers with an unknown part",
                of="papers of the bloc",
            ),
            low_n("c.papers"),
        ),
        f"FROM {{mart}}bloc_year c\n{_WORLD}",
    ),
    "sector_rates": View(
        "Per territory and sector (type of institution) its part in the territory's papers; how international it is.",
        (*CELL, "territory", "sector"),
        (
            *cell("c", "territory"),
            _text("sector", "c", "type of institution, such as education, company, government"),
            count("papers", "c.papers", "papers with an address of the sector in the territory"),
            rate(
                "sector_share",
                ratio("c.papers", "a.papers"),
                "papers of the sector",
                of="papers of the territory",
                caveat="a paper counts under each of its sectors, so shares add up to more than 1",
            ),
            rate(
                "international_rate_low",
                ratio("c.papers_international", "c.papers"),
                "papers of the sector with another known territory",
                of="papers of the sector in the territory",
                caveat="a lower bound: an author without country may be abroad",
            ),
            low_n("c.papers"),
        ),
        "FROM {mart}sector_year c\n"
        + join("{mart}country_year", "a", "c", territory="c.territory")
        + "\nWHERE c.territory <> 'ZZ'",
    ),
    "flow_rates": View(
        "Per territory what its papers cite and who cites them, inside the corpus: how much of it is the territory's"
        " own work, and how much of what the world cites is known at all. Year and field are those of the citing work,"
        " so a territory is cited also in years and fields without a paper of its own. A row for every territory with"
        " papers, citations made or citations received.",
        (*CELL, "territory"),
        (
            *cell("c", "territory"),
            count(
                "citations_made",
                "CAST(coalesce(m.citations, 0) AS BIGINT)",
                "citations from papers of the territory, one for each known territory of the cited paper",
                unit="citations",
            ),
            count(
                "citations_received",
                "CAST(coalesce(r.citations, 0) AS BIGINT)",
                "citations to papers of the territory, one for each known territory of the citing paper",
                unit="citations",
            ),
            count(
                "citations_self",
                "CAST(coalesce(s.citations, 0) AS BIGINT)",
                "citations from papers of the territory to papers of the territory",
                unit="citations",
            ),
            rate(
                "self_share",
                ratio("coalesce(s.citations, 0)", "m.citations"),
                "whole: citations to own papers",
                of="citations_made",
                caveat="a paper of many territories is credited to each, so joint papers weigh more",
            ),
            rate(
                "self_share_fractional",
                ratio("coalesce(s.fractional, 0)", "m.fractional"),
                "fractional: each citation split by the shares of both papers; the part that stays in the territory",
                of="all of the territory's part in citing, cited authors without country included",
                caveat="a lower bound: cited authors without country may be the territory's own",
                source="share of citing times share of cited, so that each citation sums to 1",
            ),
            rate(
                "received_self_share_fractional",
                ratio("coalesce(s.fractional, 0)", "r.fractional"),
                "fractional: the part of the citations received that comes from the territory itself",
                of="all of the territory's part in being cited, citing authors without country included",
                caveat="a lower bound: citing authors without country may be the territory's own",
            ),
            rate(
                "known_edge_share",
                ratio("coalesce(k.fractional, 0)", "w.references_listed"),
                "of the world: citations of which both papers are counted in the corpus",
                of="references that the counted works list",
                caveat="what is cited outside the corpus (other fields, books) is no edge here; the same for every"
                " territory of a cell",
            ),
        ),
        "FROM (SELECT corpus, policy, field, year, territory FROM {mart}country_year"
        " UNION SELECT corpus, policy, field, year, territory_citing FROM {mart}flow_year"
        " UNION SELECT corpus, policy, field, year, territory_cited FROM {mart}flow_year) c\n"
        + _WORLD
        + "\n"
        + join(
            "(SELECT corpus, policy, field, year, territory_citing AS territory, sum(fractional) AS fractional,"
            " sum(CASE WHEN territory_cited <> 'ZZ' THEN citations ELSE 0 END) AS citations"
            " FROM {mart}flow_year GROUP BY corpus, policy, field, year, territory_citing)",
            "m",
            "c",
            "LEFT JOIN",
            (*CELL, "territory"),
        )
        + "\n"
        + join(
            "(SELECT corpus, policy, field, year, territory_cited AS territory, sum(fractional) AS fractional,"
            " sum(CASE WHEN territory_citing <> 'ZZ' THEN citations ELSE 0 END) AS citations"
            " FROM {mart}flow_year GROUP BY corpus, policy, field, year, territory_cited)",
            "r",
            "c",
            "LEFT JOIN",
            (*CELL, "territory"),
        )
        + "\n"
        + join("{mart}flow_year", "s", "c", "LEFT JOIN", territory_citing="c.territory", territory_cited="c.territory")
        + "\n"
        + join(
            "(SELECT corpus, policy, field, year, sum(fractional) AS fractional"
            " FROM {mart}flow_year GROUP BY corpus, policy, field, year)",
            "k",
            "c",
            "LEFT JOIN",
        )
        + "\nWHERE c.territory <> 'ZZ'",
    ),
    "mention_share": View(
        "Per building block named in titles or abstracts and territory: how common it is there, and the territory's"
        " part in all papers that name it.",
        (*CELL, "mention", "territory"),
        (
            *cell("c"),
            _text("mention", "c", "model, library or method that is named"),
            *cell("c", "territory")[len(CELL) :],
            count("papers", "c.papers", "papers of the territory that name it"),
            rate(
                "territory_share",
                ratio("c.papers", "a.papers"),
                "papers that name it",
                of="papers of the territory in the field",
                caveat="named in title or abstract, where there is one: to name is not to use, and many who use it do"
                " not name it there",
            ),
            rate(
                "mention_share",
                f"{double('c.fractional')} / nullif({double('m.fractional')}, 0)",
                "the territory's shares in the papers that name it",
                of="papers of the world that name it",
                caveat="with ZZ the shares of all territories add up to 1",
                source="Nature Index Share",
            ),
            low_n("c.papers"),
        ),
        "FROM {mart}mention_year c\n"
        + join("{mart}country_year", "a", "c", "LEFT JOIN", territory="c.territory")
        + "\n"
        + join(
            "(SELECT corpus, policy, field, year, mention, sum(fractional) AS fractional"
            " FROM {mart}mention_year GROUP BY corpus, policy, field, year, mention)",
            "m",
            "c",
            on=(*CELL, "mention"),
        ),
    ),
}
