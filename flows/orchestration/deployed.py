"""What all flows share as deployments: the parameters that a form explains, the name of a run, its settings."""

from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import schemas.settings  # (first: switches telemetry off before Prefect is imported)

# isort: split
from prefect import runtime
from pydantic import Field

from schemas.errors import UsageError
from schemas.venue_list import CORPUS_NAME

TAG = "collab"
"""On every run of ours, whatever else the server runs."""

# Forms take title and description of a parameter from the docstring of its flow, the rest from here.
Source = Annotated[
    Literal["openalex-snapshot", "openalex-api", "venue-list"], Field(examples=["openalex-snapshot", "openalex-api"])
]
StoredSource = Annotated[Literal["openalex-snapshot", "openalex-api"], Field(examples=["openalex-snapshot"])]
Root = Annotated[
    str | None, Field(min_length=1, examples=["/srv/openalex", "s3://openalex", "https://example.org/openalex"])
]
ListFile = Annotated[str | None, Field(min_length=1, examples=["/srv/lists/icml2026.jsonl"])]
Corpus = Annotated[str | None, Field(pattern=f"^(?:{CORPUS_NAME.pattern})$", examples=["my-conferences"])]
Day = Annotated[date, Field(examples=["2026-11-22"])]
MaybeDay = Annotated[date | None, Field(examples=["2026-11-22"])]
Days = Annotated[int, Field(ge=1, le=3_650, examples=[7])]


def run_name() -> str:
    """Name of the current run: flow, UTC date that it was scheduled for, source; a late or repeated run keeps it."""
    started = runtime.flow_run.scheduled_start_time or datetime.now(UTC)
    source = runtime.flow_run.parameters.get("source", "")
    return f"{runtime.flow_run.flow_name} {started.astimezone(UTC):%Y-%m-%d} {source}".strip()


def load_settings(**overrides: Any) -> schemas.settings.Settings:
    """The settings of a run.

    Raises:
        UsageError: one is wrong, or COLLAB_HOME lies in the folder that a worker makes for a run and removes after it.
    """
    settings = schemas.settings.load_settings(**overrides)
    folder = Path.cwd().resolve()
    is_passing = folder.is_relative_to(Path(tempfile.gettempdir()).resolve())
    if runtime.deployment.id and is_passing and settings.home.is_relative_to(folder):
        raise UsageError(
            f"COLLAB_HOME is {settings.home}, which goes with the folder of this run",
            "set it to an absolute path in the environment of the worker, then start the worker again",
        )
    return settings
