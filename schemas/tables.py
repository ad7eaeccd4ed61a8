"""Every table and column of the warehouse, declared once. Data dictionary, staging, validation, publishing and
migrations derive from here.

Schemas: `ops` (what happened), `core` (one row set per work), `mart` (what analysts read). The logical key of a table
is in `info["key"]`: on DuckDB key constraints on large tables made aggregates 10 to 30 times slower, so there
delete+insert inside one transaction keeps keys unique and `collab verify` checks it.
Naming: `_id` identifies, `_year` / `_at` / `_date` say when (UTC), `is_` is a truth value; one quantity has one name
everywhere.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)
from sqlalchemy.types import TypeEngine

from schemas.evidence import RULES, SOURCE_TEXTS
from schemas.rules import NEXT_YEAR, Rule, between, in_set, matches, not_in_set, not_null
from schemas.territories import language_codes, territory_names, work_types

WAREHOUSE_VERSION = 5  # the newest step in tasks/migrations/versions
SHARE_SCALE = 10**9
OF_WORK = 0  # position of affiliations that are tied to no author
EVERYWHERE = "everywhere"  # a copy of the table on each machine
_SERVER = "postgresql"
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
EXCLUDED_REASONS = ("retracted", "type", "duplicate_doi")
SEEN_STATES = ("stored", "out_of_scope", "deleted")
SECTORS = ("education", "company", "government", "facility", "healthcare", "nonprofit", "archive", "funder", "other")
UNKNOWN_SECTOR = "unknown"
SECTOR_BITS = {name: 1 << at for at, name in enumerate((*SECTORS, UNKNOWN_SECTOR))}
INSTITUTION_TYPES = frozenset(SECTORS)

metadata = MetaData()


def column(
    name: str,
    type_: TypeEngine[Any] | type[TypeEngine[Any]],
    text: str,
    *rules: Rule,
    null: bool = False,
    unit: str = "",
) -> Column[Any]:
    """A documented column: `text` says the rule behind the value in an analyst's words, `unit` what one of it is."""
    return Column(name, type_, nullable=null, autoincrement=False, comment=text, info={"unit": unit, "rules": rules})


def table(
    schema: str,
    name: str,
    text: str,
    *columns: Column[Any],
    key: tuple[str, ...],
    small: bool = False,
    spread: str | None = None,
    indexes: tuple[tuple[str, ...], ...] = (),
) -> Table:
    """A documented table.

    Args:
        small: carry a real primary key on every engine, not only where one is cheap.
        spread: where several machines hold the warehouse, the column whose value says which holds a row, or
            EVERYWHERE; None: one machine holds it all.
        indexes: columns that rows are looked up by, on engines where an index is cheap.
    """
    made = Table(name, metadata, *columns, schema=schema, comment=text, info={"key": key, "spread": spread})
    names = {c.name for c in columns if not c.nullable}
    if names.issuperset(key):
        constraint = PrimaryKeyConstraint(*key, name=f"{name}_pkey")
        made.append_constraint(constraint if small else constraint.ddl_if(dialect=_SERVER))
    for of in indexes:
        Index(f"{name}_{'_'.join(of)}", *(made.c[c] for c in of)).ddl_if(dialect=_SERVER)
    return made


def key_columns(of: Table) -> tuple[str, ...]:
    """Logical key of a table."""
    return tuple(of.info["key"])


def measures(of: Table) -> tuple[str, ...]:
    """Columns of a mart table that are sums over works."""
    return tuple(c.name for c in of.columns if c.name not in of.info["key"])


def _share(name: str, text: str, *rules: Rule) -> Column[Any]:
    return column(name, Numeric(18, 9), text, *rules, unit="works")


def _work_id() -> Column[Any]:
    return column(
        "work_id",
        BigInteger,
        "number in the OpenAlex id: W2741809807 is 2741809807; from 2^62 on a paper of a venue list, shown as L and"
        " this number: 62 bits of BLAKE2b over corpus, venue, year and the list's own id, else title and first author",
    )


def _batch_id(null: bool = False) -> Column[Any]:
    return column("batch_id", String, "batch that wrote the row", null=null)


# ops: what happened

meta = table(
    "ops",
    "meta",
    "What this warehouse is: version, scope, digest of the definitions.",
    column("name", String, "name of the property"),
    column("value", String, "its value"),
    key=("name",),
    small=True,
)

