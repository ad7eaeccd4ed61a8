"""How much a load makes the engine look at: a statement that is quick on ten works may be hopeless on ten thousand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from tests.factory import URL, author, run, work, write_snapshot

pytestmark = [pytest.mark.engines("duckdb"), pytest.mark.usefixtures("unpublished")]
WORKS = 300
COUNTRIES = ("US", "CN", "DE", "IN", "FR", "GB", "BR")
MOST_ROWS = 20_000  # that an operator hands on; some 6,000 are needed, 60,000 where policies and fields multiply them
# before they are summed; every pair of these works are 90,000


@pytest.fixture
def widest() -> Iterator[dict[str, int]]:
    """Most rows that one operator of each increment handed on, by its temporary table."""
    found: dict[str, int] = {}

    def explain(conn: sa.Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("CREATE TEMPORARY TABLE delta_"):
            name, query = statement.removeprefix("CREATE TEMPORARY TABLE ").split(" AS ", 1)
            driver = conn.connection.driver_connection
            assert driver is not None
            ((_, plan),) = driver.execute(f"EXPLAIN (ANALYZE, FORMAT json) {query}").fetchall()
            found[name] = max(found.get(name, 0), *rows_of(json.loads(plan)))

    sa.event.listen(sa.Engine, "before_cursor_execute", explain)
    yield found
    sa.event.remove(sa.Engine, "before_cursor_execute", explain)


def rows_of(plan: dict[str, Any]) -> Iterator[int]:
    yield plan.get("operator_cardinality", 0)
    for child in plan["children"]:
        yield from rows_of(child)


def test_an_increment_looks_at_no_more_than_the_works_bring_with_them(tmp_path, settings_for, widest):
    def known(day: str, shift: int = 0) -> list[dict]:
        return [
            work(
                n,
                [author(COUNTRIES[(n + shift) % 7]), author(COUNTRIES[(n * 3 + 1) % 7])],
                title="Learning in PyTorch",
                referenced_works=[f"{URL}W{1 + (n * k) % WORKS}" for k in (3, 7, 11)],
                updated=day,
            )
            for n in range(1, WORKS + 1)
        ]

    days = {"2026-01-01": known("2026-01-01")}
    settings = settings_for(write_snapshot(tmp_path / "s", days))
    run(settings)
    arrived = dict(widest)
    run(settings_for(write_snapshot(tmp_path / "s", days | {"2026-01-02": known("2026-01-02", shift=2)}),
                     max_rewritten_share=1, max_year_change=9, band_sigmas=99))  # fmt: skip
    assert len(widest) == len(arrived) == 11
    assert min(arrived.values()) >= WORKS
    assert {name: rows for name, rows in widest.items() if rows > MOST_ROWS} == {}
