"""The source contract: an OpenAlex Work as msgspec Structs, only the fields we use.

Covers the 2026 shape of API and snapshot and the older shapes of 2021 to 2025, where a field has moved but means the
same (`raw_affiliation_string`, `host_venue`, `display_name` for a missing title). Keys we do not name are skipped by
the decoder. Authorships, references and the abstract stay undecoded (`msgspec.Raw`) until the work is known to be in
scope.
Facts: ../shared/reference/sources.md 1.7.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct

# Larger numbers than the warehouse holds do not fit the contract; what is plausible is for the rules to say.
Year = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Count = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
NonNegative = Annotated[int, Meta(ge=0, le=2**31 - 1)]
EMPTY_LIST = Raw(b"[]")
NULL = Raw(b"null")


class Institution(Struct, gc=False):
    """An institution as linked by OpenAlex; `country_code` can be null although the authorship has countries."""

    id: str | None = None
    display_name: str | None = None
    ror: str | None = None
    country_code: str | None = None
    type: str | None = None


class Affiliation(Struct, gc=False):
    """One raw string and the institutions OpenAlex found in it; the list can hold null."""

    raw_affiliation_string: str | None = None
    institution_ids: list[str | None] | None = None


class Author(Struct, gc=False):
    """The author of an authorship; `id` can be null."""

    id: str | None = None


class Authorship(Struct, gc=False):
    """One author of one work. `raw_affiliation_string` (singular) is the shape before 2023.

    What says where the author works stays undecoded: co-authors, and authors of one group over the years, repeat it
    byte for byte (43 % within a work of the real records), so it is decoded and located once.
    """

    author: Author | None = None
    institutions: Raw = NULL
    is_corresponding: bool | None = None
    raw_affiliation_strings: Raw = NULL
    raw_affiliation_string: str | None = None
    affiliations: Raw = NULL


class Subfield(Struct, gc=False):
    """Second level of the topic tree; `id` is a URL such as https://openalex.org/subfields/1702."""

    id: str | None = None


class Topic(Struct, gc=False):
    """A topic of a work, best first."""

    id: str | None = None
    subfield: Subfield | None = None


class Keyword(Struct, gc=False):
    """A keyword; `id` is a URL ending in a slug."""

    id: str | None = None


class Venue(Struct, gc=False):
    """Journal, conference or repository."""

    display_name: str | None = None


class Location(Struct, gc=False):
    """Where a work is hosted."""

    source: Venue | None = None


class Identity(Struct, gc=False):
    """What tells which version of which work a record is, whatever else is wrong with it."""

    id: str
    updated_date: str


class Work(Struct, gc=False):
    """One line of a snapshot part, or one item of an API page."""

    id: str
    updated_date: str
    doi: str | None = None
    title: str | None = None
    display_name: str | None = None
    publication_year: Year | None = None
    publication_date: str | None = None
    language: str | None = None
    type: str | None = None
    is_retracted: bool | None = None
    is_xpac: bool | None = None
    cited_by_count: Count | None = None
    authors_count: NonNegative | None = None
    is_authors_truncated: bool | None = None
    primary_location: Location | None = None
    host_venue: Venue | None = None
    primary_topic: Topic | None = None
    topics: list[Topic] | None = None
    keywords: list[Keyword | str] | None = None
    authorships: Raw = EMPTY_LIST
    referenced_works: Raw = EMPTY_LIST
    abstract_inverted_index: Raw = NULL

    @property
    def venue(self) -> str | None:
        """Display name of the journal, conference or repository."""
        place = (self.primary_location.source if self.primary_location else None) or self.host_venue
        return place.display_name if place else None

    @property
    def any_title(self) -> str | None:
        """Title; `display_name` where the record has no `title`."""
        return self.title or self.display_name


identity_decoder = msgspec.json.Decoder(Identity)
work_decoder = msgspec.json.Decoder(Work)
institutions_decoder = msgspec.json.Decoder(list[Institution] | None)
affiliations_decoder = msgspec.json.Decoder(list[Affiliation] | None)
strings_decoder = msgspec.json.Decoder(list[str | None] | None)
authorships_decoder = msgspec.json.Decoder(list[Authorship] | None)
references_decoder = msgspec.json.Decoder(list[str | None] | None)
numbers_decoder = msgspec.json.Decoder(list[int])