batch = table(
    "ops",
    "batch",
    "One load transaction. fetched = new + updated + unchanged + superseded + out_of_scope + quarantined;"
    " listed = applied + absent.",
    _batch_id(),
    column("landing_id", String, "landed window the batch was read from"),
    column("source", String, "openalex-snapshot, openalex-api, venue-list, quarantine, warehouse"),
    column("window_name", String, "what was asked of the source, such as a range of partition dates or a venue list"),
    column("kind", String, "works or deletions"),
    column("first_record", BigInteger, "ordinal of the first record in the landed window, from 0", unit="records"),
    column("end_record", BigInteger, "ordinal after the last record", unit="records"),
    column("window_records", BigInteger, "records of the whole window", unit="records"),
    column("fetched", BigInteger, "records read from the source", unit="records"),
    column("new", BigInteger, "works stored for the first time, or again after a removal", unit="records"),
    column("updated", BigInteger, "stored works whose content changed", unit="records"),
    column("unchanged", BigInteger, "versions with the content that is stored already", unit="records"),
    column(
        "superseded",
        BigInteger,
        "versions older than one already seen, or than another one of the same batch",
        unit="records",
    ),
    column("out_of_scope", BigInteger, "records of works outside the scope or the core corpus", unit="records"),
    column("quarantined", BigInteger, "records that could not be read or broke a reject rule", unit="records"),
    column("listed", BigInteger, "deletions listed by the source", unit="records"),
    column("applied", BigInteger, "listed deletions that removed a stored work", unit="records"),
    column(
        "absent",
        BigInteger,
        "listed deletions of works that are not stored, or stored in a newer version",
        unit="records",
    ),
    column("landing_uri", String, "folder of the landed raw parts"),
    column("sha256", String, "digest over the landed parts"),
    column("code_version", String, "version of collab-atlas"),
    column("definitions", String, "digest of schemas/data"),
    column("started_at", DateTime, "UTC"),
    column("finished_at", DateTime, "UTC, just before the commit"),
    column(
        "source_records",
        BigInteger,
        "works that the source said the window holds; fewer were landed if the others had not changed",
        unit="works",
        null=True,
    ),
    column("source_listed", BigInteger, "works of the window that the source did list", unit="works", null=True),
    column("credits", BigInteger, "what fetching the window cost", unit="credits", null=True),
    key=("batch_id",),
    small=True,
)

part = table(
    "ops",
    "part",
    "Files of a source that are completely loaded, as its manifest described them.",
    column("source", String, "openalex-snapshot, ..."),
    column("path", String, "path below the root of the source"),
    column("records", BigInteger, "records according to the manifest", unit="records"),
    column("bytes", BigInteger, "bytes according to the manifest", unit="bytes"),
    column("sha256", String, "digest of the landed copy"),
    _batch_id(),
    key=("source", "path"),
    small=True,
)

seen = table(
    "ops",
    "seen",
    "Newest valid version of every work that is or was stored, or was listed as deleted."
    " Orders versions whatever their order of arrival.",
    _work_id(),
    column(
        "source_updated_at",
        DateTime,
        "updated_date of the version, UTC; end of the day for a deletion; for a paper of a list the time it was landed,"
        " plus a microsecond for each line before it",
    ),
    column(
        "tie_hash",
        BigInteger,
        "orders versions of one updated_date: linked institutions, then a digest of the raw record",
    ),
    column("state", String, "stored, out_of_scope or deleted"),
    key=("work_id",),
    spread="work_id",
)

vanished = table(
    "ops",
    "vanished",
    "Works that the source no longer knows. A stored one that is missed again on a later night is removed.",
    _work_id(),
    column("missed_on", Date, "UTC date of the night that missed it first"),
    key=("work_id",),
    small=True,
)

spending = table(
    "ops",
    "spending",
    "Credits of a source set aside by runs: what is not spent is given back when a run ends.",
    column("source", String, "openalex-api"),
    column("day", Date, "UTC"),
    column("credits", BigInteger, "credits of that day", unit="credits"),
    key=("source", "day"),
    small=True,
)

