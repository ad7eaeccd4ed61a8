"""What all flows have in common: how Prefect is to treat them, and how one runs the steps of a night."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec

import schemas.settings  # noqa: F401  (first: switches telemetry off before Prefect is imported)

# isort: split
from prefect import Flow, flow, runtime

from flows.orchestration.alerts import announced
from flows.orchestration.artifacts import run_page, tell_how_it_ended
from flows.orchestration.deployed import run_name
from flows.orchestration.prefect_steps import as_task
from flows.steps import RunRequest, Steps, with_night

P = ParamSpec("P")
LONGEST_RUN_SECONDS = 20 * 3600  # so that a night ends before the next one begins
WEEK_SECONDS = 7 * 24 * 3600


def collab_flow(
    name: str, *, run_name: str | Callable[[], str] = run_name, longest: int = LONGEST_RUN_SECONDS
) -> Callable[[Callable[P, str]], Flow[P, str]]:
    """Decorator that makes a flow of a function, under the name of its deployment.

    However a run ends, something says so; what it returns is a line for its page, and is kept nowhere else.

    Args:
        run_name: name of a run, or what makes it.
        longest: seconds after which a run is ended.
    """
    return flow(
        name=name,
        flow_run_name=run_name,
        timeout_seconds=longest,
        persist_result=False,
        on_failure=[tell_how_it_ended],
        on_crashed=[tell_how_it_ended],
        on_cancellation=[tell_how_it_ended],
    )


def run_as_tasks(steps: Steps, asked: RunRequest) -> str:
    """Run the steps of a night as Prefect tasks, with a page that shows how far it is and what came of it."""
    with run_page() as page:
        return with_night(
            announced(steps),
            as_task,
            asked,
            show=page.show,
            watcher=page.progress,
            flow_run=str(runtime.flow_run.id),
        )
