"""Views over years: which are complete, and growth between those that are.

**When a year is complete.** Publications of a year reach the source late, for months after its end. The ledger knows
how many papers of a year were counted on any day, so the lag is measured, not assumed:

1. The day of a batch is what its source knew: the last partition date of a snapshot window, else the day it was loaded
   (the live API answers with today's state).
2. A corpus is watched from the day its first release was published: what came in before that is a first load and says
   nothing about lag, because works that a snapshot or a backfill brings at once became known at different times.
3. For a year that has been over for d days, look at the earlier years of the same corpus and field, of at least LOW_N
   papers, that were already watched when they had been over for d days. Of each, the share of its papers of today that
   was counted at that age.
4. The year is complete when the median of these shares is at least 0.95 (basis `observed`). Where no earlier year was
   watched at that age, it is complete when it has been over for 18 months (basis `assumed`). A year that is not over is
   never complete.

A corpus that is fetched from the live API alone holds what was asked for: a year of which a month was never fetched
whole (a backfill that goes on tomorrow, or never reached so far back) is not complete, however long it has been over
(basis `not fetched`). A snapshot brings every year, once all its parts were read: it holds each work once, on the date
of its last change, so parts that were left out (`--until`, a first load that goes on tomorrow) hold works of any year.
What was undone was not fetched, and neither it nor what undid it tells of lag.

Ages are counted to the newest day of the corpus's own sources, not to the clock: a copy of an old snapshot does not
grow complete by lying about. Nothing is stored in a cell; a release holds the state of its day as a table.

Whoever shows numbers (`collab report`, questions, exports) asks the view. A batch is held to the assumed part of rule 4
alone (`newest_over`): the counts that it is about to change must not say whether it may change them.
"""

from __future__ import annotations

from datetime import date, timedelta

import sqlalchemy as sa

from schemas.indices.view import (
    LOW_N,
    LOW_N_TEXT,
    View,
    ViewColumn,
    cell,
    count,
    double,
    flag,
    join,
    kept,
    number,
    rate,
)
from schemas.tables import CELL, world_year

COMPLETE_SHARE = 0.95  # of the papers that a year of that age turned out to have
ASSUMED_DAYS = 548  # 18 months
SPANS = (5, 10)  # years of compound growth


def newest_over(as_of: date) -> int:
    """The newest year that has been over for 18 months on a day: complete where no lag was ever observed."""
    return (as_of - timedelta(days=ASSUMED_DAYS)).year - 1


