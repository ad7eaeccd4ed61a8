"""Which year is complete is one answer: report, questions and exports show the same one, and batches are held to it."""

from __future__ import annotations

from datetime import date
from io import StringIO

import pytest
from rich.console import Console

from flows.show import report as show_report
from schemas.settings import Settings
from tasks.loading.source_days import newest_days
from tasks.releases.release import open_release
from tasks.releases.report import Report, read_report
from tasks.storage.warehouse import Warehouse
from tests.factory import run, work, write_snapshot


def report_of(settings: Settings) -> tuple[Report, str]:
    """The report of a warehouse, and as it is printed."""
    with Warehouse.open(settings, create=True) as warehouse, warehouse.reading() as conn:
        found = read_report(conn, settings, "all")
    printed = StringIO()
    show_report.report(Console(file=printed, width=200), found)
    return found, printed.getvalue()


@pytest.mark.parametrize(
    ("newest_day", "years", "shown", "is_complete"),
    [
        ("2026-11-01", (2022, 2023, 2024), 2024, True),  # over for 22 months
        ("2026-03-01", (2022, 2023, 2024), 2023, True),  # over for 14 months: works of 2024 still arrive
        ("2024-03-01", (2021, 2022, 2023, 2024), 2021, True),  # an old copy, whatever today's date is
        ("2026-11-01", (1998,), 1998, True),
        ("2025-02-01", (2024, 2025), 2025, False),  # none is: the newest, and it is said
    ],
)
def test_report_and_questions_show_the_same_year(tmp_path, settings_for, newest_day, years, shown, is_complete):
    works = [work(11 + at, publication_year=year, updated=newest_day) for at, year in enumerate(years)]
    settings = settings_for(write_snapshot(tmp_path / "s", {newest_day: works}))
    run(settings)
    found, printed = report_of(settings)
    assert (found.year, found.is_complete) == (shown, is_complete)
    assert ("No complete year yet" in printed) != is_complete
    with open_release(settings) as release:
        assert release.slice("openalex", "iso", "all").last == shown
        assert (shown in release.complete_years("openalex", "all")) == is_complete


def test_an_empty_warehouse_has_no_year(settings_for):
    found, printed = report_of(settings_for())
    assert (found.year, found.world, found.is_complete) == (None, None, False)
    assert "No counted works yet" in printed
    assert "No complete year" not in printed


def test_batches_are_held_to_the_day_of_their_source(tmp_path, settings_for):
    """Corrections of 2021 in a copy of 2022 are not measured as if all of 2021 had been in for years."""
    settings = settings_for(write_snapshot(tmp_path / "s", {"2022-03-01": [work(11)], "2022-03-05": [work(12)]}))
    run(settings)
    with Warehouse.open(settings) as warehouse, warehouse.reading() as conn:
        assert newest_days(conn) == {"openalex-snapshot": date(2022, 3, 5)}
