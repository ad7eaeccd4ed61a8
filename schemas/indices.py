"""Views over the counts. Basis and bounds are in the name; undefined is null, never 0 or infinity. Floats only here."""

from __future__ import annotations

from dataclasses import dataclass

LOW_N = 25  # below this many papers a rate says little; the row stays (ETO drops such pairs)


@dataclass(frozen=True)
class View:
    """A view: its SQL over the mart tables, and what it says."""

    sql: str
    text: str

    def over(self, schema: str | None = None) -> str:
        """SQL of the view over the mart tables in a schema, or in the one that is searched."""
        return self.sql.replace("{mart}", f"{schema}." if schema else "")


VIEWS = {
    "coverage_rates": View(
        f"""SELECT c.*,
            CAST(c.papers_all_located AS DOUBLE PRECISION) / nullif(c.papers, 0) AS share_all_located,
            CAST(c.papers_some_located AS DOUBLE PRECISION) / nullif(c.papers, 0) AS share_some_located,
            CAST(c.papers_none_located AS DOUBLE PRECISION) / nullif(c.papers, 0) AS share_none_located,
            CAST(c.authors AS DOUBLE PRECISION) / nullif(w.authors, 0) AS share_of_authors,
            c.papers < {LOW_N} AS low_n
        FROM {{mart}}coverage_year c JOIN {{mart}}coverage_year w
            ON (w.corpus, w.field, w.year) = (c.corpus, c.field, c.year) AND w.evidence = 'all'""",
        "Per field, year and evidence the shares of the works with every author, some or no author located, and the"
        " share of all authors whose country rests on it (evidence all: 1); low_n marks fewer than"
        f" {LOW_N} papers.",
    ),
    "country_rates": View(
        f"""SELECT c.*,
            CAST(c.papers_international AS DOUBLE PRECISION) / nullif(c.papers, 0) AS international_rate_low,
            CAST(c.papers_international + c.papers_undetermined AS DOUBLE PRECISION) / nullif(c.papers, 0)
                AS international_rate_high,
            CAST(c.fractional AS DOUBLE PRECISION) / nullif(w.papers, 0) AS world_share_fractional,
            c.papers < {LOW_N} AS low_n
        FROM {{mart}}country_year c JOIN {{mart}}world_year w USING (corpus, policy, field, year)
        WHERE c.territory <> 'ZZ'""",
        "Per territory the international rate with bounds, conditional on the papers credited to the territory:"
        " low = international / papers, high = (international + undetermined) / papers; fractional share of the"
        f" world's papers; low_n marks fewer than {LOW_N} papers.",
    ),
    "pair_rates": View(
        f"""SELECT p.*,
            CAST(p.papers AS DOUBLE PRECISION)
                / nullif(sqrt(CAST(a.papers_international AS DOUBLE PRECISION) * b.papers_international), 0)
                AS salton_intl,
            CAST(p.papers_with_unknown AS DOUBLE PRECISION) / nullif(p.papers, 0) AS unknown_share,
            CAST(w.papers - w.papers_with_unknown AS DOUBLE PRECISION) / nullif(w.papers, 0) AS world_located_share,
            p.papers < {LOW_N} AS low_n
        FROM {{mart}}pair_year p JOIN {{mart}}world_year w USING (corpus, policy, field, year)
        JOIN {{mart}}country_year a ON (a.corpus, a.policy, a.field, a.year, a.territory)
            = (p.corpus, p.policy, p.field, p.year, p.territory_a)
        JOIN {{mart}}country_year b ON (b.corpus, b.policy, b.field, b.year, b.territory)
            = (p.corpus, p.policy, p.field, p.year, p.territory_b)""",
        "Per pair Salton's measure on international papers, c / sqrt(n_a n_b) (bibliometrix normalizeSimilarity);"
        " the share of the pair's papers with an unknown part; the share of the world's papers that are wholly"
        f" located; low_n marks fewer than {LOW_N} papers.",
    ),
}
