"""Three nights as a maintainer finds them at 7 am: a good one, one that a rule stopped, one that was killed half-way.

Pictures go to the folder in COLLAB_TEST_PICTURES, else to a temporary one. `make ui`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tasks.sample import write_sample
from tests.factory import work, write_snapshot
from tests.ui.browser import Browser, Missing
from tests.ui.stage import Stage

pytestmark = pytest.mark.ui
HOSTILE = "[x](javascript:alert(1)) <img src=x onerror=alert(2)>"
STEPS = ("plan", "land", "parse and locate", "validate", "load", "publish")


class Nights(NamedTuple):
    stage: Stage
    browser: Browser
    good: dict[str, Any]
    stopped: dict[str, Any]
    killed: dict[str, Any]
    sample: Path

    def page(self, run: dict[str, Any], tab: str, picture: str, *expected: str) -> str:
        return self.browser.look(f"{self.stage.address}/v2/runs/flow-run/{run['id']}?tab={tab}", picture, *expected)

    def artifact(self, run: dict[str, Any], key: str, picture: str, *expected: str, ui: str = "/v2") -> str:
        found = self.stage.artifacts(run["id"])[key]["id"]
        return self.browser.look(f"{self.stage.address}{ui}/artifacts/artifact/{found}", picture, *expected)


@pytest.fixture(scope="module")
def nights(tmp_path_factory) -> Iterator[Nights]:
    folder = tmp_path_factory.mktemp("ui")
    try:
        browser = Browser(Path(os.environ.get("COLLAB_TEST_PICTURES", folder / "pictures")))
    except Missing as why:
        pytest.skip(str(why))
    sample, changed = folder / "sample", folder / "changed"
    write_sample(sample, works=2500, days=8, seed=1)
    bad = [work(n, publication_year=2999, title=HOSTILE, type=HOSTILE, doi=HOSTILE) for n in range(1, 1001)]
    write_snapshot(changed, {"2026-07-01": [work(n) for n in range(2001, 3001)], "2026-07-02": bad})
    with browser, Stage(folder) as stage:
        good = stage.end_of(stage.start_night(sample, until="2026-06-02"))
        stopped = stage.end_of(stage.start_night(changed))
        begun = stage.start_night(sample)
        stage.kill_after_a_load(begun)
        yield Nights(stage, browser, good, stopped, stage.end_of(begun), sample)


def test_a_good_night(nights):
    assert nights.good["state_type"] == "COMPLETED"
    tasks = nights.stage.tasks(nights.good["id"])
    assert [step for step in STEPS if not any(name.split(" openalex")[0].startswith(step) for name in tasks)] == []
    nights.page(nights.good, "TaskRuns", "good-1-tasks", "Completed", "load ", "publish")
    nights.page(nights.good, "Artifacts", "good-2-artifacts", "what-happened", "is out", "committed", "batch-counts")
    nights.artifact(nights.good, "what-happened", "good-3-words", "Done", "Written.", "Published.", "Nothing to do")
    nights.artifact(nights.good, "batch-counts", "good-4-counts", "adds up", "yes", "fetched", "quarantined")
    nights.artifact(nights.good, "what-changed", "good-5-changes", "because", "new", "papers")
    nights.artifact(nights.good, "release", "good-6-release", "file://", "pair_year", "atlas.duckdb")
    nights.artifact(nights.good, "gates", "good-7-gates", "not evaluated", "warned", "refused", "limit")
    nights.artifact(nights.good, "progress", "good-8-progress", "100%", "all done")


def test_a_night_that_a_rule_stopped(nights):
    assert nights.stopped["state_type"] == "FAILED"
    says = ("quarantined_share", "1", "0.05", "collab run --source openalex-snapshot --snapshot")
    nights.page(nights.stopped, "Artifacts", "stopped-1-artifacts", "Failed", "RED", "quarantined_share", "collab run")
    nights.page(nights.stopped, "Details", "stopped-2-details", "GateStopped", "quarantined_share is 1", "0.05")
    nights.page(nights.stopped, "TaskRuns", "stopped-3-tasks", "load ", "Failed")
    committed = ("1 batch committed, which no failure takes back: 1,000 fetched", "readers see release")
    nights.artifact(nights.stopped, "what-happened", "stopped-4-words", "Stopped by a rule", *says, *committed, "Retry")
    nights.artifact(nights.stopped, "gates", "stopped-5-gates", "STOPPED", "quarantined_share", "1000 of 1000")


@pytest.mark.parametrize("ui", ["", "/v2"])
def test_what_a_record_says_is_text_and_nothing_else(nights, ui):
    assert "javascript:alert" in nights.stage.artifacts(nights.stopped["id"])["gates"]["data"]
    for key in ("gates", "what-happened"):
        nights.artifact(nights.stopped, key, f"hostile-{key}{ui.replace('/', '-')}", "quarantined_share", ui=ui)
        assert 'href="javascript:' not in nights.browser.source
        assert "<img src=" not in nights.browser.source


def test_a_night_that_was_killed_and_is_tried_again(nights):
    assert nights.killed["state_type"] == "CRASHED"
    nights.page(nights.killed, "Artifacts", "killed-1-artifacts", "Crashed", "RED", "SIGKILL", "collab run")
    says = (
        "The process was killed",
        "committed, which no failure takes back",
        "was rolled back",
        "Retry",
        "goes on where it ended",
    )
    nights.artifact(nights.killed, "what-happened", "killed-2-words", *says)
    nights.page(nights.killed, "Details", "killed-3-details", "Crashed")
    again = nights.stage.retry(nights.killed["id"])
    assert again["state_type"] == "COMPLETED", again["state"]["message"]
    nights.page(again, "Artifacts", "killed-4-again", "Completed", "is out")


def test_a_release_names_the_tables_it_made_and_their_source(nights):
    made = nights.stage.events("prefect.asset.materialization.succeeded")
    assert {"collab://mart/pair_year", "collab://mart/country_year"} <= {
        e["resource"]["prefect.resource.id"] for e in made
    }
    assert all(event["payload"]["rows"] >= 0 for event in made)
    (event, *_) = [event for event in made if event["resource"]["prefect.resource.name"] == "pair_year"]
    assert "collab://source/openalex-snapshot" in [related["prefect.resource.id"] for related in event["related"]]
    nights.browser.look(f"{nights.stage.address}/v2/runs", "runs", "nightly 20", "openalex-snapshot")
