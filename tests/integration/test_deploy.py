"""`collab deploy`, what is on the server after it, and the flows that the schedule calls beside the nightly one."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from prefect import flow, tags
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Running

import flows.orchestration.alerts
from flows.backfill import backfill
from flows.orchestration.alerts import announced
from flows.orchestration.automations import PREFIX
from flows.orchestration.declaration import declared, flow_names
from flows.orchestration.deploy import deploy
from flows.orchestration.deployed import Source
from flows.orchestration.deployed import load_settings as settings_of_a_run
from flows.orchestration.past_runs import forget_runs
from flows.progress import Lines
from flows.rescan import rescan
from flows.steps import RESCAN, SOURCES, RunRequest, Summary, directly, run_night, with_night
from flows.verify import verify
from schemas import tables as t
from schemas.errors import BudgetExhausted, GateStopped, UsageError
from schemas.settings import load_settings
from tasks.night import Night
from tasks.storage.warehouse import Warehouse
from tests.alerts import TOKEN, Receiver
from tests.commands import invoke
from tests.factory import run, work, write_snapshot
from tests.flow_runs import look
from tests.replay import KEY

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("prefect_server")]
ROOT = Path(__file__).resolve().parents[2]


# What the later calls of `collab deploy` ask for: all of them the same, so that tests find it in any order.
LATER = ("openalex-api", "30 3 * * *", "Europe/Berlin")


@pytest.fixture(scope="module")
def deployed(prefect_server):
    """A server after the second `collab deploy`."""
    with Receiver() as receiver, pytest.MonkeyPatch.context() as patched:
        for name, value in receiver.settings.items():
            patched.setenv(f"COLLAB_{name.upper()}", str(value))
        first = deploy(load_settings(), None, None, None)
        with get_client(sync_client=True) as client:
            made = {found.name: found.id for found in client.read_automations() if found.name.startswith(PREFIX)}
        yield first, made, deploy(load_settings(), *LATER)


def on_server() -> dict:
    with get_client(sync_client=True) as client:
        return {found.name: found for found in client.read_deployments() if "collab" in found.tags}


def test_everything_declared_is_deployed_with_its_schedule_and_waits_its_turn(deployed):
    found = on_server()
    assert (
        set(found) == {"nightly", "verify", "rescan", "quarantine-retry", "retention", "backfill"} == set(flow_names())
    )
    for entry in declared():
        deployment = found[entry["name"]]
        assert deployment.global_concurrency_limit.limit == 1
        assert deployment.concurrency_options.collision_strategy == "ENQUEUE"
        assert deployment.work_pool_name == "collab"
        assert deployment.pull_steps in (None, [])
        assert deployment.description == entry["description"]
        assert set(deployment.tags) == set(entry["tags"])
        env = deployment.job_variables["env"]
        assert env["GX_ANALYTICS_ENABLED"] == env["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    times = {name: [(s.schedule.cron, s.schedule.timezone) for s in d.schedules] for name, d in found.items()}
    assert times["nightly"] == [("30 3 * * *", "Europe/Berlin")]  # as the second call said
    assert times["backfill"] == []
    assert found["backfill"].parameters == {"first": "2014-01-01"}  # to today: a fixed end leaves a gap for good
    assert found["nightly"].parameters["source"] == found["rescan"].parameters["source"] == "openalex-api"


@pytest.mark.engines("duckdb")  # about a server to which nothing was deployed before, and a session has but one
def test_deploying_twice_leaves_one_automation_of_each_and_what_it_has_seen(deployed):
    first, made, second = deployed
    assert set(first.automations.values()) == {"made"}
    assert set(second.automations.values()) == {"as it was"}
    with get_client(sync_client=True) as client:
        held = [found for found in client.read_automations() if found.name.startswith(PREFIX)]
        assert {found.name: found.id for found in held} == made
        assert len(held) == len(made) == 7
        told = [found for found in held if found.name != f"{PREFIX}run died"]
        assert all(len(found.actions) == 2 for found in told)
        shown = str([found.model_dump(mode="json") for found in held])
        assert TOKEN not in shown + str(client.read_block_documents(include_secrets=False))
    assert second.channels == ["webhook", "mail"]


def test_an_automation_that_was_changed_or_doubled_is_put_right_and_one_switched_off_stays_off(deployed, monkeypatch):
    with get_client(sync_client=True) as client:
        (held,) = client.read_automations_by_name(f"{PREFIX}no success")
        double = AutomationCore.model_validate(held.model_dump())
        client.create_automation(double)
        client.create_automation(double.model_copy(update={"name": f"{PREFIX}of an older release"}))
        client.create_automation(double.model_copy(update={"name": "of somebody else"}))
        client.pause_automation(held.id)
        monkeypatch.setenv("COLLAB_STALE_HOURS", "30")
        done = deploy(load_settings(), *LATER)  # no way is set here: the former ones stay
        (changed,) = client.read_automations_by_name(f"{PREFIX}no success")
        assert client.read_automations_by_name("of somebody else")
        assert not client.read_automations_by_name(f"{PREFIX}of an older release")
    assert done.automations[f"{PREFIX}no success"] == "changed, switched off"
    assert done.automations[f"{PREFIX}of an older release"] == "removed"
    assert not changed.enabled
    assert changed.trigger.within == timedelta(hours=30)
    assert done.channels == ["webhook", "mail"]


def test_the_form_of_a_run_explains_every_parameter_and_refuses_wrong_values(deployed):
    found = on_server()
    for name, deployment in found.items():
        for parameter, schema in deployment.parameter_openapi_schema["properties"].items():
            assert schema.get("description"), f"{name}: {parameter}"
            assert schema.get("examples"), f"{name}: {parameter}"
    assert found["nightly"].parameter_openapi_schema["properties"]["source"]["enum"] == list(SOURCES)
    wrong = {
        "nightly": {"source": "openalex"},
        "rescan": {"unseen_days": 0},
        "backfill": {"first": None, "last": "2024-12-31"},
    }
    with get_client(sync_client=True) as client:
        for name, parameters in wrong.items():
            with pytest.raises(PrefectHTTPStatusError, match="409"):
                client.create_flow_run_from_deployment(found[name].id, parameters=parameters)
        made = client.create_flow_run_from_deployment(found["nightly"].id, parameters={"source": "venue-list"})
        assert "collab" in made.tags  # what alerts and retention go by
        client.delete_flow_run(made.id)


def test_the_sources_that_a_form_offers_are_those_there_are():
    assert list(Source.__origin__.__args__) == list(SOURCES)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--source", "openalex"], "unknown source 'openalex'"),
        (["--at", "25:00"], "--at: '25:00' is not a time of day"),
        (["--timezone", "Europe/Nowhere"], "there is no time zone"),
    ],
)
def test_wrong_options_are_said_before_anything_is_made(arguments, said):
    done = invoke("deploy", *arguments)
    assert done.exit_code == UsageError.exit_code
    assert said in done.output


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        pytest.param(None, 2, "PREFECT_API_URL is not set", id="none is named"),
        pytest.param("http://127.0.0.1:1/api", 1, "no Prefect server answers at http://127.0.0.1", id="none answers"),
    ],
)
def test_a_server_that_is_not_there_is_one_line(url, code, said):
    with temporary_settings({PREFECT_API_URL: url}):
        done = invoke("deploy")
    assert done.exit_code == code
    assert said in done.output
    assert done.output.count("\n") == 1


def test_an_installed_package_knows_what_is_declared_and_loads_it_anywhere(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "installed")
    code = "from prefect.flows import load_flow_from_entrypoint as load\n"
    code += "from flows.orchestration.declaration import declared\n"
    code += "import flows; print(flows.__file__); print([load(entry['entrypoint']).name for entry in declared()])"
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "installed"), "PREFECT_HOME": str(tmp_path / "prefect")},
        capture_output=True,
        text=True,
        check=True,
    )
    where, names = found.stdout.splitlines()
    assert where.startswith(str(tmp_path / "installed"))
    assert names == str(flow_names())


def test_a_difference_makes_the_weekly_verify_red(tmp_path, home):
    settings = load_settings(snapshot=str(write_snapshot(tmp_path / "s", {"2026-01-01": [work(11), work(12)]})))
    run(settings)
    good = verify(return_state=True)
    assert good.is_completed()
    assert look(good)[0].name.startswith("verify 20")
    with Warehouse.open(settings) as warehouse, warehouse.transaction() as conn:
        conn.execute(sa.update(t.world_year).values(papers=t.world_year.c.papers + 1))
    state = verify(return_state=True)
    assert state.is_failed()
    assert "2 of " in state.message
    assert "world_year = rebuild" in state.message
    assert "`collab rebuild`" in state.message
    _, tasks, artifacts = look(state)
    assert [name for name, task in tasks.items() if task.state.is_failed()] == ["verify"]
    assert artifacts["verification"].data.count("DIFFERS") == 2


def test_a_rescan_takes_parts_that_nights_leave_alone_and_says_when_there_are_none(tmp_path, home):
    days = {f"2026-01-0{day}": [work(10 + day)] for day in range(1, 5)}
    run(load_settings(snapshot=str(write_snapshot(tmp_path / "s", days))))
    days["2026-01-01"] = [work(11, updated="2026-01-09T00:00:00", title="Of another length, in as many records")]
    root = write_snapshot(tmp_path / "s2", days)
    assert len(run(load_settings(snapshot=str(root))).outcomes) == 1  # a night: the last two dates only
    state = rescan(snapshot=str(root), return_state=True)
    run_of_it, tasks, _ = look(state)
    assert run_of_it.name.endswith("openalex-snapshot")
    assert [name for name in tasks if name.startswith("load ") and "2026-01-01" in name]
    again = rescan(snapshot=str(root))
    assert again == "nothing to do: every part is loaded as the manifest describes it"
    asked = RunRequest(RESCAN, snapshot=str(root), rescan_days=7)
    assert with_night(run_night, directly, asked) == again  # --no-prefect


def test_a_backfill_without_an_end_goes_to_today(home):
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    with pytest.raises(UsageError, match=f"{tomorrow} to {tomorrow - timedelta(days=1)} is no range of past dates"):
        backfill.fn(tomorrow)


def test_a_backfill_of_no_dates_is_refused(home, monkeypatch):
    monkeypatch.setenv("COLLAB_OPENALEX_API_KEY", KEY)
    state = backfill(datetime(2024, 3, 1).date(), datetime(2024, 1, 1).date(), return_state=True)
    assert "the first day comes first" in state.message


def test_a_run_says_as_events_what_a_maintainer_should_know(tmp_path, home, monkeypatch):
    said: list[dict] = []
    monkeypatch.setattr(flows.orchestration.alerts, "emit_event", lambda **event: said.append(event))
    monkeypatch.setenv("COLLAB_ALERT_QUARANTINE", "0")

    def night(days: dict) -> list[tuple[str, str]]:
        said.clear()
        settings = load_settings(snapshot=str(write_snapshot(tmp_path / f"s{len(days)}", days)))
        with Night(settings) as opened, suppress(GateStopped, BudgetExhausted):
            announced(run_night)(opened, directly, Lines(), Summary())
        return [(event["event"], event["payload"]["message"]) for event in said]

    days = {"2026-01-01": [work(11), work(12, publication_year=2999)]}
    ((event, message),) = night(days)
    assert event == "collab.quarantine.grows"
    assert message.startswith("1 open record in quarantine, 1 more than before -> `collab quarantine list`")
    assert night(days) == []
    monkeypatch.setattr("tasks.validation.gates.FEWEST_WORKS", 1)
    ((event, message),) = night({**days, "2026-01-02": [work(13, publication_year=2999)]})
    assert event == "collab.gate.stopped"
    assert "quarantined_share" in message

    def spent(*_):
        raise BudgetExhausted("the credits of the day are spent", "run again tomorrow")

    monkeypatch.setattr(Night, "plan", spent)
    assert night(days) == [("collab.budget.used-up", "the credits of the day are spent -> run again tomorrow")]


@flow(name="nightly", persist_result=False)
def ended():
    create_markdown_artifact("of a run", key="of-a-run")


def test_only_ended_runs_of_ours_are_removed_from_prefect_with_all_that_they_left():
    with tags("collab"):
        old = ended(return_state=True).state_details.flow_run_id
    foreign = ended(return_state=True).state_details.flow_run_id  # without our tag
    with get_client(sync_client=True) as client:
        running = client.create_flow_run(ended, tags=["collab"], state=Running()).id
        assert forget_runs(datetime.now(UTC) - timedelta(days=1)).runs == 0
        gone = forget_runs(datetime.now(UTC) + timedelta(minutes=1))
        these = FlowRunFilter(id=FlowRunFilterId(any_=[old, foreign, running]))
        assert {found.id for found in client.read_flow_runs(flow_run_filter=these)} == {foreign, running}
        of_old = FlowRunFilter(id=FlowRunFilterId(any_=[old]))
        assert client.read_artifacts(flow_run_filter=of_old) == []
        assert client.read_task_runs(flow_run_filter=of_old) == []
        client.delete_flow_run(running)
    assert gone.runs >= 1
    assert gone.artifacts >= 1
    assert "removed from Prefect" in gone.line()


def test_a_home_that_goes_with_the_folder_of_a_run_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "5d1a0c4e-0000-0000-0000-000000000000")
    with pytest.raises(UsageError, match="goes with the folder of this run"):
        settings_of_a_run()
    monkeypatch.setenv("COLLAB_HOME", str(tmp_path.parent / "home"))
    assert settings_of_a_run().home == tmp_path.parent / "home"
