"""The alerts of a Prefect server, as automations: what is watched, what a message says, where it goes.

Prefect watches, so these also come when a worker or a run died; that Prefect itself is down, `collab status` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.blocks.notifications import SlackWebhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ActionTypes, ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound
from pydantic import SecretStr

from flows.orchestration.alerts import BUDGET_USED_UP, GATE_STOPPED, QUARANTINE_GROWS
from flows.orchestration.deployed import TAG
from tasks.upkeep.alerts import MAIL, SUBJECT, WEBHOOK

PREFIX = "collab: "
BLOCKS = {WEBHOOK: "collab-alert-webhook", MAIL: "collab-alert-mail"}
KIND_OF_BLOCK = "slack-webhook"
HEARTBEATS_STOP_AFTER = timedelta(seconds=150)  # five that did not come: fewer are missed by runs that are well
LATE_AFTER = timedelta(minutes=10)  # a run counts as late after seconds, also while a worker is being started
ENDS = ("Completed", "Failed", "TimedOut", "Cancelled", "Crashed")
Labels = dict[str, str | list[str]]
RUN = (
    "{{ flow_run.name }}: {{ flow_run.state.message }}\n"
    "The page of the run and `collab status` name the command that goes on.\n{{ flow_run|ui_url }}"
)
NOTED = "{{ event.payload.message }}\n{{ flow_run.name }} {{ flow_run|ui_url }}"


@dataclass(frozen=True)
class Alert:
    """What is watched for, and the message that says so."""

    name: str
    about: str
    trigger: EventTrigger
    subject: str
    body: str


def alerts(stale_after: timedelta, late_after: timedelta = LATE_AFTER) -> list[Alert]:
    """What maintainers are told.

    Args:
        stale_after: longest time without a good nightly run.
        late_after: longest time that a run may wait for a worker.
    """
    hours = f"{stale_after / timedelta(hours=1):g}"
    ended_badly = _when(_runs("Failed", "Crashed", "TimedOut"), match={"prefect.resource.id": "prefect.flow-run.*"})
    begun = _runs("Running", "AwaitingConcurrencySlot", *ENDS)
    return [
        Alert("run failed", "A run failed, crashed or took too long.", ended_badly, "{{ flow_run.state.name }}", RUN),
        Alert(
            "no success",
            f"No nightly run succeeded within {hours} hours. Watched from the first success on.",
            _when(
                _runs("Completed"),
                after=_runs("Completed"),
                within=stale_after,
                for_each={"related:deployment:prefect.resource.id"},
                related=[{"prefect.resource.role": "deployment", "prefect.resource.name": "nightly"}],
            ),
            f"no nightly run succeeded within {hours} hours",
            "`collab status` says what was last taken in, and what to do.",
        ),
        Alert(
            "run late",
            f"A run did not begin within {late_after / timedelta(minutes=1):g} minutes: no worker takes it up, or the"
            " one that did died.",
            _when(
                begun,
                after=_runs("Late", "Pending", "Submitting"),
                within=late_after,
                for_each={"prefect.resource.id"},
            ),
            "late",
            "{{ deployment.name }} ({{ flow_run.name }}) is {{ flow_run.state.name }} and does not begin. Is a worker"
            " there? `prefect worker start --pool collab`; one that stays Pending is to be cancelled and run again."
            "\n{{ flow_run|ui_url }}",
        ),
        Alert("gate stopped", "A gate kept a batch out.", _when({GATE_STOPPED}), "a gate stopped a batch", NOTED),
        Alert("quarantine grows", "Records wait in quarantine.", _when({QUARANTINE_GROWS}), "quarantine grows", NOTED),
        Alert("budget used up", "The credits of a day are used up.", _when({BUDGET_USED_UP}), "budget used up", NOTED),
    ]


def automations(found: list[Alert], blocks: Mapping[str, UUID]) -> list[AutomationCore]:
    """The alerts, sent by every block, and the end of runs that died: a run without a heartbeat becomes Crashed, which
    frees its place and is alerted about like any other."""
    died = _when(
        {"prefect.flow-run.heartbeat", *_runs(*ENDS)},
        after={"prefect.flow-run.heartbeat"},
        within=HEARTBEATS_STOP_AFTER,
        for_each={"prefect.resource.id"},
    )
    seconds = f"{HEARTBEATS_STOP_AFTER.total_seconds():.0f} s"
    crash = ChangeFlowRunState(
        name="Crashed",
        state=StateType.CRASHED,
        message=f"no sign of life for {seconds}: machine, worker or run died -> run it again, which is safe",
        force=False,
    )
    made = [_automation("run died", f"A run without a sign of life for {seconds} becomes Crashed.", died, [crash])]
    for alert in found:
        sent: list[ActionTypes] = [
            SendNotification(block_document_id=block, subject=f"{SUBJECT}: {alert.subject}", body=alert.body)
            for block in blocks.values()
        ]
        if sent:
            made.append(_automation(alert.name, alert.about, alert.trigger, sent))
    return made


def put_blocks(client: SyncPrefectClient, channels: Mapping[str, SecretStr]) -> dict[str, UUID]:
    """Keep the addresses on the server, encrypted, and return the ids of their blocks; those of a channel not set
    here, but was before, stay.

    Prefect has no block for any address of Apprise; that for Slack takes them all, and every server has it.
    """
    for channel, address in channels.items():
        SlackWebhook(url=address).save(BLOCKS[channel], overwrite=True)
    found = {}
    for channel, name in BLOCKS.items():
        try:
            found[channel] = client.read_block_document_by_name(name, KIND_OF_BLOCK, include_secrets=False).id
        except ObjectNotFound:
            continue  # this channel was never set
    return found


def put_automations(client: SyncPrefectClient, wanted: list[AutomationCore]) -> dict[str, str]:
    """Make, change or leave each automation and remove others of ours; returns what was done by name.

    One that somebody switched off stays so, and one that is the same is not touched: it would forget what it has seen.
    """
    done = {}
    for automation in wanted:
        of_that_name = client.read_automations_by_name(automation.name)
        if not of_that_name:
            client.create_automation(automation)
            done[automation.name] = "made"
            continue
        held, *doubles = of_that_name
        for double in doubles:
            client.delete_automation(double.id)
        automation.enabled = held.enabled
        is_same = _content(held) == _content(automation)
        if not is_same:
            client.update_automation(held.id, automation)
        done[automation.name] = "as it was" if is_same else "changed"
        if not held.enabled:
            done[automation.name] += ", switched off"
    for held in client.read_automations():
        if held.name.startswith(PREFIX) and held.name not in done:  # an older release made it, or its block is gone
            client.delete_automation(held.id)
            done[held.name] = "removed"
    return done


def _content(automation: AutomationCore) -> dict[str, Any]:
    fields = {"name", "description", "trigger", "actions"}
    return AutomationCore.model_validate(automation.model_dump(mode="json")).model_dump(include=fields)


def _automation(name: str, about: str, trigger: EventTrigger, actions: list[ActionTypes]) -> AutomationCore:
    return AutomationCore(name=PREFIX + name, description=about, trigger=trigger, actions=actions, tags=[TAG])


def _runs(*states: str) -> set[str]:
    return {f"prefect.flow-run.{state}" for state in states}


def _when(
    expect: set[str],
    *,
    after: set[str] | None = None,
    within: timedelta = timedelta(0),
    for_each: set[str] | None = None,
    match: Labels | None = None,
    related: list[Labels] | None = None,
) -> EventTrigger:
    """Fires when an event comes; with `after`, when none of the expected events came within a time after one of
    these. Looks at runs of ours only."""
    is_ours: Labels = {"prefect.resource.id": f"prefect.tag.{TAG}"}
    return EventTrigger(
        expect=expect,
        after=after or set(),
        within=within,
        for_each=for_each or set(),
        posture=Posture.Proactive if after else Posture.Reactive,
        threshold=1,
        match=match or {},
        match_related=[is_ours, *(related or [])],
    )
