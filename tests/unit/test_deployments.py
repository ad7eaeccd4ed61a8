"""Files of deployments/: nothing in them is a secret, open to others, or a name that does not exist."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.settings import Settings as PrefectSettings
from prefect.settings.legacy import _get_valid_setting_names

from schemas.settings import PREFIX, Settings
from tests.commands import options

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deployments"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (FOLDER / "Dockerfile").read_text()
EXAMPLE = (FOLDER / ".env.example").read_text()
FILES = sorted(path for path in FOLDER.rglob("*") if path.is_file())
UNITS = [path for path in FILES if "systemd" in path.parts]
KNOWN = {PREFIX + name.upper() for name in Settings.model_fields}
SECRET = re.compile("PASSWORD|KEY|TOKEN|SECRET|WEBHOOK")
ENDS_BY_ITSELF = {"deploy"}


def example() -> dict[str, str]:
    return dict(line.split("=", 1) for line in EXAMPLE.splitlines() if re.match("[A-Z_]+=", line))


def sections(unit: Path) -> dict[str, list[tuple[str, str]]]:
    """Lines of a unit by section; systemd allows a name more than once."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in unit.read_text().splitlines():
        if line.startswith("["):
            found[line.strip("[]")] = []
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found[list(found)[-1]].append((name, value))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_settings_that_are_named_exist(path):
    text = path.read_text()
    named = set(re.findall(r"\bCOLLAB_[A-Z_]*[A-Z]\b", text))
    assert {name for name in named if not name.startswith("COLLAB_TEST_")} <= KNOWN
    prefect = set(re.findall(r"\bPREFECT_[A-Z_]*[A-Z]\b", text)) - {"PASSWORD_PREFECT", "PORT_PREFECT"}
    assert prefect <= set(_get_valid_setting_names(PrefectSettings))


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_commands_that_are_called_exist(path):
    known = options()
    for name, value in sections(path).get("Service", ()):
        if name == "ExecStart":
            program, command, *rest = shlex.split(value)
            assert program.startswith("/opt/collab/.venv/bin/")
            if program.endswith("/collab"):
                assert {word for word in rest if word.startswith("--")} <= known[command]
    for service in SERVICES.values():
        if service.get("command", [""])[0] == "collab":
            assert {word for word in service["command"][2:] if word.startswith("--")} <= known[service["command"][1]]


def test_a_deployment_can_set_what_it_must():
    assert {name for name in example() if name.startswith(PREFIX)} >= {
        PREFIX + name.upper() for name in Settings.model_fields if SECRET.search(name.upper())
    }
    asked = set(re.findall(r"\$\{([A-Z_]+)", (FOLDER / "compose.yaml").read_text()))
    assert asked <= example().keys()


def test_no_file_holds_a_secret():
    assert {name: value for name, value in example().items() if SECRET.search(name) and value} == {}
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if SECRET.search(variable) or "PASSWORD" in variable:
                assert value == "" or re.fullmatch(r"\$\{[A-Z_]+:\?.+\}", value), f"{name}: {variable}"
    for path in FILES:
        assert not re.search(r"://[^/\s:]+:[^/\s@$]+@", path.read_text()), f"{path.name}: a password in an address"


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_watched_bounded_and_may_do_little(name):
    service = SERVICES[name]
    check = service["healthcheck"]
    assert check == {"disable": True} if name in ENDS_BY_ITSELF else check["test"]
    assert service["restart"].startswith("on-failure" if name in ENDS_BY_ITSELF else "unless-stopped")
    assert service["user"] not in ("root", "0", "0:0")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True  # somebody must reap what a killed run leaves behind
    assert {"cpus", "memory"} <= service["deploy"]["resources"]["limits"].keys()
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert set(service["networks"]) <= COMPOSE["networks"].keys()
    assert {volume.split(":")[0] for volume in service.get("volumes", ())} <= COMPOSE["volumes"].keys()
    assert not service["image"].endswith(":latest")
    for other, when in service.get("depends_on", {}).items():
        is_done = when["condition"] == "service_completed_successfully"
        assert is_done == (other in ENDS_BY_ITSELF)
        assert is_done or when["condition"] == "service_healthy"


