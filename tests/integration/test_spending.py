"""Credits of a day: never more than the limit, whoever spends them, and at most a handful lost to a kill."""

from __future__ import annotations

from datetime import date

import pytest
import sqlalchemy as sa

from schemas import tables as t
from schemas.errors import BudgetExhausted
from tasks.landing.spending import SET_ASIDE, DailyBudget
from tasks.storage.warehouse import Warehouse
from tests.factory import rows

DAY = date(2026, 11, 22)


@pytest.fixture
def warehouse(settings_for):
    """An empty warehouse."""
    with Warehouse.open(settings_for()) as opened:
        yield opened


def spend(budget: DailyBudget, most: int = 10_000) -> int:
    """Calls of one credit until the budget says no."""
    for number in range(most):
        try:
            budget.take(1)
        except BudgetExhausted:
            return number
        budget.settle(1, 1)
    return most


def noted(warehouse, source: str = "api") -> dict[date, int]:
    found = rows(warehouse, sa.select(t.spending).where(t.spending.c.source == source))
    return {row["day"]: row["credits"] for row in found}


def test_two_runs_share_a_limit(warehouse):
    limit = 3 * SET_ASIDE + 7
    runs = [DailyBudget(warehouse, "api", limit, lambda: DAY) for _ in range(2)]
    spent = sum(spend(budget, 10) for _ in range(20) for budget in runs)
    assert spent == limit
    assert noted(warehouse) == {DAY: limit}
    assert [budget.left() for budget in runs] == [0, 0]


def test_what_was_not_spent_is_given_back(warehouse):
    budget = DailyBudget(warehouse, "api", 10_000, lambda: DAY)
    assert spend(budget, 3) == 3
    assert noted(warehouse) == {DAY: SET_ASIDE}
    assert budget.left() == 9_997
    budget.close()
    budget.close()
    assert noted(warehouse) == {DAY: 3}


def test_a_killed_run_costs_at_most_what_it_had_set_aside(warehouse):
    spend(DailyBudget(warehouse, "api", 2_500, lambda: DAY), 3)  # never closed
    assert spend(DailyBudget(warehouse, "api", 2_500, lambda: DAY)) == 2_500 - SET_ASIDE


def test_a_small_limit_is_not_set_aside_as_a_whole(warehouse):
    for _ in range(4):
        spend(DailyBudget(warehouse, "api", 10, lambda: DAY), 1)  # never closed
    assert spend(DailyBudget(warehouse, "api", 10, lambda: DAY)) == 6


def test_what_costs_against_all_expectation_is_set_aside_before_the_next_question(warehouse):
    budget = DailyBudget(warehouse, "api", 5, lambda: DAY)
    with pytest.raises(BudgetExhausted):
        for _ in range(9):
            budget.take(0)
            budget.settle(0, 1)
    assert budget.spent == 6


def test_answers_that_cost_nothing_or_more_are_settled(warehouse):
    budget = DailyBudget(warehouse, "api", 100, lambda: DAY)
    for cost in (0, 1, 10):
        budget.take(1)
        budget.settle(1, cost)
    budget.close()
    assert budget.spent == 11
    assert noted(warehouse) == {DAY: 11}


def test_midnight_and_other_sources_are_apart(warehouse):
    clock = [DAY]
    budget = DailyBudget(warehouse, "api", 30, lambda: clock[0])
    assert spend(budget) == 30
    budget.observe(0)
    clock[0] = date(2026, 11, 23)
    assert spend(budget) == 30  # what the server said was of the day before
    assert spend(DailyBudget(warehouse, "other", 5, lambda: DAY)) == 5
    assert noted(warehouse) == {DAY: 30, date(2026, 11, 23): 30}
    assert noted(warehouse, "other") == {DAY: 5}


def test_the_server_has_the_last_word(warehouse):
    budget = DailyBudget(warehouse, "api", 1_000, lambda: DAY)
    budget.observe(2)
    budget.take(1)
    budget.settle(1, 1)
    budget.observe(0)
    with pytest.raises(BudgetExhausted, match="0 credits left today"):
        budget.take(1)
    budget.take(0)
    assert budget.left() == 0


def test_what_the_server_has_left_is_spent_to_the_last_and_raises_no_limit(warehouse):
    budget = DailyBudget(warehouse, "api", 100, lambda: DAY)
    budget.observe(10_000)
    assert budget.left() == 100
    budget.observe(1)
    budget.take(1)


def test_a_limit_that_was_lowered_takes_nothing_back_from_what_is_spent(warehouse):
    assert spend(DailyBudget(warehouse, "api", 50, lambda: DAY)) == 50
    lowered = DailyBudget(warehouse, "api", 20, lambda: DAY)
    assert (spend(lowered), lowered.left()) == (0, 0)
    assert noted(warehouse) == {DAY: 50}


def test_at_midnight_what_was_not_spent_is_given_back_to_its_own_day(warehouse):
    clock = [DAY]
    budget = DailyBudget(warehouse, "api", 10_000, lambda: clock[0])
    spend(budget, 3)
    clock[0] = date(2026, 11, 23)
    spend(budget, 2)
    budget.close()
    assert noted(warehouse) == {DAY: 3, clock[0]: 2}
