"""What deployments/prefect.yaml declares: the one list of deployments, with schedules, parameters and environment."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, cast

import yaml

NAME = "prefect.yaml"


def declared() -> list[dict[str, Any]]:
    """The deployments, in the layout of Prefect; from the installed package, or from the project it runs in."""
    packaged = resources.files("flows") / NAME
    source = packaged if packaged.is_file() else Path(__file__).resolve().parents[2] / "deployments" / NAME
    return cast(list[dict[str, Any]], yaml.safe_load(source.read_text(encoding="utf-8"))["deployments"])


def flow_names() -> list[str]:
    """Names of the flows that are deployed, which are those of the deployments."""
    return [entry["name"] for entry in declared()]
