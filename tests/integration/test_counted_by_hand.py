"""Real works counted on paper. Each case says what the record holds; the expected shares were worked out from that, not
from the code. At the end all of them, by plain SQL.

Shares are written in units of 1e-9; the remainder of the floors goes to the largest share.
"""

from __future__ import annotations

import shutil
from decimal import Decimal

import pytest
import sqlalchemy as sa

from schemas import tables as t
from schemas.settings import load_settings
from tasks.storage.warehouse import Warehouse
from tests.bench import rebuild, warehouses
from tests.bench.warehouses import by_hand_seconds
from tests.factory import rows

pytestmark = pytest.mark.usefixtures("unpublished")

CASES = {
    # word2vec: one author each in Brno and Beijing, two at Google, Mountain View
    1614298861: {"CN": 250_000_000, "CZ": 250_000_000, "US": 500_000_000},
    # one author: a Norwegian university, and "CIFOR, ..., Cameroon" without institution
    1946258515: {"CM": 500_000_000, "NO": 500_000_000},
    # Cohen's kappa: one author, "NEW YORK U" unlinked (a state in a name) and "New York University" linked: two units
    2053154970: {"US": 1_000_000_000},
    # three authors, only the first with an affiliation (US): 1/3 and 2/3, floors 333333333 + 666666666, remainder to ZZ
    100927044: {"US": 333_333_333, "ZZ": 666_666_667},
    # two authors: University of Sussex; "Lucy Cavendish College, Cambridge" names no country
    984830982: {"GB": 500_000_000, "ZZ": 500_000_000},
    # two authors: none; "..., St. Kilda, Australia" without institution
    1507523003: {"AU": 500_000_000, "ZZ": 500_000_000},
    # two authors, institutions null, both addresses end in Israel
    1553022322: {"IL": 1_000_000_000},
    # author 1 FEEM (IT); author 2 UCL (GB) and FEEM; author 3 CMCC (linked to IT and US) and FEEM.
    # IT (1 + 1/2 + 3/4)/3 = 0.75, GB 1/6, US 1/12: floors 750000000 + 166666666 + 83333333, remainder to IT
    1799019926: {"GB": 166_666_666, "IT": 750_000_001, "US": 83_333_333},
    # PLINK, 11 authors: one in Hong Kong, one half in London and half in the US, nine in the US.
    # HK 1/11, GB 1/22, US 9.5/11: floors 90909090 + 45454545 + 863636363, remainder 2 to US
    2161633633: {"GB": 45_454_545, "HK": 90_909_090, "US": 863_636_365},
    # nine authors at the World Bank in one of the two records of 2025-11-06, none anywhere in the other: the fuller
    # wins
    2180613954: {"US": 1_000_000_000},
    # two records of one DOI, no affiliation anywhere
    297480756: {"ZZ": 1_000_000_000},
    3122683044: {"ZZ": 1_000_000_000},
}


def shares(warehouse: Warehouse, work_id: int, policy: str = "iso") -> dict[str, int]:
    of = t.work_territory.c
    found = rows(warehouse, sa.select(of.territory, of.share).where(of.work_id == work_id, of.policy == policy))
    return {row["territory"]: int(row["share"] * 10**9) for row in found}


@pytest.mark.parametrize("work_id", CASES)
def test_a_real_work_has_the_shares_counted_on_paper(real_works, work_id):
    with Warehouse.open(real_works) as warehouse:
        assert shares(warehouse, work_id) == CASES[work_id]


def test_hong_kong_under_three_policies(real_works):
    folded = {"CN": 90_909_090, "GB": 45_454_545, "US": 863_636_365}
    with Warehouse.open(real_works) as warehouse:
        assert shares(warehouse, 2161633633, "iso") == CASES[2161633633]
        assert shares(warehouse, 2161633633, "mainland-sar") == folded
        assert shares(warehouse, 2161633633, "greater-china") == folded


