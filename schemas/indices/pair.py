"""Views of pairs: indices of strength, relative intensity with its interval, ranks of partners.

c: papers of the pair; n_a: papers of a; W: papers of the world on the same basis; C_a: links of a (other territories,
summed over its papers); T: links of the world. `_intl` takes n and W over international papers, `_all` over all.
"""

from __future__ import annotations

from schemas import tables as t
from schemas.indices.view import View, ViewColumn, cell, count, double, join, kept, low_n, rate, ratio
from schemas.tables import CELL

Z_95 = 1.959963984540054  # standard deviations on either side of the mean that hold 95 % of a normal distribution

_WORLD = join("{mart}world_year", "w", "p")
_A = join("{mart}country_year", "a", "p", territory="p.territory_a")
_B = join("{mart}country_year", "b", "p", territory="p.territory_b")
_PAIRS = f"FROM {{mart}}pair_year p\n{_WORLD}\n{_A}\n{_B}"

_SIMILARITY = "bibliometrix, normalizeSimilarity"
_INTERNATIONAL = "as far as known: the papers behind it are lower bounds"
_ALL = "purely domestic papers weigh too, so large countries come out lower than on the _intl basis"


def _similarities(basis: str, papers: str, said: str, caveat: str) -> list[ViewColumn]:
    c, a, b = "p.papers", f"a.{papers}", f"b.{papers}"
    return [
        rate(
            f"salton_{basis}",
            f"{double(c)} / nullif(sqrt({double(a)} * {b}), 0)",
            "Salton's cosine: c / sqrt(n_a n_b)",
            of=f"geometric mean of the {said} of both",
            caveat=caveat,
            source=_SIMILARITY + " (salton)",
        ),
        rate(
            f"jaccard_{basis}",
            ratio(c, f"({a} + {b} - {c})"),
            "Jaccard: c / (n_a + n_b - c)",
            of=f"{said} of either",
            caveat=caveat,
            source=_SIMILARITY + " (jaccard)",
        ),
        rate(
            f"inclusion_{basis}",
            ratio(c, f"least({a}, {b})"),
            "inclusion or Simpson: c / min(n_a, n_b)",
            of=f"{said} of the smaller of both",
            caveat=caveat,
            source=_SIMILARITY + " (inclusion)",
        ),
    ]


