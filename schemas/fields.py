"""Versioned definitions of AI and its subfields, read from schemas/data/fields.toml.

A work is in field `ai` if an admitting rule matches its primary topic; only then do the other fields look at it. The
first rule that matches is stored with the work. Fields overlap; nothing ever sums over them.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache, cached_property

import msgspec

from schemas import openalex
from schemas.reviewed import DATA

ADMITTING_KINDS = frozenset({"subfield", "topic"})  # expressible as OpenAlex filters, so that API and snapshot agree
KINDS = ADMITTING_KINDS | {"any_topic", "keyword", "title", "text", "venue"}
ALL = "all"


@dataclass(frozen=True)
class Rule:
    """One reason why a work belongs to a field; `source` says who defined it so."""

    id: str
    kind: str
    values: tuple[str, ...]
    source: str
    hints: tuple[str, ...] = ()

    @cached_property
    def set(self) -> frozenset[str]:
        """Values as a set, for the kinds that compare whole values."""
        return frozenset(value.lower() if self.kind == "venue" else value for value in self.values)

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Values as one regular expression on whole words, for `title` and `text`."""
        return re.compile(rf"(?<!\w)(?:{'|'.join(self.values)})(?!\w)", re.IGNORECASE)

    @cached_property
    def hint(self) -> re.Pattern[bytes]:
        """Cheap test on the undecoded abstract: whatever `pattern` matches contains one of the declared hints (a
        test generates matches)."""
        return re.compile(b"|".join(re.escape(word.encode()) for word in self.hints), re.IGNORECASE)


@dataclass(frozen=True)
class Field:
    """A field of research with its rules, in order."""

    id: str
    name: str
    admits: bool
    rules: tuple[Rule, ...]
    exclude_topics: frozenset[str]


@dataclass(frozen=True)
class Subject:
    """What the rules look at."""

    primary_topic: str
    subfield: str
    topics: frozenset[str]
    keywords: frozenset[str]
    venue: str
    title: str
    abstract: msgspec.Raw

    @classmethod
    def of(cls, work: openalex.Work) -> Subject:
        """Take the classifying parts of a decoded work."""
        primary = work.primary_topic  # no fallback to topics[0]: the API cannot filter on one
        return cls(
            primary_topic=_tail(primary.id) if primary else "",
            subfield=_tail(primary.subfield.id) if primary and primary.subfield else "",
            topics=frozenset(_tail(topic.id) for topic in work.topics or ()),
            keywords=frozenset(_tail(k.id) for k in work.keywords or () if isinstance(k, openalex.Keyword)),
            venue=(work.venue or "").lower(),
            title=work.any_title or "",
            abstract=work.abstract_inverted_index,
        )


def _tail(identifier: str | None) -> str:
    return identifier.rsplit("/", 1)[-1] if identifier else ""


def read_abstract(raw: msgspec.Raw) -> str:
    """Plain text of an inverted index (word -> positions), or "" where there is none or it is malformed: rules then
    see no abstract."""
    try:
        index = msgspec.json.decode(raw)
        if isinstance(index, str):  # parquet exports and some records of 2021 hold the index as a JSON string
            index = msgspec.json.decode(index)
    except (msgspec.MsgspecError, RecursionError):
        return ""
    if isinstance(index, dict) and isinstance(index.get("InvertedIndex"), dict):
        index = index["InvertedIndex"]
    if not isinstance(index, dict):
        return ""
    places = [(at, word) for word, ats in index.items() if isinstance(ats, list) for at in ats if type(at) is int]
    return " ".join(word for _, word in sorted(places))


@dataclass(frozen=True)
class Definitions:
    """All fields of one version of fields.toml."""

    version: str
    fields: tuple[Field, ...]

    def classify(self, subject: Subject, *, scope: str) -> list[tuple[str, str]]:
        """Fields of a work as (field, id of the first rule that matched); empty means out of scope.

        Under scope `all` every work is in field `all`, and in `ai` and its subfields as far as their rules say.
        """
        found = [(ALL, "scope")] if scope == ALL else []
        admitted = False
        for field in self.fields:
            if (field.admits or admitted) and (rule := _first_match(field, subject)):
                found.append((field.id, rule))
                admitted = admitted or field.admits
        return found

    @property
    def names(self) -> dict[str, str]:
        """Field id -> display name, `all` included."""
        return {ALL: "All works"} | {field.id: field.name for field in self.fields}


def _first_match(field: Field, subject: Subject) -> str | None:
    if subject.primary_topic in field.exclude_topics:
        return None
    for rule in field.rules:
        if _matches(rule, subject):
            return rule.id
    return None


def _matches(rule: Rule, subject: Subject) -> bool:
    match rule.kind:
        case "subfield":
            return subject.subfield in rule.set
        case "topic":
            return subject.primary_topic in rule.set
        case "any_topic":
            return not rule.set.isdisjoint(subject.topics)
        case "keyword":
            return not rule.set.isdisjoint(subject.keywords)
        case "venue":
            return subject.venue in rule.set
        case "title":
            return bool(rule.pattern.search(subject.title))
        case _:  # text
            if rule.pattern.search(subject.title):
                return True
            return bool(rule.hint.search(subject.abstract)) and bool(
                rule.pattern.search(read_abstract(subject.abstract))
            )


@cache
def load_definitions() -> Definitions:
    """Read and check fields.toml.

    Raises:
        ValueError: a rule is of an unknown kind, has no source or hints, or admits by something OpenAlex cannot filter
            on.
    """
    document = tomllib.loads((DATA / "fields.toml").read_text(encoding="utf-8"))
    fields = []
    for entry in document["field"]:
        rules = tuple(
            Rule(r["id"], r["kind"], tuple(r["values"]), r["source"], tuple(r.get("hints", ()))) for r in entry["rule"]
        )
        admits = entry.get("admits", False)
        for rule in rules:
            if rule.kind not in KINDS or not rule.source or (admits and rule.kind not in ADMITTING_KINDS):
                raise ValueError(f"fields.toml, rule {rule.id}: unknown kind, no source, or a kind that cannot admit")
            if (rule.kind == "text") != bool(rule.hints):
                raise ValueError(f"fields.toml, rule {rule.id}: rules of kind text, and only they, need hints")
        fields.append(Field(entry["id"], entry["name"], admits, rules, frozenset(entry.get("exclude_topics", ()))))
    return Definitions(document["version"], tuple(fields))