def test_the_image_is_made_of_the_hashed_lock_and_runs_as_nobody_special():
    assert "pip install --no-deps --require-hashes --requirement requirements.lock" in DOCKERFILE
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["python:${PYTHON}"] * 2
    assert re.search(r"^ARG PYTHON=3\.11\.\d+-", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK ", DOCKERFILE, re.MULTILINE)
    assert "index-url" not in DOCKERFILE
    assert "://" not in DOCKERFILE.replace("http://127.0.0.1:", "")
    kept = [line[1:] for line in (FOLDER / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")]
    assert all((ROOT / path).exists() for path in kept)
    assert not any(path.endswith(".env") for path in kept)


@pytest.mark.parametrize(
    "path",
    [ROOT / "README.md", ROOT / "schemas" / "README.md", FOLDER / "README.md", ROOT / "DECISIONS.md"],
    ids=["users", "analysts", "operators", "maintainers"],
)
def test_no_table_is_cut_in_two(path):
    """A row after a blank line is plain text, unless it is a head."""
    lines = path.read_text().splitlines()
    heads = [at for at, line in enumerate(lines) if line.startswith("|") and not lines[at - 1].startswith("|")]
    assert [lines[at] for at in heads if not lines[at + 1].startswith("|---")] == []


def test_nothing_phones_home():
    units = (FOLDER / "systemd" / "collab-.service.d" / "common.conf").read_text()
    for text in (DOCKERFILE, units):
        for line in (
            "PREFECT_SERVER_ANALYTICS_ENABLED=false",
            "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY=false",
            "DO_NOT_TRACK=1",
            "GX_ANALYTICS_ENABLED=false",
        ):
            assert line in text


def test_what_fails_is_told_and_what_was_missed_is_caught_up():
    services = {path.stem: sections(path) for path in UNITS if path.suffix == ".service"}
    for name, unit in services.items():
        if name != "collab-alert@":
            assert ("OnFailure", "collab-alert@%N.service") in unit["Unit"], name
    assert ("ExecStart", '/opt/collab/.venv/bin/collab alert "%i failed"') in services["collab-alert@"]["Service"]
    timers = {path.stem: sections(path)["Timer"] for path in UNITS if path.suffix == ".timer"}
    assert timers.keys() == {f"collab-{name}" for name in ("nightly", "verify", "retention", "status")}
    assert timers.keys() <= services.keys()
    for name, lines in timers.items():
        assert ("Persistent", "true") in lines, name
        assert dict(lines)["OnCalendar"].endswith(" UTC")


@pytest.mark.parametrize("name", ["nightly", "verify", "retention", "status"])
def test_systemd_lets_a_unit_wait_for_another_run_as_long_as_it_wants(name):
    unit = sections(FOLDER / "systemd" / f"collab-{name}.service")
    service = dict(unit["Service"])
    setting, _, wait = service["Environment"].partition("=")
    assert setting == "COLLAB_WAREHOUSE_WAIT"
    longest = _minutes(service["TimeoutStartSec"])
    assert 60 < int(wait) < longest <= _minutes(dict(unit["Unit"]).get("JobTimeoutSec", "20h"))


def _minutes(text: str) -> int:
    return int(text[:-1]) * 60 if text.endswith("h") else int(text.removesuffix("min"))


def test_systemd_accepts_the_units(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this machine")
    copy = tmp_path / "units"
    shutil.copytree(FOLDER / "systemd", copy)
    for unit in [path for path in copy.rglob("*") if path.is_file()]:  # programs that exist here
        unit.write_text(unit.read_text().replace("/opt/collab/.venv/bin/", f"{Path(sys.executable).parent}/"))
    names = [str(path) for path in sorted(copy.iterdir()) if path.is_file()]
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names],
        env={"SYSTEMD_UNIT_PATH": f"{copy}:"},
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in found.stderr.splitlines() if "collab" in line]
    assert ours == []
    for name in names:
        if name.endswith(".service"):
            rated = subprocess.run(
                ["systemd-analyze", "security", "--offline=true", "--threshold=20", name],
                env={"SYSTEMD_UNIT_PATH": f"{copy}:"},
                capture_output=True,
                text=True,
                check=False,
            )
            assert rated.returncode == 0, rated.stdout[-200:]
