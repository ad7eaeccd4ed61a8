"""The command that starts a run again; it goes on where that one ended."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from schemas.settings import shows_secret
from tasks.landing.intake import SnapshotIntake
from tasks.landing.list_intake import ListIntake

COMMANDS = {
    "nightly": "run",
    "backfill": "backfill",
    "rescan": "rescan",
    "quarantine-retry": "quarantine retry",
    "verify": "verify",
    "retention": "prune",
}
OPTIONS = {"first": "--from", "last": "--to", "until": "--until", "unseen_days": "--unseen-days"}
OPTIONS_OF = {
    SnapshotIntake.source: {"snapshot": "--snapshot"},
    ListIntake.source: {"venue_list": "--list", "venue_corpus": "--corpus"},
}


def command_of(flow: str, parameters: Mapping[str, Any]) -> str | None:
    """The `collab` command that does what a flow run with these parameters did; None if there is none.

    An address that shows a secret is left to the settings, with what belongs to it: no other list may be brought into
    the corpus of this one.
    """
    if flow not in COMMANDS:
        return None
    words: list[str] = []
    for options in ({"source": "--source"}, OPTIONS_OF.get(str(parameters.get("source")), {}), OPTIONS):
        given = {option: str(parameters[name]) for name, option in options.items() if parameters.get(name) is not None}
        if not any(map(shows_secret, given.values())):
            words += [word for option, value in given.items() for word in (option, shlex.quote(value))]
    return " ".join(["collab", COMMANDS[flow], *words])
