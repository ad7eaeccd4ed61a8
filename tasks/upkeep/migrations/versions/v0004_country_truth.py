"""Countries with their proof: rule, evidence and confidence of every affiliation, what a work's countries rest on, ROR
and corrections as tables, coverage as a table of the mart.

Affiliations that are stored already say `unstated` until `collab relocate` has decided them again; coverage counts all
of them under their source at once.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
# Definitions of version 3, whose fields and policies are those of version 4, and their digest in that.
SAME_COUNTING, DIGEST = "f2dc2f6e7d15", "5242993df700"
MEASURES = (
    *("papers", "papers_all_located", "papers_some_located", "papers_none_located"),
    *("authors", "authors_located", "conflicts"),
)


SOURCES = ("override", "string_over_institution", "institution", "string", "ror_name")
STRONGEST = "CASE country_source {} ELSE 5 END".format(
    " ".join(f"WHEN '{source}' THEN {at}" for at, source in enumerate(SOURCES))
)
NAMED = "CASE strongest {} ELSE 'none' END".format(
    " ".join(f"WHEN {at} THEN '{source}'" for at, source in enumerate(SOURCES))
)


def upgrade() -> None:
    """Add columns to core.affiliation and core.institution, make five tables, fill what follows from stored works."""
    for name, type_, filled in (
        ("rule", sa.String(), "'unstated'"),
        ("evidence", sa.Text(), None),
        ("confidence", sa.Integer(), "0"),
    ):
        default = sa.text(filled) if filled else None
        op.add_column("affiliation", sa.Column(name, type_, server_default=default), schema="core")
        if filled:
            op.alter_column("affiliation", name, nullable=False, schema="core")
            op.alter_column("affiliation", name, server_default=None, schema="core")
    op.add_column("institution", sa.Column("ror_country", sa.String()), schema="core")
    _make_reference_tables()
    _make_coverage_tables()
    op.execute(f"UPDATE ops.meta SET value = '{DIGEST}' WHERE name = 'definitions' AND value = '{SAME_COUNTING}'")
    op.execute("INSERT INTO ops.meta (name, value) VALUES ('located_by', 'version 3')")


def _make_reference_tables() -> None:
    text = ("name", "names", "acronyms", "countries", "country", "type", "status", "successors")
    kinds = {"names": sa.Text(), "acronyms": sa.Text(), "successors": sa.Text()}
    op.create_table(
        "organization",
        sa.Column("ror", sa.String(), primary_key=True),
        *(sa.Column(n, kinds.get(n, sa.String()), nullable=n in ("country", "type")) for n in text),
        sa.Column("is_supranational", sa.Boolean(), nullable=False),
        schema="core",
    )
    op.create_table(
        "override",
        sa.Column("kind", sa.String(), primary_key=True),
        sa.Column("key", sa.String(), primary_key=True),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("country", "reason", "source")),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("applied_at", sa.DateTime(), nullable=False),
        schema="core",
    )


def _make_coverage_tables() -> None:
    """Tables whose keys are real only where that is cheap, as in schemas/tables.py."""
    is_server = op.get_bind().dialect.name == "postgresql"

    def make(schema: str, name: str, columns: list[sa.Column[Any]], key: tuple[str, ...]) -> None:
        constraints = [sa.PrimaryKeyConstraint(*key, name=f"{name}_pkey")] if is_server else []
        op.create_table(name, *columns, *constraints, schema=schema)

    def of(name: str, type_: Any) -> sa.Column[Any]:
        return sa.Column(name, type_, nullable=False, autoincrement=False)

    evidence = [of("work_id", sa.BigInteger()), of("country_source", sa.String())]
    evidence += [of("authors", sa.Integer()), of("conflicts", sa.Integer())]
    make("core", "work_evidence", evidence, ("work_id", "country_source"))
    op.execute(
        "INSERT INTO core.work_evidence (work_id, country_source, authors, conflicts)"
        f" SELECT work_id, {NAMED}, count(*), sum(conflicts) FROM (SELECT a.work_id, a.position,"
        f" min(CASE WHEN f.country = 'ZZ' OR f.unit IS NULL THEN 5 ELSE {STRONGEST} END) AS strongest,"
        " sum(CASE WHEN f.is_conflict THEN 1 ELSE 0 END) AS conflicts FROM core.authorship a"
        " LEFT JOIN core.affiliation f ON f.work_id = a.work_id AND f.position = a.position"
        " GROUP BY a.work_id, a.position) AS authors"
        " GROUP BY work_id, strongest"
    )
    cell = [("corpus", sa.String()), ("field", sa.String()), ("year", sa.Integer()), ("evidence", sa.String())]
    key = tuple(name for name, _ in cell)
    booked = [of("batch_id", sa.String()), of("reason", sa.String())]
    measures = [(name, sa.BigInteger()) for name in MEASURES]
    make("mart", "coverage_year", [of(*one) for one in (*cell, *measures)], key)
    ledger = [*booked, *(of(*one) for one in (*cell, *measures))]
    make("ops", "coverage_year_change", ledger, ("batch_id", "reason", *key))
