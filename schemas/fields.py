"""Versioned definitions of AI and its subfields, read from schemas/data/fields.toml.

A work is in field `ai` if an admitting rule matches its primary topic, or its source admits it (venue lists); only then
do the other fields look at it. The first rule that matches is stored with the work. Fields overlap; nothing ever sums
over them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from schemas import openalex
from schemas.reviewed import DATA

ADMITTING_KINDS = frozenset({"subfield", "topic"})  # expressible as OpenAlex filters, so that API and snapshot agree
VENUE_KINDS = frozenset({"venue", "venue_pattern"})
KINDS = ADMITTING_KINDS | VENUE_KINDS | {"any_topic", "keyword", "title", "text"}
VENUE = "venue"
GROUPS = frozenset({"topic", VENUE})
PATTERN_KINDS = frozenset({"title", "text"})
ALL = "all"
AI = "ai"
_ORDINAL = r"(?:\d+(?:st|nd|rd|th)|(?:[a-z]+-)?(?:first|second|third|[a-z]+th))"
_BEFORE = rf"(?:proceedings of )?(?:the )?(?:(?:\d{{4}}|{_ORDINAL}|annual) )*"
_BEHIND = r"(?:,? \d{4}| \((?![^()]*(?:workshop|[a-vx-z]w\b))[^()]*\))*"
"""What yearly proceedings add to the name of a conference. An acronym in brackets that ends in W ("CVPRW", not "WWW")
is that of its workshops."""


@dataclass(frozen=True)
class Rule:
    """One reason why a work belongs to a field; `source` says who defined it so.

    Patterns have hints: what they match contains one of them, in lower case (a test generates matches). Looking for
    hints first keeps the regular expressions, and the decoding of abstracts, to the few works that need them.
    """

    id: str
    kind: str
    values: tuple[str, ...]
    source: str
    hints: tuple[str, ...] = ()

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Values as one regular expression on whole words."""
        return re.compile(rf"(?<!\w)(?:{'|'.join(self.values)})(?!\w)", re.IGNORECASE)

    def may_match(self, lower: Any) -> bool:
        """Whether a text in lower case (str), or an undecoded abstract in lower case (bytes), holds a hint."""
        for hint in self._hint_bytes if isinstance(lower, bytes) else self.hints:  # noqa: SIM110 (twice as fast as any())
            if hint in lower:
                return True
        return False

    @cached_property
    def _hint_bytes(self) -> tuple[bytes, ...]:
        return tuple(hint.encode() for hint in self.hints)

    @cached_property
    def matches(self) -> Callable[[Subject], bool]:
        """Test of a subject."""
        values = frozenset(value.lower() if self.kind == "venue" else value for value in self.values)
        tests: dict[str, Callable[[Subject], bool]] = {
            "subfield": lambda subject: subject.subfield in values,
            "topic": lambda subject: subject.primary_topic in values,
            "any_topic": lambda subject: not values.isdisjoint(subject.topics),
            "keyword": lambda subject: not values.isdisjoint(subject.keywords),
            "venue": lambda subject: subject.venue in values,
            "venue_pattern": lambda subject: self._venue.fullmatch(subject.venue) is not None,
            "title": self._in_title,
            "text": lambda subject: self._in_title(subject) or self._in_abstract(subject),
        }
        return tests[self.kind]

    @cached_property
    def _venue(self) -> re.Pattern[str]:
        """Values as one regular expression on a whole name in lower case."""
        return re.compile(f"{_BEFORE}(?:{'|'.join(self.values)}){_BEHIND}")

    def _in_title(self, subject: Subject) -> bool:
        return self.may_match(subject.lower_title) and self.pattern.search(subject.title) is not None

    def _in_abstract(self, subject: Subject) -> bool:
        return self.may_match(subject.lower_abstract) and self.pattern.search(subject.abstract_text()) is not None


