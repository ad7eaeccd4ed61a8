"""A Prefect server with a worker of its own on 127.0.0.1, and nights on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.servers import free_port
from tests.waiting import wait

ROOT = Path(__file__).resolve().parents[2]
LONGEST_START, LONGEST_NIGHT = 180, 300
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Stage(AbstractContextManager["Stage"]):
    """Server, work pool, deployments and worker, all in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.address = f"http://127.0.0.1:{free_port()}"
        api = f"{self.address}/api"
        self.home = folder / "home"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("COLLAB_", "PREFECT_"))},
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": api,
            "PREFECT_UI_API_URL": api,  # the page asks this address; without it, port 4200
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PYTHONPATH": str(ROOT),
            "COLLAB_HOME": str(self.home),
            "COLLAB_SCOPE": "all",
            "COLLAB_WORKERS": "1",
            "COLLAB_BATCH_WORKS": "1000",
        }
        self._api = httpx.Client(base_url=api, timeout=30)
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Stage:
        try:
            self._start("server", "server", "start", "--host", "127.0.0.1", "--port", self.address.rsplit(":", 1)[1])
            wait(self._is_up, LONGEST_START, "the Prefect server", pause=1)
            self._deploy()
            self._worker = self._start("worker", "worker", "start", "--pool", "collab", "--type", "process")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        for process in reversed(self._started):
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start_night(self, snapshot: Path, **parameters: Any) -> str:
        """Ask for a run as the button in the UI does; its id."""
        deployment = self._get("/deployments/name/nightly/nightly")["id"]
        body = {"parameters": {"snapshot": str(snapshot), **parameters}, "state": {"type": "SCHEDULED"}}
        return str(self._post(f"/deployments/{deployment}/create_flow_run", body)["id"])

    def end_of(self, run: str) -> dict[str, Any]:
        """The run once it has ended and its page is drawn."""

        def ended() -> dict[str, Any] | None:
            found = self._get(f"/flow_runs/{run}")
            is_drawn = found["state_type"] in ENDED and "what-happened" in self.artifacts(run)
            return found if is_drawn else None

        return wait(ended, LONGEST_NIGHT, f"the end of run {run}", pause=1)

    def retry(self, run: str) -> dict[str, Any]:
        """Press Retry on the page of a run, and wait for its end."""
        self._post(f"/flow_runs/{run}/set_state", {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}})
        wait(lambda: self._get(f"/flow_runs/{run}")["state_type"] not in ENDED, LONGEST_NIGHT, "the retry", pause=1)
        return self.end_of(run)

    def kill_after_a_load(self, run: str) -> None:
        """SIGKILL to the processes of a run once a batch of it is committed, as a machine short of memory does it."""

        def loads() -> int:
            return sum(task["state_type"] == "COMPLETED" for name, task in self.tasks(run).items() if "load " in name)

        wait(loads, LONGEST_NIGHT, "a committed batch", pause=1)
        for child in psutil.Process(self._worker.pid).children(recursive=True):
            child.send_signal(signal.SIGKILL)

    def tasks(self, run: str) -> dict[str, Any]:
        """Task runs of a run by name."""
        found = self._post("/task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
        return {task["name"]: task for task in found}

    def artifacts(self, run: str) -> dict[str, Any]:
        """Newest artifact of each key of a run."""
        body = {"artifacts": {"flow_run_id": {"any_": [run]}}, "sort": "CREATED_DESC"}
        found = self._post("/artifacts/filter", body)
        return {artifact["key"]: artifact for artifact in reversed(found)}

    def events(self, prefix: str) -> list[dict[str, Any]]:
        """Events whose name begins so."""
        return list(self._post("/events/filter", {"filter": {"event": {"prefix": [prefix]}}, "limit": 50})["events"])

    def _start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{name}.log").open("wb") as log:
            command = [sys.executable, "-m", "prefect", *arguments]
            process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=log, stderr=log)
        self._started.append(process)
        return process

    def _deploy(self) -> None:
        command = [sys.executable, "-m", "flows.cli", "deploy"]
        done = subprocess.run(command, cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def _is_up(self) -> bool:
        try:
            return self._api.get("/health").is_success
        except httpx.TransportError:
            return False

    def _get(self, path: str) -> Any:
        return self._ask("GET", path)

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._ask("POST", path, json=body)

    def _ask(self, method: str, path: str, **body: Any) -> Any:
        """Asks again while the server is busy, as Prefect's own client does: on SQLite one writes at a time."""

        def answer() -> httpx.Response | None:
            found = self._api.request(method, path, **body)
            return None if found.status_code == httpx.codes.SERVICE_UNAVAILABLE else found

        return wait(answer, LONGEST_START, f"an answer to {path}", pause=1).raise_for_status().json()
