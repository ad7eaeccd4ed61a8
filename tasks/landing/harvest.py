"""Works from the live OpenAlex API, window by window: what tasks/sources fetches, held against what the warehouse
knows."""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from filelock import FileLock, Timeout

from schemas import tables as t
from schemas.errors import SourceError, SourceUnavailable, UsageError, WarehouseError
from schemas.fields import load_definitions
from schemas.identifiers import OPENALEX
from schemas.words import counted
from tasks.landing import sightings
from tasks.landing.intake import Expected, Place
from tasks.landing.land import DELETIONS, MANIFEST, WORKS, Incoming, Landing, read_landing
from tasks.landing.sightings import sweeps
from tasks.landing.spending import DailyBudget
from tasks.landing.undecided import undecided_since, undecided_windows
from tasks.reading.parsed import CORPUS
from tasks.sources import openalex_api as api
from tasks.sources.openalex_client import RUN_AGAIN, OpenAlex
from tasks.sources.openalex_pages import MOST_SKIPPED, WindowFetch, blocks_of, digest_of, is_record_of
from tasks.storage.warehouse import utc_now

# Window, the day it was begun, how often it was loaded before; a landing has a digest of what it holds before the last
# (see tasks/landing/sightings.py), because runs of two homes may fetch the same window at two moments.
_PAGES = re.compile(r"(.+)\.(\d{4}-\d{2}-\d{2})\.r(\d+)")
OWN_EXPANSION = 1_100  # deflate cannot do more
PAGES_KEPT_DAYS = 14  # after the last page; a window that nobody went on with is begun anew
VANISHED = "vanished"
FEWEST_VANISHED = 20  # works of a window that may vanish, however few it holds
log = logging.getLogger("collab")


