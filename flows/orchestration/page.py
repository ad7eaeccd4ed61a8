"""What a run page says, in words and rows: what the night did or why it is red, and the command that goes on.

Plain functions without Prefect; `artifacts.py` puts them on the page. Whoever reads it at 7 am has one question, "what
now", so the answer stands in the first line. Everything that others wrote goes through `flows/harmless.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flows.harmless import as_code, harmless
from flows.steps import Summary, describe_counts
from schemas.errors import BudgetExhausted, CollabError, GateStopped, PlanRefused, UsageError
from schemas.expectations import GATES
from schemas.places.territories import territory_names
from schemas.tables import CONSERVATION, COUNTS, DELETION_COUNTS, RECORD_COUNTS
from schemas.words import counted
from tasks.loading.ledger import Moved
from tasks.reading.parsed import CORPUS
from tasks.releases.publish import Release
from tasks.validation.validate import Result

WINDOW = ("source_records", "source_listed", "window_records", "credits")
BROKEN = {"stop": "STOPPED", "reject": "refused", "repair": "repaired", "warn": "warned"}  # worst first
NOT_EVALUATED, HOLDS = "not evaluated", "holds"
RESULTS = [*BROKEN.values(), NOT_EVALUATED, HOLDS]
FAILED, EXCEPTION = "Failed", "Flow run encountered an exception: "  # as Prefect names them
BAD_PARAMETERS = "received invalid parameters"
REFUSED = (UsageError.__name__, PlanRefused.__name__)
KILLED = {
    "SIGKILL": "killed (SIGKILL): by hand, by the system because memory ran out, or with its machine",
    "SIGTERM": "ended from outside (SIGTERM)",
}


@dataclass(frozen=True)
class Night:
    """What is known of a night when it ends, or of one that cannot tell any more."""

    command: str | None
    """What goes on where it ended; None if the flow has no command."""
    batches: Sequence[Mapping[str, Any]] = ()
    """Rows of ops.batch that it committed."""
    release: str | None = None
    """The release that it published."""
    current: str | None = None
    """The release that readers see."""
    cost: str = ""
    results: Mapping[str, Sequence[Result]] = field(default_factory=dict)


@dataclass(frozen=True)
class Words:
    """A line for the card on the run page, and the text behind it. Both Markdown."""

    line: str
    text: str


def good_end(night: Night) -> Words:
    """A green night: what it wrote, and what to look at, if anything."""
    did = f"release {as_code(night.release)} is out" if night.release else "no cell changed, so no new release"
    published = _published(night) if night.release else f"Nothing new, and nothing waits: {_seen_by_readers(night)}."
    lines = [f"**Written.** {_written(night)}", f"**Published.** {published}"]
    go_on, counts = "Nothing to do.", total(night.batches)
    refused = counts["quarantined"]
    if refused:
        of_all = f"all {refused:,}" if refused == counts["fetched"] else f"{refused:,} of {counts['fetched']:,}"
        did += f", {of_all} records refused"
        lines.append(f"**Look at.** Records refused: {of_all}; `collab quarantine list` names rule and reason.")
        go_on = (
            "When the cause is mended: `collab quarantine retry` takes the refused records in. The tables need nothing."
        )
    warned = _broken(night)
    if warned:
        lines.append(
            f"**Warnings.** {', '.join(as_code(r.rule) for r in warned)}; figures are in the artifact `gates`."
        )
    if night.cost:
        lines.append(f"**Cost.** {harmless(night.cost)}")
    return Words(f"Done: {did}. {_in_short(night)}", _text("Done", [*lines, f"**Go on.** {go_on}"]))


def bad_end(night: Night, exc: Exception) -> Words:
    """A red night that could still speak for itself."""
    message, hint = (exc.message, exc.hint) if isinstance(exc, CollabError) else (str(exc), "")
    lines = [f"**Why.** {harmless(message)}"]
    if isinstance(exc, GateStopped):
        title = "Stopped by a rule: nothing of its batch was written"
        lines += [_rule(result) for result in exc.findings if result.severity == "stop" and result.success is False]
    elif isinstance(exc, BudgetExhausted):
        title = "Ended early: the budget of the source is used up, what was fetched is kept"
    elif isinstance(exc, CollabError):
        title = "Failed"
    else:
        title = "Failed by a defect of the program"
        lines = [
            f"**Why.** {as_code(type(exc).__name__)}: {harmless(message)}. The traceback is in the log of the run."
        ]
    lines += [f"**Written.** {_written(night)}", f"**Published.** {_published(night)}"]
    if isinstance(exc, GateStopped):
        lines.append(
            "**Look at.** The artifact `gates` names the records that each rule refused; so does `collab status`."
        )
    lines += _first(hint)
    again = {GateStopped: "stopped", UsageError: "refused"}
    when = next((_once_mended(how) for kind, how in again.items() if isinstance(exc, kind)), "")
    line = f"RED: {_cause(exc, message)}. {_in_short(night)} Go on: {_goes_on(night)}"
    return Words(line, _text(title, [*lines, f"**Go on.** {when}{_how_to_go_on(night)}"]))


def _cause(exc: Exception, message: str) -> str:
    """The cause in few words: a card on the run page shows some 35 characters."""
    if not isinstance(exc, GateStopped):
        return harmless(message, 300)
    figures = [
        f"{as_code(result.rule)} is {harmless(result.observed)}, limit {harmless(result.expected)}"
        for result in exc.findings
        if result.severity == "stop" and result.success is False
    ]
    return f"{'; '.join(figures)}; batch {as_code(exc.batch_id)} was stopped"


def silent_end(night: Night, state: str, message: str, unread: str = "") -> Words:
    """A run that drew no page itself: killed, cancelled, refused before it began, or of a flow without one.

    Args:
        night: its command, and what the warehouse says that it committed.
        unread: why the warehouse could not be asked, if it could not.
    """
    message = message.removeprefix(EXCEPTION)
    if BAD_PARAMETERS in message:
        return _refused_parameters(night, message)
    message = " ".join(message.split())  # those of other people's errors have several lines
    if message.partition(":")[0] in REFUSED:
        return _refused_settings(night, message)
    how = next((f"the process was {why}. " for name, why in KILLED.items() if name in message), "")
    says = f"Prefect says: {harmless(message)}" if how else harmless(message or state)
    lines = [f"**Why.** {how[:1].upper()}{how[1:]}{says}"]
    if unread:
        lines.append(f"**Written.** Could not be read: {harmless(unread)}. `collab status` says it.")
        short, goes_on, how_to = "", "`collab status`", "`collab status` says what there is; then run again."
    else:
        lines += [
            f"**Written.** {_written(night)} What was half-way when it ended was rolled back.",
            f"**Published.** {_published(night)}",
        ]
        short, goes_on, how_to = _in_short(night), _goes_on(night), _how_to_go_on(night)
    line = f"RED: {how or f'{harmless(state)}. {harmless(message, 300)}. '}{short} Go on: {goes_on}"
    title = state if state == FAILED else f"{harmless(state)}: the run ended without a word"
    return Words(line, _text(title, [*lines, f"**Go on.** {how_to}"]))


def _refused_parameters(night: Night, message: str) -> Words:
    """A run that Prefect did not begin: to start it again as it was would be refused again."""
    named = message.partition(BAD_PARAMETERS)[2].splitlines()[1:]
    wrong = harmless("; ".join(line.strip().removeprefix("- ") for line in named) or message)
    command = night.command or "collab"
    about = f"`{command.partition(' --')[0]} --help`"
    go_on = f"Start it with other parameters: *Custom run* of its deployment, or on the worker's machine, see {about}"
    lines = [
        f"**Why.** The run was given parameters that cannot be: {wrong}",
        "**Written.** Nothing: it did not begin.",
        "**First.** Correct the parameters that are named above.",
        f"**Go on.** {go_on}. *Retry* on this page would take the same ones and be refused again.",
    ]
    return Words(
        f"RED: wrong parameters: {wrong}. Nothing written. Go on: {about}", _text("Refused before it began", lines)
    )


def _refused_settings(night: Night, message: str) -> Words:
    """A run that its settings ended, its parameters among them: as it was it would be refused again."""
    cause, _, hint = message.partition(": ")[2].partition(" -> ")
    whose = (
        "A worker reads its settings when it starts; *Retry* takes the parameters of this run again, *Custom run* of"
        " its deployment takes others."
    )
    lines = [
        f"**Why.** {harmless(cause)}",
        f"**Written.** {_written(night) if night.batches else 'Nothing: it was refused before it began.'}",
        *_first(hint),
        f"**Go on.** {_once_mended('refused')}{_how_to_go_on(night)} {whose}",
    ]
    line = f"RED: {harmless(cause, 300)}. {_in_short(night)} Go on, once that is mended: {_goes_on(night)}"
    return Words(line, _text("Refused: a setting is wrong", lines))


def release_text(release: Release) -> Words:
    """Where a release lies and how to open it."""
    tables = ", ".join(f"{harmless(name)} {rows:,}" for name, rows in release.rows.items())
    folder = release.folder.resolve()
    look = f"duckdb.connect('{folder}/atlas.duckdb', read_only=True).sql('SHOW TABLES').show()"
    lines = [
        f"**Folder.** {as_code(folder.as_uri(), 1_000)}",
        "**Read it.** `collab report`, `collab ask`, the Parquet files and exports in the folder, or the database:",
        f'    python -c "import duckdb; {look}"',
        f"**Rows.** {tables}",
    ]
    return Words(
        f"{as_code(release.release_id)} in {as_code(folder, 1_000)}",
        _text(f"Release {as_code(release.release_id)}", lines),
    )


def count_rows(batches: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Conservation: each batch and, first, all of them, with both equations checked."""
    whole = {"window_name": f"all {len(batches)}", "first_record": 0, "batch_id": ""}
    return [
        {
            "window": harmless(row["window_name"]) + (f" from {row['first_record']:,}" if row["first_record"] else ""),
            "adds up": _adds_up(row) or "yes",
            **{name: row[name] for name in COUNTS},
            "batch": harmless(row["batch_id"]),
        }
        for row in ({**whole, **total(batches)}, *batches)
    ]


