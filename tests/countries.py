"""Works whose countries hang on corrections, ROR and rules, and ways to change these and to see what became of them."""

from __future__ import annotations

from datetime import date

import sqlalchemy as sa

from schemas import tables as t
from schemas.overrides import Override
from tasks.batches.relocate import put_in_force, works_concerned, works_without_country
from tasks.countries.registry import replace_organizations, replace_overrides
from tasks.countries.ror import read_organization
from tasks.storage.warehouse import Warehouse
from tests.factory import author, institution, linked, rows, work

ROR_OF_NOBODY, ROR_OF_IT = "00000aa01", "00000bb02"


WORKS = [
    work(11, [author("US"), author(strings=["Zanthor College"])]),
    work(12, [author("US"), author("CN")]),
    work(13, [linked("Lab, Rome", institution(None, 77, ror=f"https://ror.org/{ROR_OF_IT}")), author("FR")]),
    work(14, [linked("ANDRA, France", institution("AU", 78)), author("DE")]),
    work(15, [author(strings=["Dept of Physics"]), author("JP")]),
    work(
        16, [author(strings=["Lab, Paris, France; Lab, Berlin, Germany", "lab, paris, france; lab, berlin, germany."])]
    ),
    work(17, [author()]),
]


def organization(ror: str, name: str, *countries: str):
    """An organisation of ROR with a place in each of these countries."""
    record = {
        "id": ror,
        "names": [{"value": name, "types": ["ror_display"]}],
        "locations": [{"geonames_details": {"country_code": code}} for code in countries],
        "relationships": [],
        "status": "active",
        "types": ["education"],
    }
    found = read_organization(record)
    assert found is not None
    return found


REGISTRY = {
    one.ror: one
    for one in (
        organization(ROR_OF_NOBODY, "Zanthor College", "BR"),
        organization(ROR_OF_IT, "Istituto di Quiblia", "IT"),
        # among many: only a word that is rare tells an organisation
        *(organization(f"0{n:06d}99", f"Somewhere {n} University", "US") for n in range(300)),
    )
}


def correction(kind: str, key: str, country: str) -> Override:
    """A correction as a user writes it."""
    return Override(kind, key, country, "reviewed", "a letter", date(2026, 1, 1))


def correct(settings, *overrides: Override):
    """What `collab override apply` does with a file of these corrections."""
    with Warehouse.open(settings) as warehouse:

        def change(conn):
            replaced = replace_overrides(conn, overrides)
            return (lambda conn: works_concerned(conn, replaced.concerned)) if replaced.concerned else None

        return put_in_force(warehouse, settings, change)


def update_ror(settings, organizations=REGISTRY):
    """What `collab ror update` does with a dump of these organisations."""
    with Warehouse.open(settings) as warehouse:

        def change(conn):
            return (lambda _: works_without_country()) if replace_organizations(conn, organizations, "test") else None

        return put_in_force(warehouse, settings, change)


def decided(settings, work_id: int) -> list[tuple]:
    """Of each affiliation of a work (country, its source, the rule, the words that decided)."""
    columns = ("country", "country_source", "rule", "evidence")
    of = t.affiliation.c
    query = sa.select(*(of[name] for name in columns)).where(of.work_id == work_id).order_by(of.position, of.seq)
    with Warehouse.open(settings) as warehouse:
        return [tuple(row.values()) for row in rows(warehouse, query)]


def reasons(settings) -> set[tuple[str, str]]:
    """(kind of batch, reason) of every row of the ledger of pairs."""
    ledger = t.ledger_of(t.pair_year).c
    query = sa.select(t.batch.c.kind, ledger.reason).join_from(
        t.ledger_of(t.pair_year), t.batch, t.batch.c.batch_id == ledger.batch_id
    )
    with Warehouse.open(settings) as warehouse:
        return {tuple(row.values()) for row in rows(warehouse, query)}