class ApiIntake:
    """A night, or a backfill, on the live API."""

    source = api.SOURCE
    retries = 0  # the client tries each request again
    windows_stand_alone = True

    def __init__(
        self,
        place: Place,
        backfill: tuple[date, date] | None = None,
        rescan_days: int | None = None,
        today: Callable[[], date] = lambda: utc_now().date(),
    ) -> None:
        """Hold the folder of pages, alone.

        Args:
            backfill: months to fetch that were never seen; default is a night's work.
            rescan_days: look at every stored month again that was not looked at in so many days; default is a night's
                work.
            today: the clock, UTC. A run that crosses midnight keeps the day it was planned on.

        Raises:
            UsageError: no key is set.
            SourceError: another run is fetching into the same COLLAB_HOME.
        """
        self._place, self._backfill, self._rescan_days = place, backfill, rescan_days
        self._today = today()
        self._left: set[str] = set()
        self._calls_left = 0
        self._is_doubtful = False
        self._counts: dict[str, int] = {}
        settings = place.settings
        self._folder = settings.harvest
        self.budget = DailyBudget(place.warehouse, self.source, settings.openalex_daily_credits, today)
        self.client = OpenAlex(settings, self.budget)
        self._queries = api.queries_of(load_definitions(), settings.scope)
        with place.warehouse.reading() as conn:
            since = undecided_since(conn, CORPUS)  # what was only listed before then is of no use
        asked = (settings.openalex_url, settings.scope, self._queries, *([since] if since else []))
        self._question = hashlib.sha256(repr(asked).encode()).hexdigest()[:8]
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self._folder / ".lock", thread_local=False)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise SourceError(
                "another run is fetching from the OpenAlex API into this COLLAB_HOME",
                "wait until it has ended: it does the same work",
            ) from None
        except OSError as exc:
            raise UsageError(
                f"cannot make folder {self._folder}: {exc.strerror}", "set COLLAB_HOME to a folder you may write"
            ) from None

    def close(self) -> None:
        """Give back what was not spent, and the folder."""
        self.client.close()
        self._lock.release()
        try:
            self.budget.close()
        except WarehouseError as exc:
            log.warning("credits set aside and not spent count as spent today: %s", exc)

    def plan(self) -> list[api.Window]:
        """Windows in the order in which they are fetched; whole, if the definitions in force did not decide them."""
        with self._place.warehouse.reading() as conn:
            undecided = undecided_windows(conn)
        return [
            replace(window, is_undecided=True, why="other definitions") if window.name in undecided else window
            for window in self._plan(undecided)
        ]

    def _plan(self, undecided: set[str]) -> list[api.Window]:
        settings, begun = self._place.settings, self._clear_outdated()
        with self._place.warehouse.reading() as conn:
            swept = {name: sweep for name, sweep in sweeps(conn).items() if sweep.day <= self._today}
            stored = {month or api.UNDATED: count for month, count in sightings.stored_months(conn).items()}
            newest = sightings.newest_change(conn)
        if self._backfill:
            first, last = self._backfill
            windows = api.plan_backfill(first, min(last, self._today), swept, begun)
            return self._counting_down(windows)
        if self._rescan_days is not None:
            months = {*stored, *swept, *begun} - {api.FUTURE, api.UPDATED}
            return self._counting_down(api.plan_all(self._today, months, swept, begun, self._rescan_days, undecided))
        nights = settings.openalex_rescan_nights
        if settings.openalex_sync == "updated":
            since = self._since(swept, newest)
            windows = api.plan_updated(self._today, since, {*stored, *swept}, swept, begun, nights)
        else:
            days = settings.openalex_window_days
            windows = api.plan_night(self._today, stored, swept, begun, window_days=days, rescan_nights=nights)
        if not windows:
            log.info("every window was looked at today (UTC) already")
        if not stored and not swept and settings.openalex_sync == "updated":
            log.warning("nothing is stored yet, and by date of change only changes come: run `collab backfill` as well")
        return windows

    def estimate(self, windows: Sequence[api.Window]) -> list[Expected]:
        """Works and list calls of each window; those never seen are counted by the source, months without gaps
        together, for a credit a query. What changed in a window seen before costs one more call per 100 works.

        Raises:
            BudgetExhausted: there are no credits to ask with.
        """
        known = [window for window in windows if window.expected is not None or window.is_undated]
        asked = [window for window in windows if window not in known]
        found = [
            Expected(window.name, window.why, window.expected or 0, self._calls(window.expected or 0, 1))
            for window in known
        ]
        for joined in api.join_months(asked):
            works = sum(self._count(part.filter) for part in joined.slices(self._queries))
            months = sum(joined.covers(window) for window in asked)
            found.append(Expected(joined.name, joined.why, works, self._calls(works, months)))
        return found

    def _count(self, query: str) -> int:
        """Works that a filter admits, asked once in a run."""
        if query not in self._counts:
            self._counts[query] = self.client.count(query)
        return self._counts[query]

    def _calls(self, works: int, windows: int) -> int:
        return api.calls_for(works, windows * len(self._queries))

    def land_works(self, window: api.Window) -> Landing:
        """Fetch a window, reconcile it, and land what is new or changed.

        Raises:
            SourceUnavailable: the source does not answer, or contradicts itself; what was fetched is kept.
            BudgetExhausted: the same for the day's credits.
        """
        found = self._unloaded(window)
        if found is not None:
            self._count_down(window, found)
            return found
        stem, times = self._begun(window)
        folder = self._folder / f"{stem}.{times}"
        fetch = WindowFetch(self.client, self.budget, folder, window, self._queries)
        fetched = fetch.run(lambda listed: self._wanted(window, listed, folder))
        if fetched.absent:
            with self._place.warehouse.transaction() as conn:
                noted = sightings.note_vanished(conn, fetched.absent, self._today)
            if noted:
                log.info("%s: %s stored works are gone; they are asked for again on a later night", window.name, noted)
        held = {name: pages for name, pages in fetched.pages.items() if any(page.head.records for page in pages)}
        landing = self._place.land(
            Landing(
                f"{stem}.{digest_of(held.values())}.{times}",
                self.source,
                window.name,
                WORKS,
                parts=(),
                source_records=fetched.source_records,
                source_listed=fetched.source_listed,
                credits=fetched.credits,
                left_out=fetched.left_out,
                question=self._question,
            ),
            (
                Incoming(f"{window.name}/{name}", blocks_of(pages), None, sum(page.head.records for page in pages))
                for name, pages in held.items()
            ),
            OWN_EXPANSION,
        )
        shutil.rmtree(folder, ignore_errors=True)
        self._count_down(window, landing)
        return landing

    def land_deletions(self) -> Landing | None:
        """Ask again, one by one and at no cost, for the works that an earlier night missed; those still missing are
        deletions.

        A deletion counts as of the day of the version that is stored, so that any later version brings the work back.
        """
        if self._backfill or self._is_doubtful:  # an index that is not whole proves no deletion
            return None
        with self._place.warehouse.reading() as conn:
            missed = sightings.missed_before(conn, self._today)
            stored = sightings.last_versions(conn, missed)
        gone: list[int] = []
        back: list[int] = []
        failed: list[SourceUnavailable] = []
        for work_id in missed:
            try:
                (back if is_record_of(work_id, self.client.work(work_id)) else gone).append(work_id)
            except SourceUnavailable as exc:
                failed.append(exc)  # asked again on the next night
                if len(failed) > MOST_SKIPPED:
                    raise
        if back:
            with self._place.warehouse.transaction() as conn:
                sightings.forget_vanished(conn, back)
        if not gone:
            return None
        content = "".join(f"{OPENALEX}W{work_id},{stored[work_id]:%Y-%m-%d}\n" for work_id in gone).encode()
        identity = self._place.identify(self.source, f"{VANISHED}-{self._today}", DELETIONS, content)
        return self._place.land_lines(identity, VANISHED, content, len(gone))

    def is_there(self) -> bool:
        """Whether the API answers a question that costs nothing."""
        try:
            self.client.allowance()
        except SourceError:
            return False
        return True

    def describe(self) -> str:
        """Credits spent and left, and how long a backfill or a rescan will go on."""
        cost = f"{self.budget.spent:,} OpenAlex credits spent, {self.budget.left():,} left today"
        return f"{cost}, {self._rest()}" if self._backfill or self._rescan_days is not None else cost

    def _counting_down(self, windows: list[api.Window]) -> list[api.Window]:
        """The windows of a run that is to end with none left, and how many calls they will take."""
        self._left = {window.name for window in windows}
        self._calls_left = sum(found.calls for found in self.estimate(windows))
        return windows

    def _count_down(self, window: api.Window, landing: Landing) -> None:
        if window.name in self._left:
            self._left.remove(window.name)
            self._calls_left -= self._calls(landing.source_records or 0, 1)
            log.info("%s: %s works fetched; %s", window.name, f"{landing.source_records:,}", self._rest())

    def _rest(self) -> str:
        """Months left, and what they will cost."""
        if not self._left:
            return "no months left"
        calls = max(self._calls_left, len(self._left) * len(self._queries))
        days = calls / self._place.settings.openalex_daily_credits
        cost = f"about {calls:,} credits" + (f" or {days:.1f} days" if days > 1 else "")
        return f"{counted(len(self._left), 'month')} left, {cost}"

    def _wanted(self, window: api.Window, listed: dict[int, datetime | None], folder: Path) -> Sequence[int]:
        """Works of a window to fetch by id: what changed, if it was listed only, and what is stored but not listed
        any more: deleted, moved to another date, or no longer of a topic that is admitted.

        Raises:
            SourceUnavailable: so many are missing that it is the source which is not whole.
        """
        with self._place.warehouse.reading() as conn:
            has_returned = sightings.any_vanished(conn, listed)
        if has_returned:  # rarely: the lock of writers is not taken for nothing
            with self._place.warehouse.transaction() as conn:
                sightings.forget_vanished(conn, listed)
        with self._place.warehouse.reading() as conn:
            wanted = sightings.changed(conn, listed) if window.lists_first else set()
            if window.updated_since is None:
                stored = sightings.stored_between(conn, window.first, window.last)
                missing = stored - listed.keys()
                allowed = max(self._place.settings.max_vanished_share * len(stored), FEWEST_VANISHED)
                may_be_many = window.is_undated or window.is_undecided  # definitions that admit less list less
                if not may_be_many and len(missing) > allowed:
                    shutil.rmtree(folder)  # nobody shall go on with this list
                    self._is_doubtful = True
                    raise SourceUnavailable(
                        f"OpenAlex no longer lists {len(missing):,} of {len(stored):,} stored works of {window.name},"
                        " more than COLLAB_MAX_VANISHED_SHARE allows",
                        RUN_AGAIN,
                    )
                wanted |= missing
        return sorted(wanted)

    def _begun(self, window: api.Window) -> tuple[str, str]:
        """Name of a window's pages, as window with the day it was begun, and how often it was loaded before; pages that
        are kept are found again."""
        times = f"r{self._place.times_loaded(self.source, window.name)}"
        begun = sorted(entry.name for entry in self._folder.glob(f"{window.name}.*.{times}"))
        return (begun[-1].removesuffix(f".{times}") if begun else f"{window.name}.{self._today}"), times

    def _unloaded(self, window: api.Window) -> Landing | None:
        """A landing of the window that a run left half-way, before or while it was loaded. One that a gate stopped on
        an earlier day is fetched anew: the source may have been mended."""
        times = self._place.times_loaded(self.source, window.name)
        landed = (self._place.settings.landing / self.source).glob(f"{window.name}.*.r{times}/{MANIFEST}")
        newest = max(landed, key=lambda manifest: manifest.stat().st_mtime, default=None)
        if newest is None:
            return None
        landing = read_landing(newest.parent)
        if landing.question != self._question:  # of another warehouse, or another server
            return None
        of, looked_at = t.batch.c, t.validation_result.c
        mine = looked_at.batch_id.startswith(f"{self.source}/{landing.landing_id}/", autoescape=True)
        with self._place.warehouse.reading() as conn:
            is_begun = conn.scalar(sa.select(sa.func.count()).where(of.landing_id == landing.landing_id))
            was_stopped = conn.scalar(sa.select(sa.func.count()).where(mine))
        landed_on = datetime.fromtimestamp(newest.stat().st_mtime, UTC).date()
        return landing if is_begun or not was_stopped or landed_on == self._today else None

    def _clear_outdated(self) -> frozenset[str]:
        """Remove pages of windows that were loaded meanwhile or begun long ago; names of the windows that remain."""
        remaining = set()
        for folder in [entry for entry in self._folder.iterdir() if entry.is_dir()]:
            match = _PAGES.fullmatch(folder.name)
            times = self._place.times_loaded(self.source, match[1]) if match else 0
            newest = max(entry.stat().st_mtime for entry in (folder, *folder.rglob("*")))
            is_recent = time.time() - newest < PAGES_KEPT_DAYS * 86_400
            if match and int(match[3]) == times and is_recent:
                remaining.add(match[1])
            else:
                shutil.rmtree(folder, ignore_errors=True)
        return frozenset(remaining)

    def _since(self, swept: dict[str, api.Sweep], newest: datetime | None) -> date:
        """Date from which to ask for changes: the day of the last time with the overlap; the first time, the newest
        date of change that is stored; without any, as far back as the window of publication dates."""
        settings = self._place.settings
        overlap = timedelta(days=settings.openalex_overlap_days)
        if api.UPDATED in swept:
            return swept[api.UPDATED].day - overlap
        if newest is not None:
            return newest.date() - overlap
        return self._today - timedelta(days=settings.openalex_window_days)