quarantine = table(
    "ops",
    "quarantine",
    "Records that could not be loaded, whole, with the reason. A retry or a newer good version resolves them.",
    column(
        "source_key",
        String,
        "id of the work as it is shown (W..., L...), or record- and digest where that could not be read",
    ),
    column("version", BigInteger, "tie_hash of the record: the same record is listed once"),
    _batch_id(),
    column("work_id", BigInteger, "number of the work, where it could be read", null=True),
    column("source_updated_at", DateTime, "updated_date of the version, UTC, where it could be read", null=True),
    column("stage", String, "read, parse, locate or validate"),
    column("rule", String, "id of the rule that was broken"),
    column("reason", Text, "what was wrong, in words"),
    column("path", String, "where in the record, such as $.authorships[0].author.id", null=True),
    column(
        "raw",
        LargeBinary,
        "the record as fetched, one of a venue list behind list, time and place; null above the size limit, then see"
        " the landed part",
        null=True,
    ),
    column("landed_at", String, "landed part and line"),
    column("quarantined_at", DateTime, "UTC"),
    column("resolved_at", DateTime, "UTC; null while open", null=True),
    column("resolution", String, "retried, superseded or deleted", null=True),
    key=("source_key", "version"),
    small=True,
)

repair = table(
    "ops",
    "repair",
    "Values that were mended, before and after.",
    _batch_id(),
    _work_id(),
    column("column_name", String, "table.column that was mended"),
    column("rule", String, "id of the rule"),
    column("before", Text, "value as fetched, cut at 200 characters", null=True),
    column("after", Text, "value as stored", null=True),
    key=("batch_id", "work_id", "column_name", "rule", "before"),
)

validation_result = table(
    "ops",
    "validation_result",
    "What each expectation saw in each batch.",
    _batch_id(),
    column("suite", String, "table or group of rules"),
    column("rule", String, "id of the rule"),
    column("severity", String, "reject, repair, warn or stop"),
    column(
        "success",
        Boolean,
        "whether nothing unexpected was seen; null: not evaluated, too little to judge by",
        null=True,
    ),
    column("observed", String, "observed value, or share of unexpected values"),
    column("expected", String, "limit or rule in words"),
    column("unexpected_count", BigInteger, "values that broke the rule", unit="values"),
    column("element_count", BigInteger, "values looked at", unit="values"),
    column("sample", Text, "up to five unexpected values", null=True),
    key=("batch_id", "suite", "rule"),
)

metric = table(
    "ops",
    "metric",
    "Figures of a batch that the drift gates compare with the last 30 batches.",
    _batch_id(),
    column("name", String, "such as share_with_country"),
    column("value", Double, "value in this batch"),
    column("works", BigInteger, "works it was measured on", unit="works"),
    key=("batch_id", "name"),
)

release = table(
    "ops",
    "release",
    "Published releases.",
    column("release_id", String, "UTC date and a running number"),
    column("last_batch_id", String, "newest batch in the release"),
    column("definitions", String, "digest of the reviewed files it was made with"),
    column("code_version", String, "collab-atlas version that made it"),
    column("manifest_sha256", String, "digest of manifest.json"),
    column("published_at", DateTime, "UTC"),
    key=("release_id",),
    small=True,
)

# core: one row set per work