VIEWS = {
    "pair_rates": View(
        "Per pair what it was counted from, and how sure that is.",
        (*CELL, "territory_a", "territory_b"),
        (
            *kept(t.pair_year, "p"),
            rate(
                "salton_intl",
                f"{double('p.papers')} / nullif(sqrt({double('a.papers_international')} * b.papers_international), 0)",
                "Salton's cosine on international papers: c / sqrt(n_a n_b); the other indices are in pair_indices",
                of="geometric mean of the international papers of both",
                caveat=_INTERNATIONAL,
                source=_SIMILARITY + " (salton)",
            ),
            rate(
                "bilateral_share",
                ratio("p.papers_bilateral", "p.papers"),
                "papers of the pair with no third known territory",
                of="papers of the pair",
                caveat="a third territory may be unknown",
            ),
            rate(
                "dual_only_share",
                ratio("p.papers_dual_only", "p.papers"),
                "papers in which one single author, with addresses in both, links the two",
                of="papers of the pair",
                caveat="such a paper is one person's two posts, not necessarily two groups working together",
            ),
            rate(
                "unknown_share",
                ratio("p.papers_with_unknown", "p.papers"),
                "papers of the pair with an unknown part",
                of="papers of the pair",
            ),
            rate(
                "world_located_share",
                ratio("w.papers - w.papers_with_unknown", "w.papers"),
                "papers of the world that are wholly located",
                of="papers of the world",
                caveat="the lower it is, the more pairs may be missing papers",
            ),
            low_n("p.papers"),
        ),
        _PAIRS,
    ),
    "pair_indices": View(
        "Per pair the indices of strength, on international papers (_intl) and on all (_all), with everything they are"
        " computed from. Symmetric: a and b may be exchanged.",
        (*CELL, "territory_a", "territory_b"),
        (
            *cell("p", "territory_a", "territory_b"),
            count("papers", "p.papers", "papers of the pair, c", caveat="a lower bound"),
            count("papers_international_a", "a.papers_international", "international papers of a: n_a for _intl"),
            count("papers_international_b", "b.papers_international", "international papers of b: n_b for _intl"),
            count("papers_a", "a.papers", "papers of a: n_a for _all"),
            count("papers_b", "b.papers", "papers of b: n_b for _all"),
            count("world_international", "w.papers_international", "international papers of the world: W for _intl"),
            count("world_papers", "w.papers", "papers of the world: W for _all"),
            *_similarities("intl", "papers_international", "international papers", _INTERNATIONAL),
            rate(
                "association_strength_intl",
                f"{double('p.papers')} * w.papers_international"
                f" / nullif({double('a.papers_international')} * b.papers_international, 0)",
                "association strength c W / (n_a n_b) on international papers, which is the NSF NCSES collaboration"
                " index (c / n_a) / (n_b / W): above 1, a works with b more than b's weight in all international"
                " papers would suggest",
                of="papers expected if partners were chosen by size alone, n_a n_b / W",
                unit="index, 1 is neutral",
                caveat="n is the number of international papers, not a row sum over partners (a paper with three"
                " countries is in two pairs of each). bibliometrix leaves W out, so its value is this one divided by W;"
                " VOSviewer takes links instead of papers, see vosviewer_strength",
                source="NSF NCSES, Science and Engineering Indicators, index of international collaboration",
            ),
            *_similarities("all", "papers", "papers", _ALL),
            rate(
                "association_strength_all",
                f"{double('p.papers')} * w.papers / nullif({double('a.papers')} * b.papers, 0)",
                "association strength c W / (n_a n_b) on all papers: also called proximity or probabilistic affinity"
                " index",
                of="papers expected if countries met by size alone, n_a n_b / W",
                unit="index, 1 is neutral",
                caveat="bibliometrix leaves W out: its value is this one divided by W. " + _ALL,
                source=_SIMILARITY + " (association), after Zitt and others 2000",
            ),
            rate(
                "vosviewer_strength",
                f"{double('p.papers')} * 2 * w.links / nullif({double('a.links')} * b.links, 0)",
                "association strength on links: c / (C_a C_b / 2T)",
                of="links expected if partners were chosen by links alone",
                unit="index, 1 is neutral",
                caveat="papers with many countries weigh more, because they give more links",
                source="CWTS networkanalysis, Network.java, the normalisation of VOSviewer",
            ),
            low_n("p.papers"),
        ),
        _PAIRS,
    ),
}

_EXPECTED = "(b.links - p.papers)"
_REST = "(w.links - a.links)"
_RIC = f"({double('p.papers')} / nullif(a.links, 0)) / nullif({double(_EXPECTED)} / nullif({_REST}, 0), 0)"
# Undefined where a cell of the fourfold table is empty. Rounding may take a variance of 0 below it.
_ERROR = (
    f"sqrt(greatest(0, 1 / nullif({double('p.papers')}, 0) - 1 / nullif({double('a.links')}, 0)"
    f" + 1 / nullif({double(_EXPECTED)}, 0) - 1 / nullif({double(_REST)}, 0)))"
)
_IS_DEFINED = f"CASE WHEN p.papers > 0 AND {_EXPECTED} > 0 AND {_REST} > 0 THEN"
_BOTH_WAYS = """(
    SELECT corpus, policy, field, year, territory_a AS territory, territory_b AS partner, papers, papers_with_unknown
    FROM {mart}pair_year
    UNION ALL
    SELECT corpus, policy, field, year, territory_b, territory_a, papers, papers_with_unknown FROM {mart}pair_year
) p"""
_OWN = join("{mart}country_year", "a", "p", territory="p.territory")
_PARTNER = join("{mart}country_year", "b", "p", territory="p.partner")