@dataclass(frozen=True)
class Field:
    """A field of research, or a venue (`group`), with its rules, in order."""

    id: str
    name: str
    admits: bool
    rules: tuple[Rule, ...]
    exclude_topics: frozenset[str]
    group: str = "topic"

    def first_match(self, subject: Subject) -> str | None:
        """Id of the first rule that holds."""
        if subject.primary_topic in self.exclude_topics:
            return None
        for rule in self.rules:
            if rule.matches(subject):
                return rule.id
        return None


class Subject:
    """What the rules look at. Each source fills it from its own records; what a record does not have stays empty."""

    admitted: tuple[tuple[str, str], ...] = ()
    """Fields, with the rule, that the source itself admits to."""
    primary_topic = subfield = ""
    topics: Sequence[str] = ()
    keywords: Sequence[str] = ()
    venue = title = lower_title = ""
    abstract: bytes | msgspec.Raw = b""
    """As the source has it."""
    lower_abstract = b""

    def read_on(self, *, with_abstract: bool) -> None:
        """Take the parts that subdivide admitted works."""

    def abstract_text(self) -> str:
        """The abstract as plain text."""
        return bytes(self.abstract).decode()


class WorkSubject(Subject):
    """A work of OpenAlex; most are not admitted, so only their primary topic is read at first."""

    def __init__(self, work: openalex.Work) -> None:
        self._work = work
        primary = work.primary_topic  # no fallback to topics[0]: the API cannot filter on one
        self.primary_topic = _tail(primary.id) if primary else ""
        self.subfield = _tail(primary.subfield.id) if primary and primary.subfield else ""
        self.abstract = work.abstract_inverted_index

    def read_on(self, *, with_abstract: bool) -> None:
        """Take the parts that subdivide admitted works."""
        work = self._work
        self.topics = [_tail(topic.id) for topic in work.topics or ()]
        self.keywords = [_tail(word.id) for word in work.keywords or () if isinstance(word, openalex.Keyword)]
        self.venue = (work.venue or "").lower()
        self.title = work.any_title or ""
        self.lower_title = self.title.casefold()
        if with_abstract:
            self.lower_abstract = bytes(self.abstract).lower()

    def abstract_text(self) -> str:
        """The abstract from its inverted index."""
        return read_abstract(msgspec.Raw(self.abstract))


class PaperSubject(Subject):
    """A paper of a venue list: title, venue and abstract. Who brings the list says that it is about AI."""

    admitted = ((AI, "venue-list"),)

    def __init__(self, title: str | None, venue: str, abstract: str | None) -> None:
        self.title, self.venue = title or "", venue.lower()
        self.lower_title = self.title.casefold()
        self.abstract = (abstract or "").encode()
        self.lower_abstract = self.abstract.lower()


def _tail(identifier: str | None) -> str:
    return identifier.rsplit("/", 1)[-1] if identifier else ""


def read_abstract(raw: msgspec.Raw) -> str:
    """Plain text of an inverted index (word -> positions), or "" where there is none or it is malformed: rules then
    see no abstract."""
    try:
        index = msgspec.json.decode(raw)
        if isinstance(index, str):  # parquet exports and some records of 2021 hold the index as a JSON string
            index = msgspec.json.decode(index)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    if isinstance(index, dict) and isinstance(index.get("InvertedIndex"), dict):
        index = index["InvertedIndex"]
    if not isinstance(index, dict):
        return ""
    places = [(at, word) for word, ats in index.items() if isinstance(ats, list) for at in ats if type(at) is int]
    return " ".join(word for _, word in sorted(places))


def _matching(fields: Sequence[Field], subject: Subject) -> list[tuple[str, str]]:
    return [(field.id, rule) for field in fields if (rule := field.first_match(subject))]


