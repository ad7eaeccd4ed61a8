"""Errors an operator can act on. Each message says what failed and where; `hint` names the next command.

Everything else that is raised is a bug and keeps its traceback.
"""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.words import printable

LONGEST_MESSAGE = 4_000
UNREADABLE_JSON = (OSError, ValueError, RecursionError, msgspec.MsgspecError)
"""What reading a JSON file of ours can raise: not there, not UTF-8, nested too deeply, cut, or of another shape."""


class CollabError(Exception):
    """Base of all expected failures: printed as one line, the process leaves with `exit_code`.

    Messages quote what sources sent, and go to terminals, logs and the Prefect UI: what cannot be printed is written
    out, and they have an end.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        text = printable(message[: LONGEST_MESSAGE + 1])
        self.message = text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 3]}..."
        self.hint = hint
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} -> {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[type[CollabError], tuple[Any, ...]]:
        return type(self), (self.message, self.hint)  # survives the way back from a worker process


class UsageError(CollabError):
    """A setting or an option is wrong. Correct it and call again; nothing was touched."""

    exit_code = 2


class SourceError(CollabError):
    """The source is missing, unreadable or contradicts itself.

    Nothing of the window was loaded; mend or wait, then run again.
    """


class SourceUnavailable(SourceError):
    """The source did not answer or the connection broke. Tried again a few times; if it lasts, run again later."""


class SourceThrottled(SourceUnavailable):
    """The source asks for a pause of `seconds`; the request is then tried again."""

    def __init__(self, message: str, hint: str = "", seconds: float = 1.0) -> None:
        super().__init__(message, hint)
        self.seconds = seconds

    def __reduce__(self) -> tuple[type[CollabError], tuple[Any, ...]]:
        return type(self), (self.message, self.hint, self.seconds)


class AccessRefused(SourceError):
    """The source does not accept the key. Nothing else can be asked of it; correct the key, then run again."""


class QuestionRefused(SourceError):
    """The source does not accept a question. Others may be asked; the message holds its words."""


class PlanRefused(UsageError):
    """The plan of the key does not allow what was asked for. Change COLLAB_OPENALEX_SYNC or the plan."""


class LandingError(CollabError):
    """Raw parts could not be written, or no longer match their recorded sha256.

    Free space or remove the named folder, then run again.
    """


class WarehouseError(CollabError):
    """The warehouse cannot be used as it is: locked, of another version, or of another scope.

    The hint says which command helps.
    """


class WarehouseInUse(WarehouseError):
    """Another process has the DuckDB file open. Wait for it, by hand or with COLLAB_WAREHOUSE_WAIT."""


class NoWarehouse(WarehouseError):
    """There is no warehouse yet; the first run makes one."""


class ConnectionLost(WarehouseError):
    """The server of the warehouse went away; what was not committed is rolled back.

    A run tries again by itself; when it gives up, see that the server is there and run again.
    """


class GateStopped(CollabError):
    """A `stop` rule failed. The batch was rolled back: the tables are as before. Look at the figures, mend the cause,
    run again.

    `findings` are the results of all rules of the batch, rows of ops.validation_result.
    """

    def __init__(self, message: str, hint: str = "", batch_id: str = "", findings: tuple[Any, ...] = ()) -> None:
        super().__init__(message, hint)
        self.batch_id = batch_id
        self.findings = findings

    def __reduce__(self) -> tuple[type[CollabError], tuple[Any, ...]]:
        return type(self), (self.message, self.hint, self.batch_id, self.findings)


class UndoRefused(CollabError):
    """A batch cannot be undone: something was decided after it, or what it replaced is gone. Nothing was changed."""


class PublishError(CollabError):
    """The release could not be written.

    The warehouse is right, the former release stays current; run `collab publish`.
    """


class VerifyFailed(CollabError):
    """Live tables differ from their rebuild or from the ledger.

    Keep the warehouse file, report it, then run `collab rebuild`.
    """


class AlertFailed(CollabError):
    """An alert could not be delivered through every channel that is set. Mend the setting that the message names."""


class DeployFailed(CollabError):
    """The Prefect server is away or refuses. Start it or mend its address, then `collab deploy` again."""


class PrefectLost(CollabError):
    """The server of Prefect went away during a run. What was committed stays.

    Start it and run again, or run again without it.
    """

    def __init__(self, message: str, hint: str = "", exit_code: int = 1) -> None:
        super().__init__(message, hint)
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[type[CollabError], tuple[Any, ...]]:
        return type(self), (self.message, self.hint, self.exit_code)


class BudgetExhausted(CollabError):
    """The source's daily budget is used up and progress is saved. Run again after the reset; nothing is lost."""

    exit_code = 3
