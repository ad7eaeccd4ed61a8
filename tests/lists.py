"""Small venue lists in both layouts, and nights that bring them."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flows.progress import Lines
from flows.steps import Summary, directly, run_night
from schemas.settings import Settings
from tasks.landing.list_intake import ListIntake
from tasks.night import Night

FRANCE, JAPAN, CHINA = "Sorbonne, Paris, France", "University of Tokyo, Tokyo, Japan", "Tsinghua, Beijing, China"


def paper(number: int, **more: Any) -> dict[str, Any]:
    """A row of the layout paperlists; keyword arguments replace or add columns, None takes one away."""
    row = {
        "venue": "nips",
        "year": 2020,
        "id": f"p{number}",
        "title": f"Paper {number}",
        "status": "Poster",
        "author": "Ann A;Bob B",
        "aff": f"{FRANCE};{JAPAN}",
    } | more
    return {name: value for name, value in row.items() if value is not None}


def plain(number: int, **more: Any) -> dict[str, Any]:
    """A row of the plain layout."""
    row = {
        "title": f"Paper {number}",
        "year": 2020,
        "venue": "My Conference",
        "authors": "Ann A; Bob B",
        "affiliations": f"{FRANCE}; {JAPAN}",
    } | more
    return {name: value for name, value in row.items() if value is not None}


def write_list(file: Path, rows: Sequence[dict[str, Any] | bytes]) -> Path:
    """JSON lines, compressed if the name says so; rows are dicts or raw lines."""
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    content = b"".join(line + b"\n" for line in lines)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(content, mtime=0) if file.suffix == ".gz" else content)
    return file


def write_csv(file: Path, rows: Sequence[dict[str, Any]], *, delimiter: str = ",", encoding: str = "utf-8") -> Path:
    """The same as CSV, by the columns of the first row."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding=encoding, newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return file


def bring(settings: Settings, file: Path, corpus: str = "venues", *, publish: bool = False) -> Summary:
    """One night that brings a list, without Prefect, and without a release if it is not asked for."""
    summary = Summary()

    def step(name: str, about: str, call: Callable[..., Any], *args: Any, retries: int = 0) -> Any:
        return directly(name, about, call, *args) if publish or name != "publish" else None

    of_list = settings.model_copy(update={"venue_list": str(file), "venue_corpus": corpus})
    with Night(of_list, ListIntake) as night:
        run_night(night, step, Lines(), summary)
    return summary
