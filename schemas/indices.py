"""Views over the counts. Basis and bounds are in the name; undefined is null, never 0 or infinity. Floats only here."""

from __future__ import annotations

from dataclasses import dataclass

LOW_N = 25  # below this many papers a rate says little; the row stays (ETO drops such pairs)


@dataclass(frozen=True)
class View:
    """A view: its SQL over the mart tables, and what it says."""

    sql: str
    text: str


VIEWS = {
    "country_rates": View(
        f"""SELECT c.*,
            c.papers_international::DOUBLE / nullif(c.papers, 0) AS international_rate_low,
            (c.papers_international + c.papers_undetermined)::DOUBLE / nullif(c.papers, 0)
                AS international_rate_high,
            c.fractional::DOUBLE / nullif(w.papers, 0) AS world_share_fractional,
            c.papers < {LOW_N} AS low_n
        FROM country_year c JOIN world_year w USING (corpus, policy, field, year)
        WHERE c.territory <> 'ZZ'""",
        "Per territory the international rate with bounds, conditional on the papers credited to the territory:"
        " low = international / papers, high = (international + undetermined) / papers; fractional share of the"
        f" world's papers; low_n marks fewer than {LOW_N} papers.",
    ),
    "pair_rates": View(
        f"""SELECT p.*,
            p.papers::DOUBLE / nullif(sqrt(a.papers_international::DOUBLE * b.papers_international), 0)
                AS salton_intl,
            p.papers_with_unknown::DOUBLE / nullif(p.papers, 0) AS unknown_share,
            (w.papers - w.papers_with_unknown)::DOUBLE / nullif(w.papers, 0) AS world_located_share,
            p.papers < {LOW_N} AS low_n
        FROM pair_year p JOIN world_year w USING (corpus, policy, field, year)
        JOIN country_year a ON (a.corpus, a.policy, a.field, a.year, a.territory)
            = (p.corpus, p.policy, p.field, p.year, p.territory_a)
        JOIN country_year b ON (b.corpus, b.policy, b.field, b.year, b.territory)
            = (p.corpus, p.policy, p.field, p.year, p.territory_b)""",
        "Per pair Salton's measure on international papers, c / sqrt(n_a n_b) (bibliometrix normalizeSimilarity);"
        " the share of the pair's papers with an unknown part; the share of the world's papers that are wholly"
        f" located; low_n marks fewer than {LOW_N} papers.",
    ),
}