_OVER = "CAST(make_date({0}.year + 1, 1, 1) AS DATE)"  # the first day on which a year is over
_API = "openalex-api"  # SOURCE of tasks/sources/openalex_api.py, which fetches month by month; a test holds it to that
_IS_SNAPSHOT = "right({0}.source, 9) = '-snapshot'"
_LEFT = "snapshot_left"  # SNAPSHOT_LEFT of tasks/validation/volume.py; the same test
_NAMED_DAY = "right(split_part(b.window_name, '.', 1), 10)"
IS_FETCHED = "b.kind = 'works' AND b.source <> 'quarantine' AND b.undone_at IS NULL"
"""Condition on ops.batch b: it brought what its source knew on SOURCE_DAY."""
SOURCE_DAY = (
    f"CASE WHEN {_IS_SNAPSHOT.format('b')} AND {_NAMED_DAY} LIKE '____-__-__' THEN CAST({_NAMED_DAY} AS DATE)"
    " ELSE CAST(b.finished_at AS DATE) END"
)
_LAG = f"""WITH batch_day AS (
    SELECT b.batch_id, b.source, b.finished_at, {IS_FETCHED} AS is_fetched, {SOURCE_DAY} AS day,
        b.undone_at IS NULL AND b.kind <> 'undo' AS is_kept,
        m.value > 0 OR (m.value IS NOT NULL AND b.end_record < b.window_records) AS is_left
    FROM {{ops}}batch b LEFT JOIN {{ops}}metric m ON m.batch_id = b.batch_id AND m.name = '{_LEFT}'
), delta AS (
    SELECT c.corpus, c.field, c.year, b.day, sum(c.papers) AS papers
    FROM {{ops}}world_year_change c JOIN batch_day b ON b.batch_id = c.batch_id
    WHERE c.policy = 'iso' AND b.is_kept GROUP BY c.corpus, c.field, c.year, b.day
), feed AS (
    SELECT DISTINCT c.corpus, b.source
    FROM {{ops}}world_year_change c JOIN batch_day b ON b.batch_id = c.batch_id WHERE c.policy = 'iso' AND b.is_fetched
), fetched AS (
    SELECT f.corpus, b.day, b.finished_at, b.is_left
    FROM feed f JOIN batch_day b ON b.source = f.source WHERE b.is_fetched
), begun AS (
    SELECT f.corpus, min(r.published_at) AS released_at
    FROM (SELECT corpus, min(finished_at) AS first_at FROM fetched WHERE is_left IS NOT TRUE GROUP BY corpus) f
    JOIN {{ops}}release r ON r.published_at >= f.first_at GROUP BY f.corpus
), watched AS (
    SELECT f.corpus, max(f.day) AS as_of, max(CASE WHEN f.finished_at <= g.released_at THEN f.day END) AS since
    FROM fetched f LEFT JOIN begun g ON g.corpus = f.corpus GROUP BY f.corpus
), newest AS (
    SELECT is_left FROM batch_day WHERE is_left IS NOT NULL ORDER BY finished_at DESC LIMIT 1
), asked AS (
    SELECT corpus FROM feed WHERE source = '{_API}' OR {_IS_SNAPSHOT.format("feed")} GROUP BY corpus
    HAVING max(source) = '{_API}' OR (SELECT count(*) FROM newest WHERE is_left) > 0
), slice AS (
    SELECT window_name, landing_id, end_record, window_records, min(finished_at) AS loaded_at,
        count(*) > count(undone_at) AS is_kept
    FROM {{ops}}batch WHERE source = '{_API}' AND kind = 'works' AND window_name LIKE '____-__'
    GROUP BY window_name, landing_id, end_record, window_records
), whole AS (
    SELECT window_name AS name, min(CASE WHEN is_kept THEN 1 ELSE 0 END) AS kept,
        row_number() OVER (PARTITION BY window_name ORDER BY min(loaded_at)) AS place
    FROM slice GROUP BY window_name, landing_id HAVING max(end_record) = max(window_records)
), fetched_year AS (
    SELECT CAST(left(name, 4) AS INTEGER) AS year FROM whole WHERE place = 1 AND kept = 1
    GROUP BY left(name, 4) HAVING count(*) = 12
), aged AS (
    SELECT y.corpus, y.field, y.year, y.papers, x.as_of, x.since,
        CAST(x.as_of - {_OVER.format("y")} AS INTEGER) AS days_over,
        y.corpus IN (SELECT corpus FROM asked) AND y.year NOT IN (SELECT year FROM fetched_year) AS is_partial
    FROM {{mart}}world_year y JOIN watched x ON x.corpus = y.corpus WHERE y.policy = 'iso'
), pairs AS (
    SELECT y.corpus, y.field, y.year, e.year AS earlier, e.papers, {_OVER.format("e")} + y.days_over AS day
    FROM aged y JOIN aged e ON e.corpus = y.corpus AND e.field = y.field AND e.year < y.year
    WHERE y.days_over >= 0 AND e.papers >= {LOW_N} AND y.since <= {_OVER.format("e")} + y.days_over
), shares AS (
    SELECT p.corpus, p.field, p.year, p.earlier,
        CAST(sum(d.papers) AS DOUBLE PRECISION) / max(p.papers) AS share
    FROM pairs p JOIN delta d ON d.corpus = p.corpus AND d.field = p.field AND d.year = p.earlier AND d.day <= p.day
    GROUP BY p.corpus, p.field, p.year, p.earlier
), seen AS (
    SELECT corpus, field, year, count(*) AS years_observed,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY share) AS share_counted
    FROM shares GROUP BY corpus, field, year
)
"""

VIEWS = {
    "completeness": View(
        "Per corpus, field and year whether nearly all of its papers can be expected to be counted, judged by how late"
        " the papers of earlier years came. The same under every territory policy. In a release it is a table: the"
        " state of its day.",
        ("corpus", "field", "year"),
        (
            *kept(world_year, "y", "corpus", "field", "year"),
            count("papers", "y.papers", "counted works of the year so far"),
            ViewColumn("as_of", "y.as_of", sa.Date(), "newest day of which the sources of the corpus told us"),
            number(
                "days_over",
                "y.days_over",
                "days from 1 January after the year to as_of; negative while the year is not over",
                unit="days",
            ),
            rate(
                "share_counted",
                "s.share_counted",
                "median, over earlier years watched at the same age (days_over), of the share of their papers of today"
                " that were counted at that age, by the ledger; the day of a batch is the last date of its window of a"
                " snapshot, else the day it was loaded; undone batches are left out",
                of="papers of those years as of today",
                unit="share, around 0 to 1",
                caveat="null where no earlier year was watched at that age; above 1 where papers were taken out later;"
                " the earlier years may still grow",
                source="observed lag, from ops.world_year_change",
            ),
            number(
                "years_observed",
                "CAST(coalesce(s.years_observed, 0) AS INTEGER)",
                f"earlier years of at least {LOW_N} papers that were watched at that age: the corpus had its first"
                " release (of a snapshot, after all its parts were read), and a paper of the year was counted; a year"
                " that came whole later tells nothing of lag",
                unit="years",
            ),
            flag(
                "is_complete",
                "CASE WHEN y.days_over < 0 OR y.is_partial THEN false WHEN s.years_observed > 0"
                f" THEN s.share_counted >= {COMPLETE_SHARE} ELSE y.days_over >= {ASSUMED_DAYS} END",
                f"whether the year counts as complete: share_counted is at least {COMPLETE_SHARE}, or, with no earlier"
                f" year to tell, the year has been over for 18 months ({ASSUMED_DAYS} days); never before it is over,"
                " nor while a month of it was never fetched from the live API that feeds the corpus without a snapshot,"
                " or with one of which parts were never read",
            ),
            ViewColumn(
                "basis",
                "CASE WHEN y.days_over < 0 THEN 'not over' WHEN y.is_partial THEN 'not fetched'"
                " WHEN s.years_observed > 0 THEN 'observed' ELSE 'assumed' END",
                sa.String(),
                "what is_complete rests on: observed (share_counted), assumed (18 months), not over, or not fetched",
            ),
        ),
        "FROM aged y\n" + join("seen", "s", "y", "LEFT JOIN", on=("corpus", "field", "year")),
        _LAG,
    ),
}

