"""What analysts read, declared once: the tables of schema `mart`, each with its signed ledger in `ops`.

Every table is keyed by corpus, policy, field and year; corpora, policies and fields overlap and are never summed.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Integer, Numeric, String, Table

from schemas.declare import batch_id, column, table
from schemas.places.evidence import SOURCE_TEXTS

COUNTRY_SOURCES = tuple(SOURCE_TEXTS)
ALL_EVIDENCE = "all"  # in mart.coverage_year: works and authors whatever decided
REASONS = (
    "undone",
    "definition",
    "deleted",
    "new",
    "out_of_scope",
    "eligibility",
    "corrected",
    "reclassified",
    "citations",
)

CELL = ("corpus", "policy", "field", "year")
"""The part of a key that the tables of the mart share; coverage_year, the same under every policy, has no policy."""


def _cell_columns(names: tuple[str, ...]) -> list[Column[Any]]:
    columns = [
        column("corpus", String, "openalex, or the name of a venue list; never sum over corpora"),
        column("policy", String, "territory policy the row was counted by"),
        column("field", String, "field of research; fields overlap, never sum over them"),
        column("year", Integer, "publication year"),
    ]
    return [of for of in columns if of.name in names]


def _papers(name: str, text: str) -> Column[Any]:
    return column(name, BigInteger, text, unit="works")


def mart_table(
    name: str, text: str, keys: list[Column[Any]], *sums: Column[Any], cell: tuple[str, ...] = CELL
) -> Table:
    """A mart table and its ledger: the ledger row is the delta one batch and reason added to one cell."""
    key = (*cell, *(c.name for c in keys))
    ends = tuple(c.name for c in keys)  # a country or pair is looked up over all years and fields
    indexes = tuple(dict.fromkeys((ends, ends[::-1]))) if ends else ()
    made = table("mart", name, text, *_cell_columns(cell), *keys, *sums, key=key, indexes=indexes)
    ledger = [
        batch_id(),
        column("reason", String, "why the cell changed, the first that holds: " + ", ".join(REASONS)),
        *(
            Column(c.name, c.type, nullable=False, autoincrement=False, comment=c.comment, info=c.info)
            for c in made.columns
        ),
    ]
    made.info["ledger"] = table(
        "ops",
        f"{name}_change",
        f"Signed ledger of mart.{name}: what each batch added to each cell, and why. Its sum is the table.",
        *ledger,
        key=("batch_id", "reason", *key),
        log=True,
        indexes=(("batch_id",),),
    )
    return made


def ledger_of(mart: Table) -> Table:
    """Ledger of a mart table."""
    found: Table = mart.info["ledger"]
    return found


_UNDETERMINED = "works with at most one known territory and an unknown part: may be international or not"

world_year = mart_table(
    "world_year",
    "All counted works of a field and year. Denominator of every share.",
    [],
    _papers("papers", "counted works, each once"),
    _papers("papers_international", "works with two or more known territories: a lower bound"),
    _papers("papers_domestic", "works with one territory and every author located"),
    _papers("papers_undetermined", _UNDETERMINED),
    _papers("papers_with_unknown", "works with an unknown part"),
    _papers("papers_without_country", "works of which no country is known"),
    column("fractional_unknown", Numeric(38, 9), "sum of the unknown shares", unit="works"),
    column(
        "links",
        BigInteger,
        "pairs of known territories, summed over works: a work with three has 3; T in RIC, half the sum of the"
        " territories' links",
        unit="pairs",
    ),
    column("citations", BigInteger, "citations of the counted works", unit="citations"),
    _papers("excluded_retracted", "stored works not counted because retracted"),
    _papers("excluded_type", "stored works not counted because of their type"),
    _papers("excluded_duplicate_doi", "stored works not counted because another work of the corpus has their DOI"),
    column(
        "references_listed",
        BigInteger,
        "references that the counted works list; those to stored works are the edges of flow_year",
        unit="references",
    ),
)

country_year = mart_table(
    "country_year",
    "Works of a territory. The row ZZ counts works with an unknown part.",
    [column("territory", String, "code; ZZ is unknown")],
    _papers("papers", "whole counting: 1 for each work with an author in the territory"),
    column(
        "fractional",
        Numeric(38, 9),
        "sum of the territory's shares; over all territories with ZZ it equals the world's papers",
        unit="works",
    ),
    _papers("papers_international", "works with two or more known territories: a lower bound"),
    _papers("papers_domestic", "works with no other territory and every author located"),
    _papers("papers_undetermined", _UNDETERMINED),
    column(
        "links",
        BigInteger,
        "other known territories, summed over the territory's works: a work with three adds 2; C_a in RIC; 0 for ZZ",
        unit="pairs",
    ),
    column(
        "citations",
        BigInteger,
        "citations that the source counts for the territory's works, each work whole; not to be added over territories",
        unit="citations",
    ),
    _papers("papers_first", "works whose first author is linked to the territory"),
    _papers(
        "papers_first_international",
        "those of them with two or more known territories: the numerator of the MCP ratio of bibliometrix",
    ),
    _papers(
        "papers_corresponding",
        "works with a corresponding author linked to the territory; many records name none, so compare territories,"
        " not years",
    ),
)

pair_year = mart_table(
    "pair_year",
    "Works with authors in both territories, a before b in the alphabet. Small pairs are kept.",
    [
        column("territory_a", String, "first territory of the pair"),
        column("territory_b", String, "second territory of the pair"),
    ],
    _papers("papers", "1 for each work with both territories: a lower bound, unknown authors may add more"),
    _papers("papers_with_unknown", "those of them with an unknown part"),
    _papers("papers_bilateral", "those with no third known territory"),
    _papers("papers_multilateral", "those with a third known territory"),
    _papers(
        "papers_dual_only",
        "those in which one single author, with addresses in both, is all that links the two: one person's posts, not"
        " necessarily two groups",
    ),
    column(
        "score",
        Numeric(38, 9),
        "sum of both territories' shares of these works (Nature Index bilateral collaboration score); at most papers",
        unit="works",
    ),
    column(
        "citations",
        BigInteger,
        "citations that the source counts for these works, each work whole; not to be added over pairs",
        unit="citations",
    ),
    _papers("papers_first_a", "those whose first author is linked to territory_a; of both, if to both"),
    _papers("papers_first_b", "those whose first author is linked to territory_b"),
)

coverage_year = mart_table(
    "coverage_year",
    "How much of the counted works is located, and what that rests on. The same under every territory policy. An author"
    " counts under one source, so authors add up over the sources to those of `all`; works do not, because one work can"
    " rest on several. Never add `all` to the sources. The sources are explained under core.affiliation.",
    [column("evidence", String, "what decided: all, or one source: " + ", ".join(COUNTRY_SOURCES))],
    _papers(
        "papers",
        "counted works; under a source: those with at least one author whose country rests on it; none: also"
        " those without authors",
    ),
    _papers("papers_all_located", "those of them without an unknown part: papers - papers_with_unknown of world_year"),
    _papers("papers_some_located", "those of them with a known territory and an unknown part"),
    _papers("papers_none_located", "those of them of which no country is known: papers_without_country of world_year"),
    column("authors", BigInteger, "authors listed; under a source: those whose country rests on it", unit="authors"),
    column("authors_located", BigInteger, "those of them with a known country", unit="authors"),
    column(
        "conflicts",
        BigInteger,
        "rows of these authors in which the string names a place in another country than the institution's",
        unit="rows",
    ),
    cell=("corpus", "field", "year"),
)

bloc_year = mart_table(
    "bloc_year",
    "Works of a bloc of territories, such as the EU, with the members of the work's year. A work counts once per bloc;"
    " blocs overlap, never sum over them (regions do not overlap, and works of two of them still count in both).",
    [column("bloc", String, "id in blocs.csv")],
    _papers("papers", "1 for each work with an author in a member"),
    column("fractional", Numeric(38, 9), "sum of the members' shares", unit="works"),
    _papers("papers_internal", "works with two or more members: collaboration within the bloc, a lower bound"),
    _papers("papers_external", "works with a known territory outside the bloc, a lower bound"),
    _papers("papers_with_unknown", "works with an unknown part"),
    column("citations", BigInteger, "citations of these works, whole", unit="citations"),
)

bloc_pair_year = mart_table(
    "bloc_pair_year",
    "Works that join a member of one bloc with another territory that is a member of the other, a before b in the"
    " alphabet, within one scheme of blocs.",
    [column("bloc_a", String, "first bloc of the pair"), column("bloc_b", String, "second bloc of the pair")],
    _papers("papers", "works with a member of bloc_a and another territory in bloc_b; a territory in both is either"),
    _papers("papers_exclusive", "those with a member of bloc_a alone and a member of bloc_b alone"),
    column("citations", BigInteger, "citations of these works, whole", unit="citations"),
)

_SECTOR = (
    "ROR type of the linked institution: education, company, ...; unknown where a string, or nothing, is all that is"
    " known, or the institution has no such type"
)

sector_year = mart_table(
    "sector_year",
    "Works of a territory by the sector of its institutions. A work counts under every sector that links it.",
    [column("territory", String, "code; ZZ is unknown"), column("sector", String, _SECTOR)],
    _papers("papers", "works with an institution of the sector in the territory"),
    _papers("papers_international", "those with two or more known territories: a lower bound"),
    column("citations", BigInteger, "citations of these works, whole", unit="citations"),
)

sector_pair_year = mart_table(
    "sector_pair_year",
    "Works that join an institution of a sector in one territory with one of a sector in another, a before b in the"
    " alphabet: collaboration of firms with universities across borders is company with education.",
    [
        column("territory_a", String, "first territory of the pair"),
        column("territory_b", String, "second territory of the pair"),
        column("sector_a", String, f"sector in territory_a; {_SECTOR}"),
        column("sector_b", String, "sector in territory_b"),
    ],
    _papers("papers", "1 for each work with both; a work can stand under several pairs of sectors"),
    column("citations", BigInteger, "citations of these works, whole", unit="citations"),
)

flow_year = mart_table(
    "flow_year",
    "Who cites whom: citations between stored, counted works of one corpus. Field and year are the citing work's. Only"
    " references to stored works are known; world_year.references_listed says of how many.",
    [
        column("territory_citing", String, "territory of the citing work; ZZ is unknown"),
        column("territory_cited", String, "territory of the cited work; ZZ is unknown"),
    ],
    column(
        "citations",
        BigInteger,
        "whole counting: 1 for each citation and pair of territories, one citing and one cited, which may be the same",
        unit="citations",
    ),
    column(
        "fractional",
        Numeric(38, 18),
        "share of the citing territory times share of the cited one; over all pairs, ZZ included, each citation sums to"
        " exactly 1, so the sum over a cell is its number of known citations",
        unit="citations",
    ),
)

mention_year = mart_table(
    "mention_year",
    "AI works of a territory that name an open-source building block in title or abstract, such as PyTorch or Qwen. To"
    " name is not to use. Works whose source gives no abstract are judged by their title.",
    [
        column("mention", String, "id in mentions.toml"),
        column("territory", String, "territory of the authors; ZZ is unknown"),
    ],
    _papers("papers", "1 for each work with an author in the territory"),
    column(
        "fractional",
        Numeric(38, 9),
        "sum of the territory's shares; over all territories with ZZ it is the number of works that name it",
        unit="works",
    ),
    column("citations", BigInteger, "citations of these works, whole", unit="citations"),
)

mention_pair_year = mart_table(
    "mention_pair_year",
    "AI works with authors in both territories that name an open-source building block, a before b in the alphabet.",
    [
        column("mention", String, "id in mentions.toml"),
        column("territory_a", String, "first territory of the pair"),
        column("territory_b", String, "second territory of the pair"),
    ],
    _papers("papers", "1 for each work with both territories: a lower bound, unknown authors may add more"),
    column("citations", BigInteger, "citations of these works, whole", unit="citations"),
)

MART = (
    *(world_year, country_year, pair_year, coverage_year, bloc_year, bloc_pair_year),
    *(sector_year, sector_pair_year, flow_year, mention_year, mention_pair_year),
)
