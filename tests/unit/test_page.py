"""What a run page says: truthful about what was written, with the way on."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from flows.orchestration import page
from flows.orchestration.page import Night
from flows.rerun import command_of
from flows.steps import Summary
from schemas.errors import BudgetExhausted, GateStopped, SourceError, SourceUnavailable, UsageError
from schemas.tables import COUNTS
from tasks.batches.batch import Outcome
from tasks.loading.ledger import Moved
from tasks.releases.publish import Release
from tasks.validation.validate import Result
from tests.pages import outside_code


def row(batch_id="s/l/00000000", **counts):
    return {
        "batch_id": batch_id,
        "window_name": batch_id,
        "first_record": 0,
        "source_records": None,
        **dict.fromkeys(COUNTS, 0),
        **counts,
    }


def rule(name="year_range", severity="reject", success=False, **more):
    return Result(
        **{
            "suite": "work",
            "rule": name,
            "severity": severity,
            "success": success,
            "observed": "4 of 9",
            "expected": "1900 <= year <= 2027",
            "unexpected_count": 4,
            "element_count": 9,
            "sample": "W1: <b>",
        }
        | more
    )


BAD = rule("quarantined_share", "stop", suite="gates", observed="0.4", expected="at most 0.05", sample="so many")
STOP = GateStopped("batch s/l/1 stopped: quarantined_share is 0.4", "see `collab status`", "s/l/1", (BAD, rule()))
COMMAND = "collab run --source openalex-snapshot"


@pytest.mark.parametrize(
    ("flow", "parameters", "command"),
    [
        (
            "nightly",
            {"source": "openalex-snapshot", "snapshot": "/a b", "until": date(2026, 1, 2), "venue_corpus": "venues"},
            "collab run --source openalex-snapshot --snapshot '/a b' --until 2026-01-02",
        ),
        (
            "nightly",
            {"source": "venue-list", "snapshot": "/s", "venue_list": "l.csv", "venue_corpus": "mine"},
            "collab run --source venue-list --list l.csv --corpus mine",
        ),
        ("nightly", {"source": "openalex-api", "snapshot": "/s"}, "collab run --source openalex-api"),
        (
            "backfill",
            {"first": date(2024, 1, 1), "last": "2024-03-31"},
            "collab backfill --from 2024-01-01 --to 2024-03-31",
        ),
        (
            "rescan",
            {"source": "openalex-api", "unseen_days": 30},
            "collab rescan --source openalex-api --unseen-days 30",
        ),
        ("rescan", {"source": "openalex-api", "unseen_days": 0}, "collab rescan --source openalex-api --unseen-days 0"),
        ("nightly", {"source": "openalex-snapshot", "snapshot": "https://me:secret@host/x"}, COMMAND),
        ("nightly", {"source": "openalex-snapshot", "snapshot": "https://host/x?sig=secret"}, COMMAND),
        (
            "nightly",
            {"source": "openalex-snapshot", "snapshot": "s3://me@store/why?"},
            "collab run --source openalex-snapshot --snapshot 's3://me@store/why?'",
        ),
        (
            "nightly",
            {"source": "venue-list", "venue_list": "a@b?.csv", "venue_corpus": "mine"},
            "collab run --source venue-list --list 'a@b?.csv' --corpus mine",
        ),
        (
            "nightly",
            {"source": "venue-list", "venue_list": "https://host/l.csv?token=t", "venue_corpus": "mine"},
            "collab run --source venue-list",
        ),
        ("quarantine-retry", {}, "collab quarantine retry"),
        ("verify", {}, "collab verify"),
        ("another", {}, None),
    ],
)
def test_the_command_that_goes_on_is_one_that_can_be_pasted(flow, parameters, command):
    assert command_of(flow, parameters) == command


def test_a_stopped_night_names_rule_figure_limit_what_stays_and_the_way_on():
    words = page.bad_end(Night(COMMAND, [row(fetched=7, new=7)], current="2026-01-01.1"), STOP)
    for text in (words.line, words.text):
        assert f"`{COMMAND}`" in text
        assert "1 batch committed" in text
    assert words.line.startswith("RED: `quarantined_share` is 0.4, limit at most 0.05; batch `s/l/1` was stopped")
    assert "quarantined_share is 0.4" in words.text
    assert "rule `quarantined_share`: observed **0.4**, limit at most 0.05 (so many)" in words.text
    assert "year_range" not in words.text  # it stopped nothing
    assert "7 fetched, 7 new" in words.text
    assert "readers see release `2026-01-01.1`; the next run that ends well publishes what is committed" in words.text
    assert "See `collab status`" in words.text


def test_a_night_that_wrote_nothing_says_so():
    words = page.bad_end(Night(COMMAND), SourceUnavailable("no answer from <b>", "run again later"))
    assert "Nothing written" in words.line
    assert "the tables are as they were" in words.text
    assert "there is no release yet" in words.text
    assert "publishes what is committed" not in words.text
    assert "<b>" not in outside_code(words.text)


def test_what_came_before_a_failure_is_published_and_said():
    night = Night("collab run --source openalex-api", [row(fetched=1, new=1)], release="2026-01-01.2")
    words = page.bad_end(night, SourceError("1 of 3 windows could not be fetched", "run again for the rest"))
    assert "Release `2026-01-01.2` holds all that is committed" in words.text
    words = page.bad_end(night, BudgetExhausted("10,000 credits are used up", "run again after midnight UTC"))
    assert "Ended early" in words.text
    assert "Run again after midnight UTC" in words.text


def test_a_defect_is_called_so():
    words = page.bad_end(Night(None), ZeroDivisionError("division by zero"))
    assert "`ZeroDivisionError`: division by zero" in words.text
    assert "*Retry*" in words.text


def test_a_good_night_says_what_to_look_at_only_if_there_is_something():
    words = page.good_end(Night(COMMAND, [row(fetched=2, new=2)], release="2026-01-01.1", cost="3 credits"))
    assert "release `2026-01-01.1` is out" in words.line
    assert "Look at" not in words.text
    assert "Warnings" not in words.text
    assert "3 credits" in words.text
    warned = Night(COMMAND, [row(fetched=2, new=1, quarantined=1)], results={"b": [rule("mojibake_rate", "warn")]})
    words = page.good_end(warned)
    assert "no cell changed, so no new release, 1 of 2 records refused." in words.line
    assert "Records refused: 1 of 2;" in words.text
    assert "`mojibake_rate`" in words.text


def test_a_good_night_that_moved_no_cell_leaves_nothing_to_publish():
    words = page.good_end(Night(COMMAND, [row(fetched=2, unchanged=2)], current="2026-01-01.1"))
    assert "Nothing new, and nothing waits: readers see release `2026-01-01.1`." in words.text
    assert "publish" not in words.text.split("**Published.**")[1]
    assert words.text.endswith("**Go on.** Nothing to do.")


def test_a_retry_that_refused_all_again_says_so_and_what_to_do():
    words = page.good_end(Night("collab quarantine retry", [row(fetched=20, quarantined=20)], current="2026-01-01.1"))
    assert words.line.startswith("Done: no cell changed, so no new release, all 20 records refused.")
    assert "Nothing to do" not in words.text
    assert "When the cause is mended: `collab quarantine retry`" in words.text


def test_a_run_that_was_given_wrong_parameters_is_not_told_to_repeat_them():
    message = (
        "Validation of flow parameters failed with error: ParameterTypeError: Flow run received invalid parameters:\n"
        " - source: Input should be <b> or 'venue-list'\n - until: Input should be a valid date"
    )
    words = page.silent_end(Night(f"{COMMAND} --until 2026-13-02"), "Failed", message)
    for text in (words.line, words.text):
        assert "until: Input should be a valid date" in text
        assert "`collab run --help`" in text
        assert "2026-13-02" not in text
        assert "\\n" not in text
        assert "<b>" not in outside_code(text)
    assert words.line.startswith("RED: wrong parameters: source: Input should be `<b>` or")
    assert "**First.** Correct the parameters" in words.text
    assert "Running again is safe" not in words.text
    assert "`collab --help`" in page.silent_end(Night(None), "Failed", message, "in use").line


def test_a_run_with_a_wrong_setting_is_told_to_mend_it_first():
    message = "Flow run encountered an exception: UsageError: COLLAB_SNAPSHOT: no <b> in an address -> copy the files"
    words = page.silent_end(Night(COMMAND, current="2026-01-01.1"), "Failed", message)
    assert words.line.startswith("RED: COLLAB_SNAPSHOT: no `<b>` in an address. Nothing written. Go on, once that is")
    assert "**First.** Copy the files.\n" in words.text
    assert f"**Go on.** Once that is mended (else the same is refused again): `{COMMAND}`" in words.text
    assert "*Retry* takes the parameters of this run again" in words.text
    assert "**Written.** Nothing: it was refused before it began.\n" in words.text
    refused = "UsageError: COLLAB_SCOP is not a setting -> did you mean COLLAB_SCOPE?"
    words = page.silent_end(Night("collab verify"), "Failed", refused, "COLLAB_SCOP is not a setting")
    assert "**First.** Did you mean COLLAB_SCOPE?\n" in words.text
    assert "`collab verify` on the worker's machine" in words.text
    assert "(else the same is refused again)" in page.bad_end(Night(COMMAND), UsageError("no source", "set one")).text


def test_a_killed_run_is_told_from_what_the_warehouse_holds():
    message = "Process exited with status code: -9. Process exited due to a SIGKILL signal."
    words = page.silent_end(Night(COMMAND, [row(fetched=3, new=3)]), "Crashed", message)
    assert "memory ran out" in words.line
    assert "1 batch committed, which no failure takes back: 3 fetched" in words.text
    assert f"`{COMMAND}`" in words.line
    words = page.silent_end(Night(COMMAND), "Crashed", "gone", "the warehouse is in use by another process")
    assert "Could not be read: the warehouse is in use by another process" in words.text
    assert "committed" not in words.line
    words = page.silent_end(
        Night("collab verify"), "Failed", "Flow run encountered an exception: VerifyFailed: 1 of 9 checks"
    )
    assert words.text.startswith("## Failed\n\n**Why.** VerifyFailed: 1 of 9 checks\n")
    assert "`collab verify`" in words.line
    words = page.silent_end(Night("collab verify"), "Failed", "ValueError: two\n - lines")
    assert "**Why.** ValueError: two - lines\n" in words.text


def test_each_row_of_counts_is_checked():
    rows = page.count_rows([row("a", fetched=3, new=2, quarantined=1), row("b", fetched=3, new=2), row("c", listed=1)])
    assert [(found["window"], found["adds up"]) for found in rows] == [
        ("all 3", "NO: +1 records, +1 deletions"),
        ("a", "yes"),
        ("b", "NO: +1 records, +0 deletions"),
        ("c", "NO: +0 records, +1 deletions"),
    ]
    assert rows[0]["fetched"] == 6
    assert page.count_line([row()]).startswith("All batches add up")
    assert page.count_line([row(), row(fetched=1)]).startswith("1 of 2 batches do NOT add up")
    assert page.count_rows([row() | {"first_record": 2000}])[1]["window"].endswith(" from 2,000")


def test_broken_rules_come_first_and_say_how_many_rows():
    holds, unknown = rule("a", success=True, sample=None), rule("b", success=None)
    rows = page.gate_rows({"x": [holds, unknown, rule()], "y": [BAD]})
    assert [(found["result"], found["rule"]) for found in rows] == [
        ("STOPPED", "quarantined_share"),
        ("refused", "year_range"),
        ("not evaluated", "b"),
        ("holds", "a"),
    ]
    assert page.gate_line({"x": [holds, unknown, rule()], "y": [BAD]}).startswith(
        "1 STOPPED, 1 refused, 1 not evaluated, 1 holds:"
    )
    assert rows[1]["offending rows"] == "4 of 9"
    assert rows[1]["sample, or why"] == "W1: `<b>`"
    assert rows[0]["offending rows"] == ""  # of a batch as a whole


def test_windows_that_failed_say_why():
    asked = row(fetched=1, new=1) | {"window_records": 1, "source_records": 2, "source_listed": 2, "credits": 5}
    summary = Summary([Outcome(row(), []), Outcome(asked, [])], failed={"2024-02": SourceError("away", "run again")})
    assert page.window_rows(summary) == [
        {"window": "s/l/00000000", "source_records": 2, "source_listed": 2, "window_records": 1, "credits": 5},
        {"window": "2024-02", "result": "away -> run again"},
    ]


def test_a_cell_says_why_it_moved():
    (found,) = page.change_rows([Moved("mine", "ai", 2024, ("CN", "US"), {"new": 15, "corrected": -3}, 9)])
    assert found["cell"] == "China - United States"
    assert (found["field"], found["papers"], found["because"]) == ("mine: ai", "+12", "+15 new, -3 corrected")


def test_a_release_says_where_it_lies():
    words = page.release_text(Release("2026-01-01.1", Path("/srv/collab/published/2026-01-01.1"), {"pair_year": 1234}))
    assert "`file:///srv/collab/published/2026-01-01.1`" in words.text
    assert "pair_year 1,234" in words.text
