"""Whether a source sends as much as it is used to: the gates that stop a night on half a source.

What can be compared differs by source. A live source says how many works a window of dates holds: that is held against
what it said of the same window before. The list of what changed since the last time has another size every night: it
is held against the median of the last ones. A snapshot says how many records all its parts hold: their sum does not
shrink, whereas each part does, because works move on to the date of their last change. Dates that arrive night by
night, after a first load, are held against the dates before them.
"""

from __future__ import annotations

import math
import statistics
from datetime import date, timedelta
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from schemas import tables as t
from schemas.expectations import Gate
from schemas.reviewed import definitions_digest
from schemas.settings import Settings
from tasks.landing.land import WORKS, Landing
from tasks.sources import openalex_api as api
from tasks.sources import openalex_snapshot as snapshots

HISTORY = 30
FEWEST_DATES = 10
FEWEST_RECORDS = 1_000  # of a usual volume; what is smaller halves by chance
FEWEST_OF_WINDOW = 100  # works that a window held before; the same
SNAPSHOT_RECORDS = "snapshot_records"  # metric: records of all parts of the snapshot that a batch was read from
SNAPSHOT_LEFT = "snapshot_left"  # metric: records of its parts that were unread when the batch's window was taken in
_DATE = "updated_date=%"
_BEFORE_DATE = len(_DATE)  # position of the date in the path of a part, counted from 1


class _Usual(NamedTuple):
    """Earlier volumes."""

    median: float
    smallest: int
    is_enough: bool


def volume_gates(conn: Connection, landing: Landing, settings: Settings) -> list[Gate]:
    """Volume of the window, date or snapshot that a landing belongs to; none for sources without a usual one."""
    if landing.kind != WORKS:
        return []
    if landing.source == snapshots.SOURCE:
        return [_total_gate(conn, landing, settings), _date_gate(conn, landing, settings), _age_gate(conn, landing)]
    if landing.source == api.SOURCE and landing.window == api.UPDATED:
        return [_changes_gate(conn, landing, settings)]
    if landing.source == api.SOURCE and landing.window != api.FUTURE:  # which loses a month at each turn
        return [_window_gate(conn, landing, settings)]
    return []


def landing_metrics(landing: Landing) -> dict[str, float]:
    """Figures of a landing that are kept with its batches."""
    said = {SNAPSHOT_RECORDS: landing.snapshot_records, SNAPSHOT_LEFT: landing.snapshot_left}
    return {name: float(records) for name, records in said.items() if records is not None}


def snapshot_left(conn: Connection) -> int:
    """Records of the snapshot that was read last in parts that nobody has read."""
    return int(_last_said(conn, SNAPSHOT_LEFT) or 0)


def _last_said(conn: Connection, name: str) -> float | None:
    """A figure of the newest batch of a snapshot that has it."""
    of = t.metric.c
    newest: float | None = conn.scalar(
        sa.select(of.value)
        .join_from(t.metric, t.batch, t.batch.c.batch_id == of.batch_id)
        .where(of.name == name, t.batch.c.source == snapshots.SOURCE)
        .order_by(t.batch.c.finished_at.desc())
        .limit(1)
    )
    return newest


def _total_gate(conn: Connection, landing: Landing, settings: Settings) -> Gate:
    """All records of the snapshot beside those of the snapshot that was read last."""
    last = _last_said(conn, SNAPSHOT_RECORDS)
    total = landing.snapshot_records
    why = (
        f"the manifest lists {total or 0:,} records in all, that of the snapshot before {last or 0:,.0f}: a part of the"
        " copy is missing, or it is another one"
    )
    is_judged = total is not None and last is not None and last >= FEWEST_RECORDS
    low = settings.min_volume_share * (last or 0)
    return _volume_gate("snapshot_volume", total or 0, last or 0, low, why, is_judged, "too few records before")


def _date_gate(conn: Connection, landing: Landing, settings: Settings) -> Gate:
    """The new date of a landing that holds least beside what is usual for the dates before it.

    A first load is no series: records have moved on from its older dates. It ends with the first release.
    """
    part, day = t.part.c, sa.func.substr(t.part.c.path, _BEFORE_DATE, 10)
    loaded: dict[str, int] = dict(
        conn.execute(
            sa.select(day, sa.cast(sa.func.sum(part.records), sa.BigInteger))
            .where(part.source == landing.source, part.path.like(_DATE))
            .group_by(day)
        )
        .tuples()
        .all()
    )
    newest = max(loaded, default="")
    new = {name: records for name, records in landing.dates.items() if name > newest}
    usual = _usual([loaded[name] for name in sorted(loaded)[-HISTORY:]], FEWEST_DATES)
    name, records = min(new.items(), key=lambda found: found[1], default=("no new date", 0))
    is_in_series = conn.scalar(sa.select(sa.func.count()).select_from(t.release)) or 0
    why = (
        f"{name} holds {records:,} records, half of the {HISTORY} dates before it {usual.median:,.0f} or more, none"
        f" fewer than {usual.smallest:,}: the snapshot is not whole, or a quiet day"
    )
    is_judged = bool(new and is_in_series and usual.is_enough)
    low = min(settings.min_volume_share * usual.median, usual.smallest)
    if_not = "no new date, or too few before it"
    return _volume_gate("date_volume", records, usual.median, low, why, is_judged, if_not)


