"""Mentions: open-source building blocks of AI that a work names in its title or abstract, read from
schemas/data/mentions.toml.

A name that is also a word, a person or an animal counts only in a text that speaks of the field ("context") and of
nothing that gives it another meaning ("unless"). A mention says that a work names the thing, not that it uses it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from schemas.fields import Subject
from schemas.reviewed import DATA

KINDS = frozenset({"framework", "architecture", "model", "dataset-or-tool"})
_LISTS = ("names", "exact", "ambiguous", "context", "unless", "never", "hints")


@dataclass(frozen=True)
class Mention:
    """A building block and the patterns that find it; mentions.toml says what each list means."""

    id: str
    name: str
    kind: str
    source: str
    names: tuple[str, ...] = ()
    exact: tuple[str, ...] = ()
    ambiguous: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()

    def is_in(self, text: str, lower: str) -> bool:
        """Whether a text names it; `lower` is the same text case-folded."""
        if not any(hint in lower for hint in self.hints):
            return False
        is_elsewhere = bool(self._unless and self._unless.search(text))
        if self._never:
            text = self._never.sub(" ", text)
        if any(pattern and pattern.search(text) for pattern in (self._names, self._exact)):
            return True
        if is_elsewhere or not self._ambiguous or not self._context:
            return False
        return bool(self._ambiguous.search(text) and self._context.search(text))

    @cached_property
    def _names(self) -> re.Pattern[str] | None:
        return _words(self.names, re.IGNORECASE)

    @cached_property
    def _exact(self) -> re.Pattern[str] | None:
        return _words(self.exact)

    @cached_property
    def _ambiguous(self) -> re.Pattern[str] | None:
        return _words(self.ambiguous)

    @cached_property
    def _context(self) -> re.Pattern[str] | None:
        return _words(self.context, re.IGNORECASE)

    @cached_property
    def _unless(self) -> re.Pattern[str] | None:
        return _words(self.unless, re.IGNORECASE)

    @cached_property
    def _never(self) -> re.Pattern[str] | None:
        return _words(self.never, re.IGNORECASE)


def _words(patterns: Iterable[str], flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str] | None:
    """Patterns as one regular expression on whole words; None without any."""
    joined = "|".join(patterns)
    return re.compile(rf"(?<!\w)(?:{joined})(?!\w)", flags) if joined else None


@dataclass(frozen=True)
class Mentions:
    """All mentions of one version of mentions.toml."""

    version: str
    mentions: tuple[Mention, ...]

    def find(self, title: str, abstract: str) -> tuple[str, ...]:
        """Sorted ids of what a title and an abstract name, taken together as one text."""
        text = f"{title}\n{abstract}"
        lower = text.casefold()
        return tuple(mention.id for mention in self.mentions if mention.is_in(text, lower))

    def find_in(self, subjects: Sequence[Subject]) -> list[tuple[str, ...]]:
        """The same for the titles and abstracts of works whose fields are read; one look at all texts for all hints
        leaves few that are searched."""
        texts = [subject.title.encode() + b"\n" + bytes(subject.abstract) for subject in subjects]
        hinted = pc.match_substring_regex(pa.array(texts, pa.binary()), self.hint_pattern, ignore_case=True)
        return [
            self.find(subject.title, subject.abstract_text()) if is_hinted else ()
            for subject, is_hinted in zip(subjects, hinted.to_pylist(), strict=True)
        ]

    @cached_property
    def hints(self) -> tuple[str, ...]:
        """Lower-case parts of words: a text that holds none of them names nothing."""
        return tuple(sorted({hint for mention in self.mentions for hint in mention.hints}))

    @cached_property
    def hint_pattern(self) -> str:
        """The hints as a regular expression without regard to case, for one look at titles or undecoded abstracts with
        pyarrow (`match_substring_regex(..., ignore_case=True)`) or re."""
        return "|".join(re.escape(hint) for hint in self.hints)

    @property
    def names(self) -> dict[str, str]:
        """Mention id -> display name."""
        return {mention.id: mention.name for mention in self.mentions}


@cache
def load_mentions() -> Mentions:
    """The mentions that ship with the package.

    Raises:
        ValueError: see build_mentions.
    """
    return build_mentions(tomllib.loads((DATA / "mentions.toml").read_text(encoding="utf-8")))


def build_mentions(document: Mapping[str, Any]) -> Mentions:
    """Mentions from the content of mentions.toml.

    Raises:
        ValueError: an entry has an unknown kind or key, no source, no hints or hints that cannot stand inside one word
            in lower case, a pattern that is no regular expression, ambiguous names without context or the other way
            round, or an id that another one has.
    """
    contexts = document.get("contexts", {})
    found: dict[str, Mention] = {}
    for entry in document["mention"]:
        where = f"mentions.toml, {entry.get('id')}"
        if unknown := entry.keys() - {"id", "name", "kind", "source", *_LISTS}:
            raise ValueError(f"{where}: unknown keys {sorted(unknown)}")
        if entry["id"] in found or entry["kind"] not in KINDS or not entry["source"]:
            raise ValueError(f"{where}: named twice, of unknown kind, or without a source")
        lists = {key: tuple(entry.get(key, ())) for key in _LISTS}
        lists["context"] = tuple(one for word in lists["context"] for one in contexts.get(word, [word]))
        if not lists["hints"] or any(hint != hint.casefold() or len(hint.split()) != 1 for hint in lists["hints"]):
            raise ValueError(f"{where}: hints are parts of words in lower case, at least one")
        if bool(lists["ambiguous"]) != bool(lists["context"]) or not any(lists[key] for key in _LISTS[:3]):
            raise ValueError(f"{where}: ambiguous names need a context, and only they; some name is needed")
        for pattern in (pattern for key in _LISTS[:-1] for pattern in lists[key]):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{where}: {pattern!r} is no regular expression: {error}") from error
        found[entry["id"]] = Mention(entry["id"], entry["name"], entry["kind"], entry["source"], **lists)
    return Mentions(document["version"], tuple(found[key] for key in sorted(found)))