work = table(
    "core",
    "work",
    "Stored works, counted or not.",
    _work_id(),
    column("corpus", String, "openalex, or the name of a venue list; corpora overlap and are never summed"),
    column(
        "doi",
        String,
        "DOI in lower case without the resolver's address",
        matches(
            "doi_shape",
            "repair",
            r"^10\.\d{4,9}/\S+$",
            "a DOI has a registrant and a suffix; another shape is stored as null",
        ),
        null=True,
    ),
    column(
        "title",
        Text,
        "title, cut at 2,000 characters",
        not_null("title_missing", "warn", "a work without title cannot be classified by it"),
        null=True,
    ),
    column("publication_date", Date, "as given by the source", null=True),
    column(
        "year",
        Integer,
        "publication year",
        not_null("year_missing", "reject", "a work without year belongs to no cell"),
        between(
            "year_range",
            "reject",
            1900,
            NEXT_YEAR,
            "years before 1900 or after next year are errors of the source",  # trap T23
        ),
    ),
    column(
        "type",
        String,
        "OpenAlex type; older Crossref names are translated",
        in_set(
            "type_unknown",
            "warn",
            work_types().known,
            "an unknown type is stored but not counted until work_types.csv knows it",
        ),
    ),
    column(
        "language",
        String,
        "ISO 639-1 code",
        in_set("language_unknown", "warn", language_codes(), "not an ISO 639-1 code"),
        null=True,
    ),
    column("venue", String, "journal, conference or repository of the primary location", null=True),
    column(
        "is_retracted",
        Boolean,
        "retracted according to the source; null there is read as false",
        not_null("retraction_unknown", "repair", "null means not known to be retracted"),
    ),
    column("is_counted", Boolean, "whether the work counts: not retracted, type in the allow-list, first of its DOI"),
    column("excluded_reason", String, "retracted, type or duplicate_doi", null=True),
    column(
        "cited_by_count",
        BigInteger,
        "citations according to the source",
        between("citations_negative", "reject", 0, None, "a count cannot be negative"),
        between(
            "citations_implausible", "reject", None, 10**8, "the most cited work of all has some 300,000 citations"
        ),
        unit="citations",
    ),
    column("authors_count", Integer, "authors in the record", unit="authors"),
    column("authors_located", Integer, "authors with at least one known country", unit="authors"),
    column(
        "authors_truncated",
        Boolean,
        "whether the source cut the author list; such a work is not located",
        in_set("authors_cut", "warn", [False], "a list cut at 100 authors hides countries"),  # trap T16
    ),
    column("references_count", Integer, "works it cites according to the record", unit="works"),
    column("content_hash", BigInteger, "BLAKE2b-64 over all columns we store of the work; equal means unchanged"),
    column("place_hash", BigInteger, "the same over year, authors, affiliations and territories"),
    column("field_hash", BigInteger, "the same over the fields and mentions"),
    column("reference_hash", BigInteger, "the same over the references"),
    _batch_id(),
    column(
        "is_unassigned",
        Boolean,
        "affiliations could not be tied to authors, because the list gives another number of them: their countries"
        " count whole, the shares of all authors are unknown (ZZ), so the work is never located",
    ),
    key=("work_id",),
    spread="work_id",
    indexes=(("doi",),),
)

authorship = table(
    "core",
    "authorship",
    "Authors of a work, in order.",
    _work_id(),
    column(
        "position",
        Integer,
        "1 for the first author",
        between("position_range", "reject", 1, None, "positions start at 1"),
    ),
    column(
        "author_id",
        BigInteger,
        "number in the OpenAlex author id; null where the source does not know",
        not_in_set(
            "author_sentinel",
            "repair",
            [9999999999, 5317838346],
            "placeholders for a null or deleted author",  # trap T28
        ),
        null=True,
    ),
    column("is_corresponding", Boolean, "corresponding author"),
    key=("work_id", "position"),
    spread="work_id",
)

affiliation = table(
    "core",
    "affiliation",
    "Evidence for the country of an author: one row for each raw string and institution linked to it.",
    _work_id(),
    column(
        "position", Integer, "author; 0 where the affiliation could not be tied to one: it is the paper's as a whole"
    ),
    column("seq", Integer, "row of the author, from 1"),
    column(
        "unit",
        Integer,
        "unit of the author that shares are split by: a distinct raw string; null where the row is evidence only, and"
        " at position 0",
        null=True,
    ),
    column(
        "institution_id",
        BigInteger,
        "number in the OpenAlex institution id",
        between("institution_sentinel", "repair", 1, None, "I-1 is a placeholder and is stored as null"),  # trap T4
        null=True,
    ),
    column(
        "ror",
        String,
        "ROR id without its address",
        matches("ror_shape", "warn", r"^0[a-z0-9]{8}$", "not a ROR id"),
        null=True,
    ),
    column(
        "institution_type",
        String,
        "ROR type",
        in_set("institution_type", "warn", INSTITUTION_TYPES, "not a ROR type"),
        null=True,
    ),
    column("raw_string", Text, "affiliation as printed, cut at 4,000 characters", null=True),
    column(
        "institution_country",
        String,
        "country code of the linked institution as given, aliases and historical codes mended",
        null=True,
    ),
    column(
        "country",
        String,
        "country decided for the row; ZZ is unknown",
        in_set(
            "country_code", "reject", territory_names(), "not an active ISO 3166-1 code, XK or ZZ"
        ),  # traps T12, T13
    ),
    column(
        "country_source",
        String,
        "what decided, the first that holds: " + "; ".join(f"{name}: {text}" for name, text in SOURCE_TEXTS.items()),
        in_set("country_source", "reject", COUNTRY_SOURCES, "unknown rule"),
    ),
    column("is_conflict", Boolean, "the string names a place in another country than the linked institution's"),
    column(
        "rule",
        String,
        "rule that decided: " + "; ".join(f"{name} ({rule.confidence} %): {rule.text}" for name, rule in RULES.items()),
    ),
    column(
        "evidence",
        Text,
        "words that decided: of the string, an organisation's name with its ROR id, the ROR id of the linked"
        " institution, or the key of the correction; null where the record of the institution says it",
        null=True,
    ),
    column(
        "confidence",
        Integer,
        "how often the rule is right, measured on the truth sets of tests/bench/accuracy.py and rounded down; 99 where"
        " string and institution agree, 60 where they contradict each other and the institution stays",
        between("confidence_range", "reject", 0, 100, "a share in percent"),
        unit="percent",
    ),
    key=("work_id", "position", "seq"),
    spread="work_id",
)

