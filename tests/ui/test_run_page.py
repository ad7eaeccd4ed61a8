"""Three nights as a maintainer finds them at 7 am: a good one, one that a rule stopped, one that was killed half-way.

Pictures go to the folder in COLLAB_TEST_PICTURES, else to a temporary one. `make ui`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tasks.sample.snapshot import write_sample
from tests.debian import Missing
from tests.factory import work, write_snapshot
from tests.ui.browser import Browser
from tests.ui.stage import Stage

pytestmark = pytest.mark.ui
HOSTILE = "[x](javascript:alert(1)) <img src=x onerror=alert(2)>"
STEPS = ("plan", "land", "parse and locate", "validate", "load", "publish")


class Eyes(NamedTuple):
    """Where to look, and with what."""

    stage: Stage
    browser: Browser
    folder: Path

    def page(self, run: dict[str, Any], tab: str, picture: str, *expected: str) -> str:
        return self.browser.look(f"{self.stage.address}/v2/runs/flow-run/{run['id']}?tab={tab}", picture, *expected)

    def artifact(self, run: dict[str, Any], key: str, picture: str, *expected: str, ui: str = "/v2") -> str:
        found = self.stage.artifacts(run["id"])[key]["id"]
        return self.browser.look(f"{self.stage.address}{ui}/artifacts/artifact/{found}", picture, *expected)


@pytest.fixture(scope="module")
def eyes(tmp_path_factory) -> Iterator[Eyes]:
    """A server with a worker, a browser, and a sample to run on."""
    folder = tmp_path_factory.mktemp("ui")
    try:
        browser = Browser(Path(os.environ.get("COLLAB_TEST_PICTURES", folder / "pictures")))
    except Missing as why:
        pytest.skip(str(why))
    write_sample(folder / "sample", works=2500, days=8, seed=1)
    with browser, Stage(folder) as stage:
        yield Eyes(stage, browser, folder)


@pytest.fixture(scope="module")
def good(eyes) -> dict[str, Any]:
    """The run of a first night."""
    return eyes.stage.end_of(eyes.stage.start_night(eyes.folder / "sample", until="2026-06-02"))


@pytest.fixture(scope="module")
def stopped(eyes, good) -> dict[str, Any]:
    """A run after it whose second batch a rule stops."""
    bad = [work(n, publication_year=2999, title=HOSTILE, type=HOSTILE, doi=HOSTILE) for n in range(1, 1001)]
    partitions = {"2026-07-01": [work(n) for n in range(2001, 3001)], "2026-07-02": bad}
    return eyes.stage.end_of(eyes.stage.start_night(write_snapshot(eyes.folder / "changed", partitions)))


@pytest.fixture(scope="module")
def killed(eyes, good) -> dict[str, Any]:
    """A run after the first whose process is killed half-way."""
    begun = eyes.stage.start_night(eyes.folder / "sample")
    eyes.stage.kill_after_a_load(begun)
    return eyes.stage.end_of(begun)


def test_a_good_night(eyes, good):
    assert good["state_type"] == "COMPLETED"
    tasks = eyes.stage.tasks(good["id"])
    assert [step for step in STEPS if not any(name.split(" openalex")[0].startswith(step) for name in tasks)] == []
    eyes.page(good, "TaskRuns", "good-1-tasks", "Completed", "load ", "publish")
    eyes.page(good, "Artifacts", "good-2-artifacts", "what-happened", "is out", "committed", "batch-counts")
    eyes.artifact(good, "what-happened", "good-3-words", "Done", "Written.", "Published.", "Go on.")
    eyes.artifact(good, "batch-counts", "good-4-counts", "adds up", "yes", "fetched", "quarantined")
    eyes.artifact(good, "what-changed", "good-5-changes", "because", "new", "papers")
    eyes.artifact(good, "release", "good-6-release", "file://", "pair_year", "atlas.duckdb")
    eyes.artifact(good, "gates", "good-7-gates", "not evaluated", "warned", "refused", "limit")
    eyes.artifact(good, "progress", "good-8-progress", "100%", "all done")


def test_a_night_that_a_rule_stopped(eyes, stopped):
    assert stopped["state_type"] == "FAILED"
    says = ("quarantined_share", "1", "0.05", "collab run --source openalex-snapshot --snapshot")
    eyes.page(stopped, "Artifacts", "stopped-1-artifacts", "Failed", "RED", "quarantined_share", "collab run")
    eyes.page(stopped, "Details", "stopped-2-details", "GateStopped", "quarantined_share is 1", "0.05")
    eyes.page(stopped, "TaskRuns", "stopped-3-tasks", "load ", "Failed")
    committed = ("1 batch committed, which no failure takes back: 1,000 fetched", "readers see release")
    eyes.artifact(stopped, "what-happened", "stopped-4-words", "Stopped by a rule", *says, *committed, "Retry")
    eyes.artifact(stopped, "gates", "stopped-5-gates", "STOPPED", "quarantined_share", "1000 of 1000")


@pytest.mark.parametrize("ui", ["", "/v2"])
def test_what_a_record_says_is_text_and_nothing_else(eyes, stopped, ui):
    assert "javascript:alert" in eyes.stage.artifacts(stopped["id"])["gates"]["data"]
    for key in ("gates", "what-happened"):
        eyes.artifact(stopped, key, f"hostile-{key}{ui.replace('/', '-')}", "quarantined_share", ui=ui)
        assert 'href="javascript:' not in eyes.browser.source
        assert "<img src=" not in eyes.browser.source


def test_a_night_that_was_killed_and_is_tried_again(eyes, killed):
    assert killed["state_type"] == "CRASHED"
    eyes.page(killed, "Artifacts", "killed-1-artifacts", "Crashed", "RED", "SIGKILL", "collab run")
    says = (
        "The process was killed",
        "committed, which no failure takes back",
        "was rolled back",
        "Retry",
        "goes on where it ended",
    )
    eyes.artifact(killed, "what-happened", "killed-2-words", *says)
    eyes.page(killed, "Details", "killed-3-details", "Crashed")
    again = eyes.stage.retry(killed["id"])
    assert again["state_type"] == "COMPLETED", again["state"]["message"]
    eyes.page(again, "Artifacts", "killed-4-again", "Completed", "is out")


def test_a_release_names_the_tables_it_made_and_their_source(eyes, good):
    made = eyes.stage.events("prefect.asset.materialization.succeeded")
    assert {"collab://mart/pair_year", "collab://mart/country_year"} <= {
        e["resource"]["prefect.resource.id"] for e in made
    }
    assert all(event["payload"]["rows"] >= 0 for event in made)
    (event, *_) = [event for event in made if event["resource"]["prefect.resource.name"] == "pair_year"]
    assert "collab://source/openalex-snapshot" in [related["prefect.resource.id"] for related in event["related"]]
    eyes.browser.look(f"{eyes.stage.address}/v2/runs", "runs", "nightly 20", "openalex-snapshot")