def count_line(batches: Sequence[Mapping[str, Any]]) -> str:
    """Whether all batches add up, and what that means."""
    wrong = sum(bool(_adds_up(row)) for row in batches)
    seen = f"{wrong} of {len(batches)} batches do NOT add up" if wrong else "All batches add up"
    return f"{seen}. Nothing is lost: {CONSERVATION} (deletions)"


def total(batches: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Counts of all batches."""
    return {name: sum(row[name] for row in batches) for name in COUNTS}


def _adds_up(counts: Mapping[str, Any]) -> str:
    lost = counts["fetched"] - sum(counts[name] for name in RECORD_COUNTS)
    unapplied = counts["listed"] - sum(counts[name] for name in DELETION_COUNTS)
    return f"NO: {lost:+,} records, {unapplied:+,} deletions" if lost or unapplied else ""


def gate_rows(results: Mapping[str, Sequence[Result]]) -> list[dict[str, Any]]:
    """Rules of all batches, broken ones first."""
    found = [(batch_id, result) for batch_id, of_batch in results.items() for result in of_batch]
    return [
        {
            "result": _seen(result),
            "rule": harmless(result.rule),
            "severity": result.severity,
            "observed": harmless(result.observed),
            "limit": harmless(result.expected),
            "offending rows": ""
            if result.suite == GATES
            else f"{result.unexpected_count:,} of {result.element_count:,}",
            "sample, or why": harmless(result.sample),
            "batch": harmless(batch_id),
        }
        for batch_id, result in sorted(found, key=lambda pair: RESULTS.index(_seen(pair[1])))
    ]


def gate_line(results: Mapping[str, Sequence[Result]]) -> str:
    """What became of how many rules."""
    found = Counter(_seen(result) for of_batch in results.values() for result in of_batch)
    seen = ", ".join(f"{found[name]} {name}" for name in RESULTS if found[name])
    return f"{seen or 'none'}: the rules of all batches of this run, broken ones first"


def _seen(result: Result) -> str:
    if result.success is None:
        return NOT_EVALUATED
    return HOLDS if result.success else BROKEN[result.severity]


def window_rows(summary: Summary) -> list[dict[str, Any]]:
    """What a live source said of each window, and why windows are missing; nothing for a source that is copied."""
    rows = [outcome.row for outcome in summary.outcomes]
    asked = {row["window_name"]: row for row in rows if row["source_records"] is not None}
    found = [{"window": harmless(name), **{column: row[column] for column in WINDOW}} for name, row in asked.items()]
    return found + [{"window": harmless(name), "result": harmless(exc)} for name, exc in summary.failed.items()]


def change_line(moved: Sequence[Moved], policy: str) -> str:
    """What the table of changes holds."""
    return f"{len(moved)} cells that this run moved most, and why (policy {policy}); all: `collab ask changes`"


def change_rows(moved: Sequence[Moved]) -> list[dict[str, Any]]:
    """Cells of countries and pairs that moved most, each with its reasons."""
    names = territory_names()
    return [
        {
            "cell": harmless(" - ".join(names.get(code, code) for code in cell.territories)),
            "field": harmless(cell.field if cell.corpus == CORPUS else f"{cell.corpus}: {cell.field}"),
            "year": cell.year,
            "papers": f"{sum(cell.papers.values()):+,}",
            "because": ", ".join(f"{delta:+,} {reason}" for reason, delta in cell.papers.items()),
            "citations": f"{cell.citations:+,}",
        }
        for cell in moved
    ]


def _broken(night: Night) -> list[Result]:
    every = [result for of_batch in night.results.values() for result in of_batch]
    return list(
        {result.rule: result for result in every if result.success is False and result.severity == "warn"}.values()
    )


def _rule(result: Result) -> str:
    why = f" ({harmless(result.sample)})" if result.sample else ""
    figures = f"observed **{harmless(result.observed)}**, limit {harmless(result.expected)}"
    return f"- rule {as_code(result.rule)}: {figures}{why}"


def _batches(night: Night) -> str:
    return counted(len(night.batches), "batch", "batches")


def _first(hint: str) -> list[str]:
    return [f"**First.** {harmless(hint[:1].upper() + hint[1:])}{'' if hint.endswith('?') else '.'}"] if hint else []


def _once_mended(how: str) -> str:
    return f"Once that is mended (else the same is {how} again): "


def _in_short(night: Night) -> str:
    written = f"{_batches(night)} committed" if night.batches else "nothing written"
    return f"{written[0].upper()}{written[1:]}."


def _written(night: Night) -> str:
    if not night.batches:
        return "Nothing: the tables are as they were before this run."
    return f"{_batches(night)} committed, which no failure takes back: {describe_counts(total(night.batches))}."


def _published(night: Night) -> str:
    if night.release:
        return f"Release {as_code(night.release)} holds all that is committed."
    later = (
        "; the next run that ends well publishes what is committed, or `collab publish` now" if night.batches else ""
    )
    return f"Nothing: {_seen_by_readers(night)}{later}."


def _seen_by_readers(night: Night) -> str:
    return f"readers see release {as_code(night.current)}" if night.current else "there is no release yet"


def _goes_on(night: Night) -> str:
    return as_code(night.command, 1_000) if night.command else "Retry on the run page"


def _how_to_go_on(night: Night) -> str:
    command = f"{as_code(night.command, 1_000)} on the worker's machine, or press " if night.command else ""
    again = "Running again is safe at any time: what is committed is not taken in twice, and it goes on where it ended."
    return f"{command or 'Press '}*Retry* in the menu at the top right of the run page. {again}"


def _text(title: str, lines: Sequence[str]) -> str:
    return "\n\n".join([f"## {title}", *lines])