work_evidence = table(
    "core",
    "work_evidence",
    "What the countries of a work's authors rest on. Each author counts once: under the first source, in their order,"
    " that gives one of his rows a country, else under none.",
    _work_id(),
    column("country_source", String, "source of the country: " + ", ".join(COUNTRY_SOURCES)),
    column("authors", Integer, "authors whose country rests on it", unit="authors"),
    column("conflicts", Integer, "rows of these authors in which string and institution contradict", unit="rows"),
    key=("work_id", "country_source"),
    spread="work_id",
)

institution = table(
    "core",
    "institution",
    "Institutions as last described by any valid version of a work in scope.",
    column("institution_id", BigInteger, "number in the OpenAlex institution id"),
    column("ror", String, "ROR id without its address", null=True),
    column("name", String, "display name", null=True),
    column(
        "country",
        String,
        "country code as given",
        not_null("institution_country", "warn", "an institution without country code"),
        null=True,
    ),
    column("type", String, "ROR type", null=True),
    column("source_updated_at", DateTime, "updated_date of the work version that described it"),
    column("tie_hash", BigInteger, "orders descriptions of one date: BLAKE2b-64 of the description"),
    column(
        "ror_country",
        String,
        "country of its record in ROR, of the successors of a withdrawn one; null if ROR is not loaded, does not know"
        " it or has it in several countries",
        null=True,
    ),
    key=("institution_id",),
    spread=EVERYWHERE,
)

organization = table(
    "core",
    "organization",
    "The Research Organization Registry as last loaded by `collab ror update`.",
    column("ror", String, "ROR id without its address"),
    column("name", String, "displayed name"),
    column("names", Text, "every name, one a line"),
    column("acronyms", Text, "acronyms, one a line"),
    column("countries", String, "countries of all its locations, joined by blanks"),
    column(
        "country", String, "the one country of it, or of its successors; null if there are several or none", null=True
    ),
    column("type", String, "first type that is not funder", null=True),
    column("status", String, "active, inactive or withdrawn"),
    column("successors", Text, "ROR ids of the records that follow it, joined by blanks"),
    column("is_supranational", Boolean, "a body that no state alone runs: the site that an address names counts"),
    key=("ror",),
    small=True,
    spread=EVERYWHERE,
)

override = table(
    "core",
    "override",
    "Corrections of users, applied by `collab override apply`; those that ship with the package are in"
    " schemas/data/overrides.csv.",
    column("kind", String, "institution or string"),
    column("key", String, "OpenAlex id (I123), ROR id, or raw string in compare form"),
    column("country", String, "country that holds instead; ZZ: known not to be known"),
    column("reason", String, "why, in the words of the reviewer"),
    column("source", String, "where it is documented"),
    column("date", Date, "day of the review"),
    column("applied_at", DateTime, "when it came into force, UTC"),
    key=("kind", "key"),
    small=True,
    spread=EVERYWHERE,
)

work_field = table(
    "core",
    "work_field",
    "Fields of a work. Fields overlap and are never summed.",
    _work_id(),
    column("field", String, "id in fields.toml, or all"),
    column("rule", String, "first rule that matched"),
    key=("work_id", "field"),
    spread="work_id",
)

reference = table(
    "core",
    "reference",
    "Who cites whom, as far as listed.",
    column("citing_work_id", BigInteger, "citing work"),
    column("cited_work_id", BigInteger, "cited work, stored or not"),
    key=("citing_work_id", "cited_work_id"),
    spread="citing_work_id",
    indexes=(("cited_work_id",),),
)

work_policy = table(
    "core",
    "work_policy",
    "What a territory policy makes of a work as a whole.",
    _work_id(),
    column("policy", String, "territory policy"),
    column("territories", Integer, "distinct known territories", unit="territories"),
    _share("unknown_share", "share of the work whose country is unknown; the work is located if it is 0"),
    key=("work_id", "policy"),
    spread="work_id",
)