def test_a_cut_author_list_is_not_located(real_works):
    """The first 100 of more authors of the Global Burden of Disease study: one unknown author's weight, 1/101, is
    ZZ."""
    with Warehouse.open(real_works) as warehouse:
        found = shares(warehouse, 2110052313)
        assert found["ZZ"] >= 9_900_990
        assert sum(found.values()) == 10**9
        of = t.work.c
        assert rows(warehouse, sa.select(of.authors_count, of.authors_truncated).where(of.work_id == 2110052313)) == [
            {"authors_count": 100, "authors_truncated": True}
        ]


def test_a_retracted_work_is_stored_but_not_counted(real_works):
    """The Lancet Commission on dementia, 28 authors, retracted according to the record."""
    of = t.work.c
    with Warehouse.open(real_works) as warehouse:
        found = rows(warehouse, sa.select(of.is_counted, of.excluded_reason, of.year).where(of.work_id == 3046275966))
        assert found == [{"is_counted": False, "excluded_reason": "retracted", "year": 2020}]
        world = rows(
            warehouse,
            sa.select(t.world_year.c.excluded_retracted).where(
                t.world_year.c.year == 2020, t.world_year.c.field == "all", t.world_year.c.policy == "iso"
            ),
        )
        assert world == [{"excluded_retracted": 1}]


def test_of_two_works_with_one_doi_the_lower_id_counts(real_works):
    of = t.work.c
    with Warehouse.open(real_works) as warehouse:
        found = rows(
            warehouse, sa.select(of.work_id, of.is_counted).where(of.doi == "10.1596/11185").order_by(of.work_id)
        )
    assert found == [{"work_id": 297480756, "is_counted": True}, {"work_id": 3122683044, "is_counted": False}]


def test_pairs_of_2013_in_ai(real_works):
    """Of the AI works of 2013 only word2vec has authors in China and Czechia: three pairs, each multilateral."""
    of = t.pair_year.c
    with Warehouse.open(real_works) as warehouse:
        found = rows(
            warehouse,
            sa.select(
                of.territory_a, of.territory_b, of.papers, of.papers_multilateral, of.papers_dual_only, of.score
            ).where(
                of.year == 2013,
                of.field == "ai",
                of.policy == "iso",
                sa.or_(of.territory_a == "CZ", of.territory_b == "CZ"),
            ),
        )
    pairs = {(row["territory_a"], row["territory_b"]): row for row in found}
    assert set(pairs) == {("CN", "CZ"), ("CZ", "US")}
    assert pairs["CZ", "US"]["score"] == Decimal("0.75")
    assert all((row["papers"], row["papers_multilateral"], row["papers_dual_only"]) == (1, 1, 0) for row in found)


def test_one_author_in_two_countries_is_a_dual_pair(real_works):
    of = t.pair_year.c
    with Warehouse.open(real_works) as warehouse:
        found = rows(
            warehouse,
            sa.select(of.papers, of.papers_dual_only, of.papers_bilateral).where(
                of.year == 2007, of.field == "all", of.policy == "iso", of.territory_a == "CM", of.territory_b == "NO"
            ),
        )
    assert found == [{"papers": 1, "papers_dual_only": 1, "papers_bilateral": 1}]


@pytest.mark.engines("duckdb")
def test_the_mart_is_what_plain_sql_counts(real_works, tmp_path):
    """tests/bench/by_hand.sql: the counting rules a second time, by somebody else, and without increments."""
    shutil.copyfile(real_works.home / "warehouse.duckdb", tmp_path / "warehouse.duckdb")
    with Warehouse.open(load_settings(home=tmp_path, scope="all")) as warehouse:
        by_hand_seconds(warehouse, drops=False)
        with warehouse.reading() as conn:
            for mart in t.MART:
                assert rebuild.count_equal_cells(conn, mart, t.world_year.schema) > 0


@pytest.mark.engines("duckdb")
def test_a_rebuild_counts_what_plain_sql_counts(real_works, tmp_path, monkeypatch):
    """Of the same works made more various: a second corpus, more building blocks and sectors, no evidence."""
    monkeypatch.setattr(warehouses, "BENCH", tmp_path)
    cells = rebuild.compare(real_works.home / "warehouse.duckdb")
    assert cells.pop("works") > 900
    assert min(cells.values()) > 0