_GROWTH_SOURCE = "bibliometrix, summary: compound annual growth rate (last / first)^(1 / years) - 1"


def _growth(table: str, ends: tuple[str, ...], text: str) -> View:
    """Growth of the papers of a territory or pair."""
    # A year without a row of the territory is one without papers of it.
    papers_before = "CASE WHEN k.is_complete AND k1.is_complete THEN coalesce(b1.papers, 0) END"
    columns = [
        *cell("c", *ends),
        count("papers", "c.papers", "papers of the year"),
        flag("is_complete", "coalesce(k.is_complete, false)", "whether the year counts as complete, see completeness"),
        count(
            "papers_before",
            papers_before,
            "papers of the year before, 0 where there were none; null unless both years are complete",
        ),
        rate(
            "growth",
            f"{double('c.papers - b1.papers')} / nullif(b1.papers, 0)",
            "growth on the year before: (papers - papers_before) / papers_before",
            of="papers of the year before",
            unit="share, 0 is none",
            caveat="null unless both years are complete and there were papers before",
        ),
    ]
    joins = [join("done", "k1", "c", "LEFT JOIN", ("corpus", "field"), year="c.year - 1")]
    named = {end: f"c.{end}" for end in ends}

    def before(years: int) -> str:
        # As part of the key: as a condition beside it, DuckDB compares every row with every other.
        year = f"CASE WHEN k.is_complete AND k{years}.is_complete THEN c.year - {years} END"
        return join("{mart}" + table, f"b{years}", "c", "LEFT JOIN", ("corpus", "policy", "field"), year=year, **named)

    joins.append(before(1))
    for span in SPANS:
        joins += [
            join("done", f"k{span}", "c", "LEFT JOIN", ("corpus", "field"), year=f"c.year - {span}"),
            before(span),
        ]
        columns.append(
            rate(
                f"compound_growth_{span}",
                f"power({double('c.papers')} / nullif(b{span}.papers, 0), CAST(1 AS DOUBLE PRECISION) / {span}) - 1",
                f"compound growth a year over {span} years: (papers / papers {span} years before)^(1/{span}) - 1",
                of=f"papers {span} years before",
                unit="share a year, 0 is none",
                caveat="null unless both years are complete and there were papers in the first",
                source=_GROWTH_SOURCE,
            )
        )
    is_small = f"c.papers < {LOW_N} OR coalesce({papers_before} < {LOW_N}, false)"  # the year before may be unknown
    columns.append(flag("low_n", is_small, LOW_N_TEXT + "; or papers_before is fewer than that, where it is given"))
    rows = [
        f"FROM {{mart}}{table} c",
        join("done", "k", "c", "LEFT JOIN", ("corpus", "field", "year")),
        *joins,
    ]
    if "territory" in ends:
        rows.append("WHERE c.territory <> 'ZZ'")
    ahead = "WITH done AS (SELECT corpus, field, year, is_complete FROM {mart}completeness)\n"
    return View(text, (*CELL, *ends), tuple(columns), "\n".join(rows), ahead)


VIEWS |= {
    "country_growth": _growth(
        "country_year",
        ("territory",),
        "Per territory and year the growth of its papers, on the year before and compound. Growth is given between"
        " complete years only: a year still filling up looks like a fall.",
    ),
    "pair_growth": _growth(
        "pair_year",
        ("territory_a", "territory_b"),
        "Per pair and year the growth of its papers, on the year before and compound, between complete years only.",
    ),
}