work_territory = table(
    "core",
    "work_territory",
    "Share of each territory in a work, per policy. The shares of a work sum to exactly 1; ZZ is a territory here.",
    _work_id(),
    column("policy", String, "territory policy"),
    column("territory", String, "code; ZZ is unknown"),
    _share(
        "share",
        "each author weighs 1/authors, split equally over the author's units, each unit equally over its known"
        " countries (Nature Index)",
        between("share_range", "reject", 0, 1, "a share lies between 0 and 1"),
    ),
    column("authors", Integer, "authors linked to the territory", unit="authors"),
    column("only_author", Integer, "position of the author if just one author links the territory", null=True),
    column("is_first", Boolean, "whether the first author is linked to the territory"),
    column("is_corresponding", Boolean, "whether a corresponding author is linked to the territory"),
    column(
        "sectors",
        Integer,
        "sectors of the institutions that link the territory, as a sum: "
        + ", ".join(f"{bit} {name}" for name, bit in SECTOR_BITS.items()),
    ),
    key=("work_id", "policy", "territory"),
    spread="work_id",
)

work_mention = table(
    "core",
    "work_mention",
    "Open-source building blocks named in title or abstract of an AI work, by mentions.toml. Abstracts are read for it"
    " and not stored.",
    _work_id(),
    column("mention", String, "id in mentions.toml"),
    key=("work_id", "mention"),
    spread="work_id",
)

bloc_member = table(
    "core",
    "bloc_member",
    "Who belongs to which bloc in which years, from the reviewed files blocs.csv and bloc_members.csv. A territory is a"
    " member in a year if it was one on 1 July.",
    column("bloc", String, "id in blocs.csv"),
    column("scheme", String, "alliance, region or rest-of-world; pairs of blocs are counted within one scheme"),
    column("territory", String, "code of the member"),
    column("first_year", Integer, "first year of the membership; 1: always"),
    column("last_year", Integer, "last year of it; 9999: still a member"),
    key=("bloc", "territory", "first_year"),
    small=True,
    spread=EVERYWHERE,
)

CORE = (work, authorship, affiliation, work_evidence, work_field, work_mention, reference, work_policy, work_territory)

# -------------------------------------------------------------------------------------------------------------- mart:
# what analysts read

_CELL = ("corpus", "policy", "field", "year")


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
    name: str, text: str, keys: list[Column[Any]], *sums: Column[Any], cell: tuple[str, ...] = _CELL
) -> Table:
    """A mart table and its ledger: the ledger row is the delta one batch and reason added to one cell."""
    key = (*cell, *(c.name for c in keys))
    ends = tuple(c.name for c in keys)  # a country or pair is looked up over all years and fields
    indexes = tuple(dict.fromkeys((ends, ends[::-1]))) if ends else ()
    made = table("mart", name, text, *_cell_columns(cell), *keys, *sums, key=key, indexes=indexes)
    ledger = [
        _batch_id(),
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
    _papers("papers_international", "works with another known territory: a lower bound"),
    _papers("papers_domestic", "works with no other territory and every author located"),
    _papers("papers_undetermined", _UNDETERMINED),
    column(
        "links",
        BigInteger,
        "other known territories, summed over the territory's works: a work with three adds 2; C_a in RIC",
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
        "those of them with another known territory: the numerator of the MCP ratio of bibliometrix",
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
    _papers("papers", "counted works; under a source: those with at least one author whose country rests on it"),
    _papers("papers_all_located", "those of them without an unknown part: papers - papers_with_unknown of world_year"),
    _papers("papers_some_located", "those of them with a known territory and an unknown part"),
    _papers("papers_none_located", "those of them of which no country is known: papers_without_country of world_year"),
    column("authors", BigInteger, "authors; under a source: those whose country rests on it", unit="authors"),
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

_SECTOR = "ROR type of the linked institution: education, company, ...; unknown where only a string is known"

sector_year = mart_table(
    "sector_year",
    "Works of a territory by the sector of its institutions. A work counts under every sector that links it.",
    [column("territory", String, "code; ZZ is unknown"), column("sector", String, _SECTOR)],
    _papers("papers", "works with an institution of the sector in the territory"),
    _papers("papers_international", "those with another known territory: a lower bound"),
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
