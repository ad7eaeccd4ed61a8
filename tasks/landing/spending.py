"""Credits of a source's day: how many runs have set aside, kept in the warehouse so that no run, killed or beside
another, takes the sum over the limit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import sqlalchemy as sa
from sqlalchemy import Connection

from schemas import tables as t
from schemas.errors import BudgetExhausted
from tasks.storage.warehouse import Warehouse, utc_now

SET_ASIDE = 25  # most credits at a time: what a killed run does not give back; a hundredth of a small limit


class DailyBudget:
    """What this run may spend of a day's credits."""

    def __init__(
        self, warehouse: Warehouse, source: str, limit: int, today: Callable[[], date] = lambda: utc_now().date()
    ) -> None:
        """Nothing is set aside yet.

        Args:
            limit: most credits of all runs in a UTC day.
            today: the clock.
        """
        self._warehouse, self._source, self._limit, self._today = warehouse, source, limit, today
        self._day = today()
        self._portion = max(1, min(SET_ASIDE, limit // 100))
        self._aside = 0
        self._remaining: int | None = None
        self.spent = 0

    def take(self, credits: int) -> None:
        """Set credits aside for a request.

        Raises:
            BudgetExhausted: the limit of the settings, or what the server says is left, does not allow it.
        """
        if not credits and self._aside >= 0:
            return
        if self._today() != self._day:
            self.close()
            self._day, self._remaining = self._today(), None
        if credits and self._remaining is not None and self._remaining < credits:
            raise BudgetExhausted(
                f"the OpenAlex key has {self._remaining} credits left today",
                "run again after midnight UTC; it goes on from there",
            )
        if self._aside < credits:
            self._aside += self._set_aside(max(credits - self._aside, self._portion))
        if self._aside < credits:
            raise BudgetExhausted(
                f"the {self._limit:,} credits of COLLAB_OPENALEX_DAILY_CREDITS are spent",
                "run again after midnight UTC, or raise the limit; it goes on from there",
            )
        self._aside -= credits

    def settle(self, taken: int, spent: int) -> None:
        """Say what the request did cost."""
        self.spent += spent
        self._aside += taken - spent

    def observe(self, remaining: int) -> None:
        """Note what the server says is left of the day."""
        self._remaining = remaining

    def left(self) -> int:
        """Credits that may still be spent today."""
        with self._warehouse.reading() as conn:
            mine = self._limit - set_aside(conn, self._source, self._today()) + self._aside
        return max(mine if self._remaining is None else min(mine, self._remaining), 0)

    def close(self) -> None:
        """Give back what was set aside and not spent."""
        if self._aside:
            self._set_aside(-self._aside)
            self._aside = 0

    def _set_aside(self, credits: int) -> int:
        """Note credits as set aside, as many of them as the limit allows; returns how many."""
        of = t.spending.c
        mine = sa.and_(of.source == self._source, of.day == self._day)
        with self._warehouse.transaction() as conn:
            already = set_aside(conn, self._source, self._day)
            allowed = min(credits, max(self._limit - already, 0))
            if allowed:
                conn.execute(sa.delete(t.spending).where(mine))
                row = {"source": self._source, "day": self._day, "credits": already + allowed}
                conn.execute(t.spending.insert(), row)
        return allowed


def set_aside(conn: Connection, source: str, day: date) -> int:
    """Credits of a day that runs have spent or set aside."""
    of = t.spending.c
    return conn.scalar(sa.select(of.credits).where(of.source == source, of.day == day)) or 0
