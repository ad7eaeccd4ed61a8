"""Counts in the column layout of ETO's dataset "Country AI Activity Metrics", so that what reads theirs reads ours.

The layout and the names are theirs, the numbers are ours: another corpus, another definition of AI, unknown countries
as a row of their own. https://eto.tech/dataset-docs/country-ai-activity-metrics/
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from schemas import tables as t
from schemas.places.territories import policies
from tasks.countries.places import name_of
from tasks.releases.release import COMPLETENESS, Release
from tasks.releases.spreadsheets import write_csv

FIELDS = {  # our field -> ETO's; `All` there is all of AI, each paper once
    "ai": "All",
    "computer-vision": "Computer Vision",
    "robotics": "Robotics",
    "natural-language-processing": "Natural Language Processing",
    "ai-safety": "AI Safety",
    "large-language-models": "Large language models",
}
NAMES = {  # where ETO writes another name than we
    "BN": "Brunei Darussalam",
    "CF": "Central African Republic (the)",
    "CV": "Cape Verde",
    "ST": "São Tomé and Príncipe",
    "SZ": "Swaziland",
    "TR": "Turkey",
}
MAINLAND = "China (mainland)"
ARTICLES = ("country", "field", "year", "num_articles", "complete")
CITATIONS = ("country", "field", "year", "num_citations")
SUMMARY = ("country", "field", "num_articles", "num_citations")
FILES = ("publications_yearly_articles.csv", "publications_yearly_citations.csv", "publications_summary.csv")


def eto_name(code: str, policy: str) -> str:
    """Name of a territory as ETO writes it. China is `China (mainland)` only where the policy counts Hong Kong and
    Macao for themselves."""
    if code == "CN":
        folded = next((one.counts_as for one in policies() if one.id == policy), {})
        return name_of(code) if code in folded.values() else MAINLAND
    return NAMES.get(code, name_of(code))


def write_eto(release: Release, corpus: str, policy: str, folder: Path) -> list[Path]:
    """Write the three files, all years; returns them."""
    country = t.country_year.c
    wanted = (country.corpus == corpus, country.policy == policy, country.field.in_(FIELDS), country.papers > 0)
    done = sa.and_(*(COMPLETENESS.c[name] == country[name] for name in ("corpus", "field", "year")))
    query = (
        sa.select(country.territory, country.field, country.year, country.papers, country.citations)
        .add_columns(sa.func.coalesce(COMPLETENESS.c.is_complete, sa.false()).label("complete"))
        .select_from(t.country_year.outerjoin(COMPLETENESS, done))
        .where(*wanted)
        .order_by(country.territory, country.field, country.year)
    )
    release.table(COMPLETENESS.name)
    rows = [(eto_name(row.territory, policy), FIELDS[row.field], row) for row in release.rows(query)]
    totals: dict[tuple[str, str], list[int]] = {}
    for name, field, row in rows:
        total = totals.setdefault((name, field), [0, 0])
        total[0] += row.papers
        total[1] += row.citations
    is_cited = any(row.citations for _, _, row in rows)  # a source that counts none says nothing, not 0
    contents: tuple[tuple[tuple[str, ...], list[tuple[object, ...]]], ...] = (
        (ARTICLES, [(name, field, row.year, row.papers, bool(row.complete)) for name, field, row in rows]),
        (CITATIONS, [(name, field, row.year, row.citations if is_cited else None) for name, field, row in rows]),
        (SUMMARY, [(*key, papers, cited if is_cited else None) for key, (papers, cited) in totals.items()]),
    )
    written = [folder / name for name in FILES]
    for path, (columns, lines) in zip(written, contents, strict=True):
        with path.open("w", encoding="utf-8", newline="") as file:
            write_csv(file, columns, lines)
    return written
