"""The flow as Prefect runs it: named runs and tasks, artifacts, retries on fetching only, red when it is wrong."""

from __future__ import annotations

import asyncio
from datetime import date

import prefect.events
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import StateDetails
from prefect.states import Crashed

import tasks.landing.intake
from flows.backfill import backfill
from flows.nightly import nightly, quarantine_retry
from schemas import tables as t
from schemas.errors import GateStopped, LandingError, SourceError, SourceUnavailable, UsageError
from tasks.night import Night
from tests.factory import work, write_snapshot
from tests.flow_runs import look
from tests.replay import KEY, ReplayServer

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("prefect_server")]


def test_a_good_night_is_green_and_shows_what_it_did(tmp_path, home, monkeypatch):
    emitted = []
    emit = prefect.events.emit_event

    def note(event, resource, **more):
        if event == "prefect.asset.materialization.succeeded":
            assert "collab://source/openalex-snapshot" in [one["prefect.resource.id"] for one in more["related"]]
            emitted.append((resource["prefect.resource.id"], more["payload"]))
        return emit(event=event, resource=resource, **more)

    monkeypatch.setattr("prefect.events.emit_event", note)
    root = write_snapshot(tmp_path / "s", {"2026-01-01": [work(11), work(12, publication_year=2999)]})
    state = nightly(snapshot=str(root), return_state=True)
    assert state.is_completed(), state.message
    run, tasks, artifacts = look(state)
    assert run.name.startswith("nightly 20")
    assert run.name.endswith("openalex-snapshot")
    kinds = [name.split(" openalex")[0].split(" 2026")[0] for name in tasks]
    assert sorted(kinds) == ["land", "land deletions", "load", "parse and locate", "plan", "publish", "validate"]
    assert '"fetched": 2' in artifacts["batch-counts"].data
    assert '"quarantined": 1' in artifacts["batch-counts"].data
    assert "conservation" in artifacts["gates"].data
    assert "Done: release" in artifacts["what-happened"].description
    assert '"because": "+1 new"' in artifacts["what-changed"].data
    assert "file://" in artifacts["release"].data
    release = artifacts["release"].description.split("`")[1]
    assert artifacts["progress"].data == 100
    assert {key for key, _ in emitted} == {f"collab://mart/{mart.name}" for mart in t.MART}
    assert ("collab://mart/world_year", {"rows": 9, "release": release}) in emitted

    def away(*args, **kwargs):
        raise ConnectionError("the server of Prefect is away")

    emitted.clear()
    for name in ("create_markdown_artifact", "create_progress_artifact"):
        monkeypatch.setattr(f"flows.orchestration.artifacts.{name}", away)
    assert nightly(snapshot=str(root), return_state=True).is_completed()  # twice is once, with and without a page
    assert emitted == []  # nothing was published


def test_a_stopped_batch_is_red_with_figure_limit_and_remedy(tmp_path, home, monkeypatch):
    monkeypatch.setattr("tasks.validation.gates.FEWEST_WORKS", 1)
    root = write_snapshot(tmp_path / "s", {"2026-01-01": [work(11, publication_year=2999)]})
    state = nightly(snapshot=str(root), return_state=True)
    assert state.is_failed()
    with pytest.raises(GateStopped):
        state.result()
    assert "quarantined_share is 1, limit at most 0.05" in state.message
    again = f"collab run --source openalex-snapshot --snapshot {root}"
    assert f"`COLLAB_MAX_QUARANTINED_SHARE=1 {again}` lets it pass once; else `{again}`" in state.message
    _, tasks, artifacts = look(state)
    (failed,) = [name for name, task in tasks.items() if task.state.is_failed()]
    assert failed.startswith("load ")
    assert "quarantined_share is 1, limit at most 0.05" in tasks[failed].state.message
    assert "STOPPED" in artifacts["gates"].data
    words = artifacts["what-happened"]
    assert words.description.startswith("RED: `quarantined_share` is 1, limit at most 0.05")
    assert f"`{again}`" in words.description
    assert "Nothing: the tables are as they were" in words.data


@pytest.mark.parametrize(
    ("method", "step"),
    [("land_works", "land 2026"), ("derive", "parse and locate"), ("validate", "validate"), ("publish", "publish")],
)
def test_a_step_that_fails_makes_its_task_and_the_night_red(tmp_path, home, monkeypatch, method, step):
    def fail(*args):
        raise LandingError("no space left in <b>/srv</b>", "free space, then run again")

    monkeypatch.setattr(Night, method, fail)
    root = write_snapshot(tmp_path / "s", {"2026-01-01": [work(11)]})
    state = nightly(snapshot=str(root), return_state=True)
    assert state.is_failed()
    assert "no space left in <b>/srv</b> -> free space, then run again" in state.message
    _, tasks, artifacts = look(state)
    (failed,) = [name for name, task in tasks.items() if not task.state.is_completed()]
    assert failed.startswith(step)
    assert "no space left" in tasks[failed].state.message
    written = "1 batch committed" if method == "publish" else "Nothing written"
    assert f"RED: no space left in `<b>/srv</b>`. {written}" in artifacts["what-happened"].description