def _age_gate(conn: Connection, landing: Landing) -> Gate:
    """Days that the newest date of the snapshot lies before the newest one that was loaded: it should be none."""
    part = t.part.c
    newest = conn.scalar(
        sa.select(sa.func.max(sa.func.substr(part.path, _BEFORE_DATE, 10))).where(
            part.source == landing.source, part.path.like(_DATE)
        )
    )
    ends = landing.snapshot_ends
    behind = (date.fromisoformat(newest) - date.fromisoformat(ends)) if newest and ends else timedelta()
    why = (
        f"the snapshot ends on {ends}, {newest} was loaded before: it is an older copy and brings nothing new; see"
        " what fetches it and COLLAB_SNAPSHOT"
    )
    return Gate(
        "snapshot_age_days", "warn", float(max(behind.days, 0)), 0, 0, why, bool(newest and ends), "a first load"
    )


def _window_gate(conn: Connection, landing: Landing, settings: Settings) -> Gate:
    """Works of a window beside what the source said it holds when it was last looked at by the same definitions."""
    earlier = _said_before(conn, landing, newest=1)
    last, said = earlier[0] if earlier else 0, landing.source_records or 0
    why = (
        f"OpenAlex says {landing.window} holds {said:,} works, {last:,} when it was last looked at: works do not leave"
        " their dates in such numbers"
    )
    low = settings.min_volume_share * last
    return _volume_gate("window_volume", said, last, low, why, last >= FEWEST_OF_WINDOW, "too few works before")


def _changes_gate(conn: Connection, landing: Landing, settings: Settings) -> Gate:
    """Works that changed since the last time beside the last such lists."""
    usual = _usual(_said_before(conn, landing, newest=HISTORY), FEWEST_DATES)
    said = landing.source_records or 0
    why = (
        f"OpenAlex lists {said:,} changed works, half of the last {HISTORY} lists had {usual.median:,.0f} or more, none"
        f" fewer than {usual.smallest:,}: it may not be whole, or nothing happened"
    )
    low = min(settings.min_volume_share * usual.median, usual.smallest)
    return _volume_gate("changes_volume", said, usual.median, low, why, usual.is_enough, "too few lists before")


def _said_before(conn: Connection, landing: Landing, newest: int) -> list[int]:
    """What the source said that earlier landings of the window hold, newest first. The batches of one landing all say
    the same; other definitions ask for other works."""
    of = t.batch.c
    query = (
        sa.select(sa.func.max(of.source_records))
        .where(
            of.source == landing.source,
            of.kind == landing.kind,
            of.window_name == landing.window,
            of.landing_id != landing.landing_id,
            of.source_records.is_not(None),
            of.undone_at.is_(None),
            of.definitions == definitions_digest(),
        )
        .group_by(of.landing_id)
        .order_by(sa.func.max(of.finished_at).desc())
        .limit(newest)
    )
    return [records for records in conn.scalars(query) if records is not None]


def _usual(earlier: list[int], fewest: int) -> _Usual:
    if not earlier:
        return _Usual(0.0, 0, is_enough=False)
    median = statistics.median(earlier)
    return _Usual(float(median), min(earlier), len(earlier) >= fewest and median >= FEWEST_RECORDS)


def _lowered(observed: float, usual: float) -> str:
    """The setting that lets a volume pass beside the usual one."""
    percent = math.floor(100 * observed / usual) if usual else 0
    share = (percent - (percent / 100 * usual > observed)) / 100  # 0.07 * 100 is a little more than 7
    return f"COLLAB_MIN_VOLUME_SHARE={share:.2f}"


def _volume_gate(name: str, observed: float, usual: float, low: float, why: str, is_judged: bool, if_not: str) -> Gate:
    """A volume with its lower limit, and how to go on: wait for the source, or let this volume pass once."""
    lifted_by = _lowered(observed, usual)
    remedy = f"wait until the source is whole and run again; if it is right, run once with {lifted_by}"
    return Gate(name, "stop", float(observed), low, None, f"{why}; {remedy}", is_judged, if_not, lifted_by)
