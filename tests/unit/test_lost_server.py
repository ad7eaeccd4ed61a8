"""What a run says whose Prefect server went away."""

from __future__ import annotations

import httpx
import pytest

from flows.lost_server import lost_server
from schemas.errors import BudgetExhausted, PrefectLost


def ask_a_server_that_is_away():
    try:
        raise ConnectionRefusedError(111, "Connection refused")
    except OSError as exc:
        raise httpx.ConnectError(str(exc)) from exc


def test_a_server_that_is_away_is_said_with_the_remedy():
    with (
        pytest.raises(PrefectLost, match=r"does not answer \(.*refused\) -> .*--no-prefect.*stays") as caught,
        lost_server(),
    ):
        ask_a_server_that_is_away()
    assert caught.value.exit_code == 1


def test_what_ended_the_run_before_comes_first():
    with (
        pytest.raises(PrefectLost, match=r"^no credits; also the Prefect .* -> run again tomorrow$") as caught,
        lost_server(),
    ):
        try:
            raise BudgetExhausted("no credits", "run again tomorrow")
        except BudgetExhausted:
            ask_a_server_that_is_away()  # as Prefect does, to say that the run failed
    assert caught.value.exit_code == BudgetExhausted.exit_code


def test_a_bug_keeps_its_traceback():
    with pytest.raises(httpx.ConnectError) as caught, lost_server():
        try:
            {}["a bug"]
        except KeyError:
            ask_a_server_that_is_away()
    assert isinstance(caught.value.__cause__.__context__, KeyError)


def test_other_errors_pass():
    with pytest.raises(BudgetExhausted), lost_server():
        raise BudgetExhausted("no credits")
    with pytest.raises(FileNotFoundError), lost_server():
        raise FileNotFoundError("gone")