def test_a_run_that_cannot_speak_is_spoken_for(tmp_path, home, monkeypatch):
    root = write_snapshot(tmp_path / "s", {"2026-01-01": [work(11)]})
    run, *_ = look(nightly(snapshot=str(root), return_state=True))
    monkeypatch.setattr("flows.orchestration.artifacts._drawn", set())
    killed = Crashed(message="Process exited with status code: -9. Process exited due to a SIGKILL signal.")
    for hook in nightly.on_crashed_hooks:
        hook(flow=nightly, flow_run=run, state=killed)  # by these names, as a worker calls it
    words = look(killed.model_copy(update={"state_details": StateDetails(flow_run_id=run.id)}))[2]["what-happened"]
    assert words.description.startswith("RED: the process was killed (SIGKILL)")
    assert "1 batch committed, which no failure takes back: 1 fetched, 1 new" in words.data
    assert f"`collab run --source openalex-snapshot --snapshot {root}`" in words.data

    monkeypatch.setenv("COLLAB_HOEM", "x")  # before anything is opened, nothing can be drawn but this
    state = nightly(snapshot=str(root), return_state=True)
    assert state.is_failed()
    words = look(state)[2]["what-happened"]
    assert words.description.startswith(
        "RED: COLLAB_HOEM is not a setting. Nothing written. Go on, once that is mended: "
    )
    assert "**First.** Did you mean COLLAB_HOME?" in words.data
    assert f"`collab run --source openalex-snapshot --snapshot {root}`" in words.data


def test_a_run_with_wrong_parameters_says_which_and_not_to_repeat_them(home):
    state = nightly(until="2026-13-02", return_state=True)
    assert state.is_failed()
    words = look(state)[2]["what-happened"]
    assert words.description.startswith("RED: wrong parameters: until: Input should be a valid date")
    assert "Nothing: it did not begin." in words.data
    assert "2026-13-02" not in words.data


def test_only_fetching_is_retried_and_only_when_the_source_is_away(tmp_path, home, monkeypatch):
    monkeypatch.setattr("flows.orchestration.prefect_steps.exponential_backoff", lambda factor: 0)
    root = write_snapshot(tmp_path / "s", {"2026-01-01": [work(11)]})
    real = tasks.landing.intake.land
    calls: list[int] = []

    def away_twice(*args):
        calls.append(1)
        if len(calls) < 3:
            raise SourceUnavailable("connection reset")
        return real(*args)

    monkeypatch.setattr(tasks.landing.intake, "land", away_twice)
    assert nightly(snapshot=str(root), return_state=True).is_completed()
    assert len(calls) == 3

    def damaged(*args):
        calls.append(1)
        raise SourceError("cut")

    monkeypatch.setattr(tasks.landing.intake, "land", damaged)
    calls.clear()
    assert nightly(snapshot=str(root), return_state=True).is_failed()
    assert len(calls) == 1


def test_a_window_of_the_live_api_that_fails_is_red_and_the_others_are_loaded(home, monkeypatch):
    works = [work(n, publication_date=f"2024-0{n}-05", publication_year=2024) for n in range(1, 4)]
    with ReplayServer(works) as server:
        for name, value in {"URL": server.url, "API_KEY": KEY, "WAIT": "0", "ATTEMPTS": "2"}.items():
            monkeypatch.setenv(f"COLLAB_OPENALEX_{name}", value)

        def break_february(call):
            if "from_publication_date:2024-02" in call.params.get("filter", ""):
                call.fault = "html_503"

        server.before = break_february
        state = backfill(date(2024, 1, 1), date(2024, 3, 31), return_state=True)
        assert state.is_failed()
        assert "1 of 3 windows could not be fetched: 2024-02" in state.message
        run, tasks, artifacts = look(state)
        assert run.name == "backfill 2024-01-01 to 2024-03-31"
        assert [name for name, task in tasks.items() if task.state.is_failed()] == ["land 2024-02"]
        assert sum(name.startswith("load ") for name in tasks) == 2
        assert any(name.startswith("publish") and task.state.is_completed() for name, task in tasks.items())
        assert '"source_records": 1' in artifacts["windows"].data
        assert "2024-02" in artifacts["windows"].data
        assert KEY not in str([artifact.data for artifact in artifacts.values()]) + str(run)
        server.before = None
        assert backfill(date(2024, 1, 1), date(2024, 3, 31), return_state=True).is_completed()


@pytest.mark.parametrize(
    ("first", "last"),
    [(date(999, 1, 1), date(2024, 1, 1)), (date(2024, 2, 1), date(2024, 1, 1)), (date(2024, 1, 1), date(2999, 1, 1))],
)
def test_a_form_takes_the_dates_that_the_command_takes(home, first, last):
    with pytest.raises(UsageError, match="is no range of past dates -> the first day comes first, both from 1800"):
        backfill.fn(first, last)
    assert not home.exists()


def test_the_quarantine_is_retried_as_a_flow(tmp_path, home):
    root = write_snapshot(tmp_path / "s", {"2026-01-01": [work(11), work(12, publication_year=2999)]})
    nightly(snapshot=str(root))
    assert quarantine_retry(return_state=True).is_completed()


def test_what_went_on_is_in_the_log_of_the_run(tmp_path, home):
    root = write_snapshot(tmp_path / "s", {"2026-01-01": [work(11)]})
    state = nightly(snapshot=str(root), return_state=True)

    async def ask():
        async with get_client() as client:
            this = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[state.state_details.flow_run_id]))
            for _ in range(40):  # logs are sent in the background
                lines = [log.message for log in await client.read_logs(this) if log.name == "collab"]
                if any("1 fetched, 1 new" in line for line in lines):
                    return lines
                await asyncio.sleep(0.5)
            return []

    assert asyncio.run(ask())
