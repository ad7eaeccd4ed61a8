"""The source contract of venue lists: one paper as msgspec Struct, in two layouts that are told apart by their columns.

`paperlists` (papercopilot/paperlists): author, aff. Authors by `;`, or by commas where there is no `;`; `aff` has a
slot for each author, by `;`.
`plain`: authors, affiliations. Authors by `;`; `affiliations` has a slot for each author, by `;`. In JSON lines both
may be lists instead (names; for each author null, a string or a list of strings), which are taken as they are.
In both, `+` joins several affiliations of one author.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import msgspec
from msgspec import Struct

OTHERS = frozenset({"openalex"})  # corpora that a list cannot be
CORPUS_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
IDENTIFYING = ("title", "year", "venue")
PLAIN, PAPERLISTS = ("authors", "affiliations"), ("author", "aff")
# Authors of a paperlists row can stand without affiliations: whole venue-years have none.
REQUIRED = {PLAIN: (*IDENTIFYING, *PLAIN), PAPERLISTS: (*IDENTIFYING, "author")}
SURPLUS = ""  # key of the cells of a CSV row that have no column

# Not accepted, or not decided yet: how such a status begins, in compare form. Any other, and none, is acceptance.
NOT_ACCEPTED = re.compile(r"(desk )?(reject|withdr)|active\b|under review|in review|pending|submitted|undecided")
RETRACTED = re.compile(r"retract")
# Titles, in compare form, of what proceedings hold beside papers.
FRONT_MATTER = re.compile(
    r"(front ?matter|preface|foreword)( and (preface|foreword|front ?matter))?"
    r"|(preface|foreword) (conference|proceedings|workshop|symposium|the \w+ conference) .*"
    r"|proceedings of (the )?.*\b(conference|workshop|symposium|meeting)\b.*"
    r"|((author|subject|keyword) )?index|(table of )?contents|title page|cover|copyright( page| notice)?"
    r"|((organi[sz]ing|program|programme|steering) )?committees?|reviewers|sponsors|welcome( message)?"
    r"|keynote speech and plenary talks|keynotes?( (speech|speeches|talks|speakers))?|editorial"
)
# Affiliations, in compare form, that say there is none.
PLACEHOLDERS = frozenset({"", "n a", "na", "nan", "none", "null", "unknown", "not available", "tbd", "anonymous"})

Slot = str | list[str | None] | None


class Paper(Struct, gc=False):
    """One line of a list; keys we do not name are skipped."""

    title: str | None = None
    year: int | float | str | None = None
    venue: str | None = None
    id: str | int | None = None
    doi: str | None = None
    status: str | None = None
    abstract: str | None = None
    author: str | None = None
    aff: str | None = None
    authors: str | list[str | None] | None = None
    affiliations: str | list[Slot] | None = None
    surplus: list[str] | None = msgspec.field(name=SURPLUS, default=None)

    @property
    def is_plain(self) -> bool:
        """Whether it is of the plain layout."""
        return self.authors is not None or self.affiliations is not None


paper_decoder = msgspec.json.Decoder(Paper)


def missing_columns(columns: Collection[str]) -> list[str]:
    """Columns that a list of these columns lacks; empty if it is of a known layout."""
    layout = next((names for names in (PLAIN, PAPERLISTS) if not set(names).isdisjoint(columns)), PLAIN)
    return [name for name in REQUIRED[layout] if name not in columns]
