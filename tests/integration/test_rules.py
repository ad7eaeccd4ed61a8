"""Every rule of records has a record that breaks it, and does what its severity says.

Run through Great Expectations, as in a real night."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest
import sqlalchemy as sa

import tasks.validation.validate as validation
from schemas import tables as t
from schemas.expectations import record_checks
from schemas.staging import STAGED, arrow_schema
from tasks.storage.warehouse import Warehouse
from tests.factory import URL, author, author_at, counts, rows, run, work, write_snapshot

pytestmark = pytest.mark.usefixtures("unpublished")
# rule -> record that breaks it, of a work's number; of repairs also the stored column and what it holds instead
REJECTED = {
    "year_missing": lambda n: work(n, publication_year=None),
    "year_range": lambda n: work(n, publication_year=1492),
    "citations_negative": lambda n: work(n, cited_by_count=-1),
    "citations_implausible": lambda n: work(n, cited_by_count=2**63 - 1),
    "country_code": lambda n: work(n, [author_at(country_code="QX")]),
    # of the parser
    "historical_code": lambda n: work(n, [author_at(country_code="SU")], publication_year=2020),
    "work_id_shape": lambda n: work(n, id="https://openalex.org/A11"),
    "institution_id_shape": lambda n: work(n, [author_at(id="https://ror.org/012")]),
    "author_id_shape": lambda n: work(n, [author("US") | {"author": {"id": "Ada"}}]),
    "reference_shape": lambda n: work(n, referenced_works=["https://openalex.org/W1", "W2"]),
    "updated_date_shape": lambda n: work(n, updated="yesterday"),
    "updated_date_future": lambda n: work(n, updated="2999-01-01"),
    "contract": lambda n: work(n, authorships={"a": 1}),
    "json": lambda n: b'{"id": ',
    "json_depth": lambda n: (
        b'{"id":"https://openalex.org/W%d","updated_date":"2026-01-01","authorships":' % n
        + b"[" * 100_000
        + b"]" * 100_000
        + b"}"
    ),
}
REPAIRED = {
    "doi_shape": (lambda n: work(n, doi="10.1/x"), t.work.c.doi, None),
    "retraction_unknown": (lambda n: work(n, is_retracted=None), t.work.c.is_retracted, False),
    "author_sentinel": (
        lambda n: work(n, [author("US") | {"author": {"id": f"{URL}A9999999999"}}]),
        t.authorship.c.author_id,
        None,
    ),
    "institution_sentinel": (lambda n: work(n, [author_at(id=f"{URL}I-1")]), t.affiliation.c.institution_id, None),
    "country_alias": (lambda n: work(n, [author_at(country_code="UK")]), t.affiliation.c.country, "GB"),
    "type_crossref": (lambda n: work(n, type="journal-article"), t.work.c.type, "article"),
    "date_shape": (lambda n: work(n, publication_date="2020-13-01"), t.work.c.publication_date, None),
    "text_too_long": (lambda n: work(n, title="x" * 5000), t.work.c.title, "x" * 2000),
}
WARNED = {
    "title_missing": lambda n: work(n, title=None),
    "type_unknown": lambda n: work(n, type="poem"),
    "language_unknown": lambda n: work(n, language="ng"),
    "authors_cut": lambda n: work(n, is_authors_truncated=True),
    "ror_shape": lambda n: work(n, [author_at(ror="https://ror.org/https://ror.org/01ppj9r5")]),
    "institution_type": lambda n: work(n, [author_at(type="guild")]),
    "institution_country": lambda n: work(n, [author_at(country_code=None)]),
}
FRAMES = {  # rule -> the table and row that break it, as no correct locate would make them
    "position_range": ("authorship", {"position": 0}),
    "country_source": ("affiliation", {"country": "US", "country_source": "guess", "confidence": 99}),
    "confidence_range": ("affiliation", {"country": "US", "country_source": "string", "confidence": 101}),
    "share_range": ("work_territory", {"policy": "iso", "territory": "US", "share": Decimal("1.5")}),
    "shares_sum": ("work_territory", {"policy": "iso", "territory": "US", "share": Decimal("0.5")}),
}
UNKNOWN = {"json", "json_depth", "work_id_shape", "updated_date_shape"}  # of which record it is cannot be told


def night(tmp_path, settings_for, records):
    """One night of an ordinary work and all records that break a rule, numbered from 11 on."""
    made = [record(number) for number, record in enumerate(records, start=11)]
    settings = settings_for(write_snapshot(tmp_path / "s", {"2026-01-01": [*made, work(10)]}))
    return settings, counts(run(settings))


def test_every_declared_rule_is_broken_somewhere_here():
    declared = {check.rule.id for check in record_checks()}
    assert declared <= REJECTED.keys() | REPAIRED.keys() | WARNED.keys() | FRAMES.keys()


def test_rejected_records_are_held_with_their_rule(tmp_path, settings_for):
    settings, night_counts = night(tmp_path, settings_for, REJECTED.values())
    assert night_counts == {"fetched": len(REJECTED) + 1, "new": 1, "quarantined": len(REJECTED)}
    with Warehouse.open(settings) as warehouse:
        held = {row["rule"]: row for row in rows(warehouse, sa.select(t.quarantine))}
    assert held.keys() == REJECTED.keys()
    assert all(row["reason"] and row["raw"] for row in held.values())
    expected = {rule: f"W{number}" for number, rule in enumerate(REJECTED, start=11) if rule not in UNKNOWN}
    assert {rule: row["source_key"] for rule, row in held.items() if rule not in UNKNOWN} == expected


def test_repaired_values_are_stored_mended_and_the_repair_is_recorded(tmp_path, settings_for):
    settings, night_counts = night(tmp_path, settings_for, [record for record, *_ in REPAIRED.values()])
    assert night_counts == {"fetched": len(REPAIRED) + 1, "new": len(REPAIRED) + 1}
    with Warehouse.open(settings) as warehouse:
        for number, (rule, (_, column, stored)) in enumerate(REPAIRED.items(), start=11):
            found = rows(warehouse, sa.select(column).where(column.table.c.work_id == number))
            assert [tuple(row.values()) for row in found] == [(stored,)], rule
        repairs = {(row["work_id"], row["rule"]) for row in rows(warehouse, sa.select(t.repair))}
        assert repairs == set(enumerate(REPAIRED, start=11))
        failed = sa.select(t.validation_result.c.rule).where(t.validation_result.c.success.is_(False))
        assert {row["rule"] for row in rows(warehouse, failed)}.isdisjoint(
            REPAIRED
        )  # expectations see that it is mended


def test_warned_records_are_stored_and_the_warning_names_them(tmp_path, settings_for):
    settings, night_counts = night(tmp_path, settings_for, WARNED.values())
    assert night_counts == {"fetched": len(WARNED) + 1, "new": len(WARNED) + 1}
    with Warehouse.open(settings) as warehouse:
        failed = sa.select(t.validation_result).where(t.validation_result.c.success.is_(False))
        found = {row["rule"]: row for row in rows(warehouse, failed)}
    for number, rule in enumerate(WARNED, start=11):
        assert (found[rule]["severity"], found[rule]["unexpected_count"]) == ("warn", 1), rule
        name = "I" if found[rule]["suite"] == "institution" else f"W{number}: "
        assert found[rule]["sample"].startswith(name), rule


@pytest.mark.parametrize("rule", FRAMES)
def test_rules_on_our_own_work_hold_the_code_to_its_word(tmp_path, monkeypatch, rule):
    staged = {name: pa.Table.from_pylist([], schema=arrow_schema(name)) for name in STAGED}
    name, values = FRAMES[rule]
    row = dict.fromkeys(arrow_schema(name).names) | {"stage_id": 7, "work_id": 11} | values
    staged[name] = pa.Table.from_pylist([row], schema=arrow_schema(name))
    monkeypatch.setattr(validation, "read_staged", lambda folder, name: staged[name])
    rejections = validation.validate_staged(tmp_path).rejections
    assert [(one.stage_id, one.rule) for one in rejections] == [(7, rule)]