VIEWS |= {
    "pair_ric": View(
        "Relative intensity of collaboration, directed: how much more of its links a territory has with a partner than"
        " the rest of the world has. One row per ordered pair; both directions are listed because they differ.",
        (*CELL, "territory", "partner"),
        (
            *cell("p", "territory", "partner"),
            count("papers", "p.papers", "papers of the pair, c; each is one link", caveat="a lower bound"),
            count("links", "a.links", "links of the territory, C_a", unit="pairs"),
            count("links_partner", "b.links", "links of the partner, C_b", unit="pairs"),
            count("links_world", "w.links", "links of the world, T", unit="pairs"),
            rate(
                "ric",
                f"{_IS_DEFINED} {_RIC} END",
                "RIC(a, b) = (c / C_a) / ((C_b - c) / (T - C_a)): the partner's part in the territory's links over its"
                " part in the links of all others",
                of="the partner's part in links without the territory",
                unit="index, 1 is neutral",
                caveat="asymmetric: RIC(a, b) is not RIC(b, a). Null where the partner has no other link or the world"
                " none without the territory",
                source="Fuchs, Sivertsen and Rousseau 2021, Scientometrics",
            ),
            rate(
                "ric_log_error",
                f"{_IS_DEFINED} {_ERROR} END",
                "standard error of ln(RIC): the root of 1/c - 1/C_a + 1/(C_b - c) - 1/(T - C_a)",
                of="none",
                unit="natural logarithm",
                caveat="as if links were drawn one by one; links of one paper come together, so the true error is"
                " larger where papers have many countries",
                source="variance of a log risk ratio, as in doi:10.2478/jdis-2022-0021",
            ),
            rate(
                "ric_low",
                f"{_IS_DEFINED} exp(ln({_RIC}) - {Z_95} * {_ERROR}) END",
                "lower end of the 95 % interval of RIC",
                of="as ric",
                unit="index, 1 is neutral",
                caveat="unreliable where low_n",
                source="normal interval on the logarithm",
            ),
            rate(
                "ric_high",
                f"{_IS_DEFINED} exp(ln({_RIC}) + {Z_95} * {_ERROR}) END",
                "upper end of the 95 % interval of RIC",
                of="as ric",
                unit="index, 1 is neutral",
                caveat="unreliable where low_n",
                source="normal interval on the logarithm",
            ),
            low_n("p.papers"),
        ),
        f"FROM {_BOTH_WAYS}\n{_WORLD}\n{_OWN}\n{_PARTNER}",
    ),
    "partner_rank": View(
        "Per territory and year its partners in order of joint papers. One row per ordered pair.",
        (*CELL, "territory", "partner"),
        (
            *cell("p", "territory", "partner"),
            count("papers", "p.papers", "papers with both territories", caveat="a lower bound"),
            count("papers_with_unknown", "p.papers_with_unknown", "those of them with an unknown part"),
            count("papers_international", "a.papers_international", "papers of the territory with another known one"),
            count(
                "rank",
                "rank() OVER (PARTITION BY p.corpus, p.policy, p.field, p.year, p.territory ORDER BY p.papers DESC)",
                "place of the partner by papers, from 1; equal numbers of papers share the better place",
                unit="place",
            ),
            rate(
                "share_of_international",
                ratio("p.papers", "a.papers_international"),
                "papers with this partner",
                of="international papers of the territory",
                caveat="partners add up to more than 1, because a paper can have several",
                source="the first factor of the NSF NCSES index, c / n_a",
            ),
            low_n("p.papers"),
        ),
        f"FROM {_BOTH_WAYS}\n{_OWN}",
    ),
}
