"""Every table and column of the warehouse, declared once. Data dictionary, staging, validation, publishing and
migrations derive from here.

Schemas: `ops` (what happened) and `core` (one row set per work) here, `mart` (what analysts read) in schemas/mart.py.
Naming: `_id` identifies, `_year` / `_at` / `_date` say when (UTC), `is_` is a truth value; one quantity has one name
everywhere.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Date, DateTime, Double, Integer, LargeBinary, Numeric, String, Text

from schemas.declare import EVERYWHERE, batch_id, column, key_columns, measures, metadata, table  # noqa: F401
from schemas.identifiers import AUTHOR_SENTINELS, DOI, ROR
from schemas.mart import (  # noqa: F401  (whoever asks for a table finds it here)
    ALL_EVIDENCE,
    CELL,
    COUNTRY_SOURCES,
    MART,
    REASONS,
    bloc_pair_year,
    bloc_year,
    country_year,
    coverage_year,
    flow_year,
    ledger_of,
    mart_table,
    mention_pair_year,
    mention_year,
    pair_year,
    sector_pair_year,
    sector_year,
    world_year,
)
from schemas.places.evidence import RULES, SOURCE_TEXTS
from schemas.places.territories import language_codes, territory_names, work_types
from schemas.rules import NEXT_YEAR, Rule, between, in_set, matches, not_in_set, not_null

WAREHOUSE_VERSION = 10  # the newest step in tasks/upkeep/migrations/versions
SHARE_SCALE = 10**9
TITLE_LIMIT, STRING_LIMIT = 2_000, 4_000  # characters of a title and of an affiliation that are kept
OF_WORK = 0  # position of affiliations that are tied to no author
EXCLUDED_REASONS = ("retracted", "type", "duplicate_doi")
RUN_STATES = ("running", "completed", "budget", "failed", "interrupted")
SEEN_STATES = ("stored", "out_of_scope", "deleted")
RECORD_COUNTS = ("new", "updated", "unchanged", "superseded", "out_of_scope", "quarantined")
"""What becomes of a record that was fetched: exactly one of these, so that they add up to `fetched`."""
DELETION_COUNTS = ("applied", "absent")
"""What becomes of a deletion that was listed."""
COUNTS = ("fetched", *RECORD_COUNTS, "listed", *DELETION_COUNTS)
CONSERVATION = f"fetched = {' + '.join(RECORD_COUNTS)}; listed = {' + '.join(DELETION_COUNTS)}"
SECTORS = ("education", "company", "government", "facility", "healthcare", "nonprofit", "archive", "funder", "other")
UNKNOWN_SECTOR = "unknown"
SECTOR_BITS = {name: 1 << at for at, name in enumerate((*SECTORS, UNKNOWN_SECTOR))}
INSTITUTION_TYPES = frozenset(SECTORS)


def _share(name: str, text: str, *rules: Rule) -> Column[Any]:
    return column(name, Numeric(18, 9), text, *rules, unit="works")


def _work_id() -> Column[Any]:
    return column(
        "work_id",
        BigInteger,
        "number in the OpenAlex id: W2741809807 is 2741809807; from 2^62 on a paper of a venue list, shown as L and"
        " this number: 62 bits of BLAKE2b over corpus, venue, year and the list's own id, else title and first author",
    )


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
    f"One load transaction. {CONSERVATION}.",
    batch_id(),
    column("landing_id", String, "landed window the batch was read from"),
    column("source", String, "openalex-snapshot, openalex-api, venue-list, quarantine, warehouse"),
    column("window_name", String, "what was asked of the source, such as a range of partition dates or a venue list"),
    column("kind", String, "works, deletions, undo, rebuild, corrections or definitions"),
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
    column("run_id", String, "run that loaded it; null before version 6", null=True),
    column("undone_at", DateTime, "UTC; null unless `collab undo` took the batch back", null=True),
    key=("batch_id",),
    small=True,
)

run = table(
    "ops",
    "run",
    "What each run did and, if it failed, in which step, why, and the command that goes on.",
    column("run_id", String, "random"),
    column("flow", String, "nightly, backfill, rescan, quarantine-retry or verify"),
    column("source", String, "where works came from, as in ops.batch"),
    column("command", String, "what starts the same run from a shell"),
    column("host", String, "machine it ran on"),
    column("folder", String, "its folder below COLLAB_HOME/staging, locked while it lives"),
    column("flow_run", String, "id of the flow run in Prefect", null=True),
    column("started_at", DateTime, "UTC"),
    column("ended_at", DateTime, "UTC; null while it runs, and for ever if it was killed", null=True),
    column("state", String, ", ".join(RUN_STATES)),
    column("step", String, "step that failed, and on what", null=True),
    column("message", Text, "why it failed, and what to do", null=True),
    column("batches", BigInteger, "batches it committed", unit="batches"),
    key=("run_id",),
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
    batch_id(),
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
    column("state", String, ", ".join(SEEN_STATES)),
    key=("work_id",),
    spread="work_id",
)

blocked = table(
    "ops",
    "blocked",
    "Versions that an undone batch had brought: they are not loaded again until they are released; newer ones are.",
    _work_id(),
    column("source_updated_at", DateTime, "updated_date of the version, UTC"),
    column("tie_hash", BigInteger, "as in ops.seen"),
    batch_id(),
    key=("work_id", "source_updated_at", "tie_hash"),
    small=True,
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
    batch_id(),
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
    batch_id(),
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
    batch_id(),
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
    batch_id(),
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
    column("withdrawn_at", DateTime, "UTC; null unless a batch in it was undone", null=True),
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
            rf"^{DOI}$",
            "a DOI has a registrant and a suffix; another shape is stored as null",
        ),
        null=True,
    ),
    column(
        "title",
        Text,
        f"title, cut at {TITLE_LIMIT:,} characters",
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
    column(
        "is_counted",
        Boolean,
        "whether the work counts: not retracted, type in the allow-list, and of such works of the corpus with its DOI"
        " the one with most authors located, then the lowest id",
    ),
    column("excluded_reason", String, "retracted, type or duplicate_doi, the first that holds", null=True),
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
        "whether the source cut the author list: one unknown author more is counted, so the work is not located",
        in_set("authors_cut", "warn", [False], "a list cut at 100 authors hides countries"),  # trap T16
    ),
    column("references_count", Integer, "works it cites according to the record", unit="works"),
    column("content_hash", BigInteger, "BLAKE2b-64 over all columns we store of the work; equal means unchanged"),
    column("place_hash", BigInteger, "the same over year, authors, affiliations and territories"),
    column("field_hash", BigInteger, "the same over the fields and mentions"),
    column("reference_hash", BigInteger, "the same over the references"),
    batch_id(),
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
            AUTHOR_SENTINELS,
            "placeholders for a null or deleted author",
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
    "Evidence for the country of an author: one row for each raw string and institution linked to it, and one more for"
    " each further country that the string names and no linked institution stands for. All known countries of the"
    " rows of a unit share it.",
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
        matches("ror_shape", "warn", rf"^{ROR}$", "not a ROR id"),
        null=True,
    ),
    column(
        "institution_type",
        String,
        "ROR type",
        in_set("institution_type", "warn", INSTITUTION_TYPES, "not a ROR type"),
        null=True,
    ),
    column("raw_string", Text, f"affiliation as printed, cut at {STRING_LIMIT:,} characters", null=True),
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
    " that gives a row of the author a country, else under none.",
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
        " countries (Nature Index); cut to nine decimals, the largest (ties: first code, ZZ last) takes the rest; a cut"
        " list has one unknown author more; other policies add the shares of iso",
        between("share_range", "reject", 0, 1, "a share lies between 0 and 1"),
    ),
    column("authors", Integer, "authors linked to the territory", unit="authors"),
    column("only_author", Integer, "position of the author if just one author links the territory", null=True),
    column("is_first", Boolean, "whether the first author is linked to the territory"),
    column("is_corresponding", Boolean, "whether a corresponding author is linked to the territory"),
    column(
        "sectors",
        Integer,
        "sectors of the institutions that link authors to the territory, as a sum; an institution without a known"
        " country beside one with it in a string links nobody to ZZ; an author without affiliations, or"
        " hidden by a cut list, is unknown: " + ", ".join(f"{bit} {name}" for name, bit in SECTOR_BITS.items()),
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