@dataclass(frozen=True)
class Definitions:
    """All fields of one version of fields.toml."""

    version: str
    fields: tuple[Field, ...]

    def classify(self, subjects: Sequence[Subject], *, scope: str) -> list[list[tuple[str, str]]]:
        """Fields of each subject as (field, id of the first rule that matched); empty means out of scope.

        Under scope `all` every work is in field `all`, and in `ai` and its subfields as far as their rules say.
        """
        found = [[*subject.admitted, *_matching(self._admitting, subject)] for subject in subjects]
        admitted = [at for at, fields in enumerate(found) if fields]
        for at, is_hinted in zip(admitted, self._may_match([subjects[at].abstract for at in admitted]), strict=True):
            subjects[at].read_on(with_abstract=is_hinted)
            found[at] += _matching(self._subdividing, subjects[at])
            found[at] += self._of_venue(subjects[at].venue)
        return [[(ALL, "scope"), *fields] for fields in found] if scope == ALL else found

    @cached_property
    def _admitting(self) -> list[Field]:
        return [field for field in self.fields if field.admits]

    @cached_property
    def _subdividing(self) -> list[Field]:
        return [field for field in self.fields if not field.admits and field.group != VENUE]

    @cached_property
    def _of_venue(self) -> Callable[[str], list[tuple[str, str]]]:
        """Fields that are venues, by a venue's name in lower case; few venues hold most works, so answers are kept."""
        venues = [field for field in self.fields if field.group == VENUE]

        def fields_of(name: str) -> list[tuple[str, str]]:
            subject = Subject()
            subject.venue = name
            return _matching(venues, subject)

        return lru_cache(maxsize=10_000)(fields_of)

    def _may_match(self, abstracts: Sequence[bytes | msgspec.Raw]) -> list[bool]:
        """Whether an abstract holds a hint of any rule: one look at all of them for all hints costs a fifth of looking
        for each hint in each."""
        found: list[bool] = pc.match_substring_regex(
            pa.array([bytes(abstract) for abstract in abstracts], pa.binary()), self._text_hints, ignore_case=True
        ).to_pylist()
        return found

    @cached_property
    def _text_hints(self) -> str:
        rules = [rule for field in self.fields for rule in field.rules if rule.kind == "text"]
        return "|".join(re.escape(hint) for rule in rules for hint in rule.hints)

    @property
    def names(self) -> dict[str, str]:
        """Field id -> display name, `all` included."""
        return {ALL: "All works"} | {field.id: field.name for field in self.fields}


@cache
def load_definitions() -> Definitions:
    """Read and check fields.toml.

    Raises:
        ValueError: a field is of an unknown group, or a rule is of an unknown kind, has no source or hints, admits by
            something OpenAlex cannot filter on, or decides a venue by something else than its name.
    """
    document = tomllib.loads((DATA / "fields.toml").read_text(encoding="utf-8"))
    fields = []
    for entry in document["field"]:
        rules = tuple(
            Rule(r["id"], r["kind"], tuple(r["values"]), r["source"], tuple(r.get("hints", ()))) for r in entry["rule"]
        )
        admits, group = entry.get("admits", False), entry.get("group", "topic")
        if group not in GROUPS:
            raise ValueError(f"fields.toml, field {entry['id']}: unknown group {group}")
        if group == VENUE and (
            admits or "exclude_topics" in entry or any(rule.kind not in VENUE_KINDS for rule in rules)
        ):
            raise ValueError(f"fields.toml, field {entry['id']}: a venue is decided by its name alone")
        for rule in rules:
            if rule.kind not in KINDS or not rule.source or (admits and rule.kind not in ADMITTING_KINDS):
                raise ValueError(f"fields.toml, rule {rule.id}: unknown kind, no source, or a kind that cannot admit")
            if (rule.kind in PATTERN_KINDS) != bool(rule.hints):
                raise ValueError(f"fields.toml, rule {rule.id}: patterns, and only they, need hints")
        fields.append(
            Field(entry["id"], entry["name"], admits, rules, frozenset(entry.get("exclude_topics", ())), group)
        )
    return Definitions(document["version"], tuple(fields))
