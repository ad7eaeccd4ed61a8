"""Cuts a printed affiliation string into addresses and segments, and finds the names in them. Pure functions.

Addresses end at semicolons, new lines, and where a country or state is followed by the next address; segments at
commas, brackets and dashes. Names are compared word by word and never across segments.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from schemas.places.evidence import Evidence
from schemas.places.gazetteer import Kind, Name, is_dense, load_gazetteer
from schemas.words import LETTERS, fold_word

LONGEST = 2_000
"""Characters that are read at the beginning and at the end of a string."""
_token = re.compile(rf"(?:{LETTERS})+|&")
_between_addresses = re.compile("[;；\n|•¦]")
_between_segments = re.compile(r"[,，、()\[\]{}<>:：/。]|(?<=\s)[-‐-―](?=\s)")
_junk = re.compile(r"#(?:TAB|N|R)#|<[^<>]{0,200}>|https?://[^\s;,]+|[^\s;,]+@[^\s;,]+", re.IGNORECASE)
_contact = re.compile(r"\b(?:e-?mails?|electronic address|correo electr\w+)\b.*", re.IGNORECASE | re.DOTALL)
_invisible = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
GLUED = re.compile(r"(?<=[a-zà-ÿ0-9])(?=[A-Z][a-zà-ÿ]{3})|(?<=\d)(?=[A-Z]{2,}\b)|(?<=[A-Za-z]{4})(?=\d{1,2}\b)")
"""Where blanks are missing: "LeidenUniversity", "2SSE", and before a footnote's number, "KAIST1"."""
_split_accent = re.compile(r"(?<=\w) ?[´¨`ˆ˜](?=[a-z])|[´¨ˆ˜]")  # PDFs print an accent apart: "F ´ed´erale"
ZIP = re.compile(r"\d{5}(?:\d{4})?")
"""A postal code of the United States, as a word."""
_mojibake = re.compile("[ÃÂ][\x80-\xbf]|â€")
_NEXT_ADDRESS = frozenset(
    "and und et y e department dept departement faculty school division laboratory lab institute section unit email tel"
    " fax present current corresponding ph institut laboratoire centre ecole universite service hopital faculte".split()
)
_SILENT = frozenset("cedex eu the e mail".split())  # words that end a segment and say nothing of the place


class Hit(NamedTuple):
    """A name found in a segment, and how it stands there."""

    name: Name
    at: int
    """First word."""
    end: int
    is_whole: bool = False
    """Nothing but places and numbers beside it."""
    is_end: bool = False
    is_start: bool = False


class Segment(NamedTuple):
    """What stands between two commas: words as printed and folded, and the names in them."""

    printed: list[str]
    words: list[str]
    hits: list[Hit]
    cut: int = 0
    """Word at which another address begins, 0 if none does."""
    is_special: bool = False
    """Whether it says something only together with the segment before it, or holds the next address."""
    short: int = 0
    """Words up to and with the abbreviation of a state that nothing but numbers follow, 0 without one."""

    def text(self, hit: Hit) -> str:
        """The words of a hit as printed."""
        return " ".join(self.printed[hit.at : hit.end])


Address = list[Segment]


class Named(NamedTuple):
    """A country that a string names, by which rule, and the words that decided."""

    country: str
    rule: Evidence
    words: str


Seen = tuple[int, Hit]
"""Number of a segment in its address, and a name in it."""
Said = tuple[int, Named]
"""Number of a segment, and what it says."""


def clean(raw: str) -> str:
    """Text without markup, addresses of mail, invisible signs and damage of encoding."""
    text = raw if len(raw) <= 2 * LONGEST else f"{raw[:LONGEST]} {raw[-LONGEST:]}"
    if not text.isascii():
        if _mojibake.search(text):
            import ftfy

            text = ftfy.fix_encoding(text)
        if "´" in text or "¨" in text or "ˆ" in text:
            text = _split_accent.sub("", text)
        text = _invisible.sub("", unicodedata.normalize("NFKC", text))
    elif not text.isprintable():
        text = _invisible.sub(" ", text)
    if "&" in text:
        text = html.unescape(text)
    if "#" in text or "<" in text or "@" in text or "://" in text:
        text = _junk.sub(" ", text)
    lower = text.lower()
    if "mail" in lower or "electr" in lower:
        text = _contact.sub(" ", text)
    return text


def addresses_of(text: str) -> Iterator[tuple[Address, str]]:
    """Addresses of a string, each with its text."""
    for part in _between_addresses.split(text):
        found = [segment for piece in _between_segments.split(part) if (segment := _segment(piece)).words]
        *ended, last = _apart(found)
        for address in ended:
            yield address, ""  # it ends in a country or state, so its postal codes are not asked for
        if last:
            yield last, part


@lru_cache(maxsize=50_000)
def _segment(text: str) -> Segment:
    """Half of all segments are seen again in other strings: cities, countries, departments."""
    return _segment_of(_token.findall(text))


def _segment_of(printed: list[str]) -> Segment:
    words = [word.lower() if word.isascii() and word != "&" else fold_word(word) for word in printed]
    segment = Segment(printed, words, [])
    for hit in _names_in(words):
        if placed := _placed(segment, hit, len(words)):
            segment.hits.append(placed)
    cut = _cut_at(segment) if len(words) > 1 else 0
    short = _short_at(printed)
    is_special = bool(cut) or words == ["sar"] or " ".join(words) in _INVERTED
    return Segment(printed, words, segment.hits, cut, is_special, short) if is_special or short else segment


def _short_at(printed: list[str]) -> int:
    end = len(printed)
    while end and not printed[end - 1].isalpha() and (printed[end - 1].isdigit() or _is_canadian(printed[end - 1])):
        end -= 1
    return end if end and printed[end - 1] in load_gazetteer().abbreviations else 0


def _placed(segment: Segment, hit: Hit, count: int) -> Hit | None:
    """A hit with how it stands in its segment; None where it is a street's name or an acronym."""
    words = segment.words
    if count == hit.end - hit.at and not (hit.name.kind in CITIES and _is_acronym(segment, hit)):
        return Hit(hit.name, 0, count, True, True, True)
    if _is_street(words, hit) or (hit.name.kind in CITIES and _is_acronym(segment, hit)):
        return None
    is_end = all(not word.isalpha() or word in _SILENT for word in words[hit.end :])
    is_start = all(not word.isalpha() or word in _SILENT for word in words[: hit.at])
    is_whole = is_end and (is_start or _all_places(segment, hit))
    return Hit(hit.name, hit.at, hit.end, is_whole, is_end, is_start)


def _names_in(words: list[str]) -> list[Hit]:
    """Names in a sequence of words: from each word on the longest, without overlap."""
    gazetteer = load_gazetteer()
    begins, names = gazetteer.begins, gazetteer.names
    hits: list[Hit] = []
    at, count = 0, len(words)
    while at < count:
        word = words[at]
        seconds = begins.get(word)
        end = at + 1
        if seconds is not None and end < count and (most := seconds.get(words[end])):
            end = min(at + most, count)
            while end > at + 1 and " ".join(words[at:end]) not in names:
                end -= 1
        name = names.get(word if end == at + 1 else " ".join(words[at:end]))
        if name is not None:
            hits.append(Hit(name, at, end))
        elif not word.isascii() and is_dense(word) and (hit := _dense_hit(word, at)):
            hits.append(hit)
        at = end
    return hits


def _dense_hit(word: str, at: int) -> Hit | None:
    """A name that a word without blanks begins with, or ends in."""
    names = load_gazetteer().dense
    for length in range(min(len(word) - 1, 8), 1, -1):
        name = names.get(word[:length]) or names.get(word[-length:])
        if name is not None:
            return Hit(name, at, at + 1)
    return None


_INVERTED = {  # "Korea, Republic of"
    "republic of", "rep of", "islamic republic of", "democratic people s republic of", "democratic republic of",
    "democratic republic of the", "the democratic republic of the", "united republic of", "bolivarian republic of",
    "plurinational state of", "province of china", "south", "north", "people s republic of", "federated states of",
}  # fmt: skip


def _apart(segments: Address) -> list[Address]:
    """Addresses that follow each other without a mark ("Italy b Dept of", "USA and Univ of"), the names of countries
    rejoined ("Korea, Republic of")."""
    if not any(segment.is_special for segment in segments):
        return [segments]
    out: list[Address] = [[]]
    pending = deque(segments)
    while pending:
        segment, current = pending.popleft(), out[-1]
        if segment.words == ["sar"]:  # "Hong Kong, SAR, China"
            continue
        if current and current[-1].hits and " ".join(segment.words) in _INVERTED:
            joined = _inverted(current[-1], segment)
            if joined is not None:
                current[-1] = joined
                continue
        if segment.cut and (current or (segment.hits and segment.hits[0].end < segment.cut)):
            current.append(_segment_of(segment.printed[: segment.cut]))
            out.append([])
            pending.appendleft(_segment_of(segment.printed[segment.cut :]))
        else:
            current.append(segment)
    return out


def _inverted(before: Segment, segment: Segment) -> Segment | None:
    hit = before.hits[-1]
    if hit.name.kind > Kind.RISKY_COUNTRY or hit.end != len(before.words):
        return None
    names, country = load_gazetteer().names, before.words[hit.at : hit.end]
    name = names.get(" ".join([*segment.words, *country])) or names.get(" ".join([*country, *segment.words]))
    if name is None:
        if hit.name.kind == Kind.AMONG:
            return None
        name = hit.name
    return before._replace(hits=[*before.hits[:-1], hit._replace(name=name)])


def _cut_at(segment: Segment) -> int:
    """Word at which another address begins, if the segment begins with a country or state and goes on; else 0."""
    words = segment.words
    after = _first_end(segment)
    if not after:
        return _joined_at(segment)
    while after < len(words) and words[after].isdigit() and len(words[after]) >= 4:
        after += 1
    if after >= len(words):
        return 0
    word = words[after]
    if segment.printed[0] in load_gazetteer().abbreviations and segment.printed[after] != "and":
        return 0
    is_letter, is_number = len(word) == 1 and word not in "dlens", word.isdigit() and len(word) < 3
    is_mark = after + 1 < len(words) and (is_letter or is_number)
    return after if is_mark or word in _NEXT_ADDRESS else 0


def _joined_at(segment: Segment) -> int:
    """Word after a place and its country that an "and" follows: "Edinburgh United Kingdom and Moscow State"."""
    for before, hit in pairwise(segment.hits):
        is_followed = hit.end < len(segment.words) - 1 and segment.words[hit.end] == "and"
        if is_followed and hit.name.kind == Kind.COUNTRY and before.name.kind in LOCAL and before.end == hit.at:
            return hit.end
    return 0


def _first_end(segment: Segment) -> int:
    """Where a country or state that a segment begins with ends."""
    hit = segment.hits[0] if segment.hits else None
    if hit is not None and hit.name.kind in _ENDS and not any(word.isalpha() for word in segment.words[: hit.at]):
        return hit.end
    return int(segment.printed[0] in load_gazetteer().abbreviations)


# Tuples: the hash of an enumeration is slow, and these are asked for every word.
COUNTRIES = (Kind.COUNTRY, Kind.RISKY_COUNTRY)
_ENDS = (*COUNTRIES, Kind.SUBDIVISION)
PLACES = (Kind.CITY, Kind.TOWN, Kind.SUBDIVISION)
_STREETS = frozenset(
    "avenue ave av rue boulevard blvd bd street st road rd strasse str via viale calle avenida rua lane drive dr quai"
    " place platz square sq plaza piazza ulica prospekt prospect ulitsa allee chemin route impasse".split()
)
_OF = frozenset("de des du d la le les l the di della of der da do del dos".split())


def _is_street(words: list[str], hit: Hit) -> bool:
    """Whether a name is that of a street: "avenue des Etats-Unis", "39 East Beijing Road"."""
    if hit.end < len(words) and words[hit.end] in _STREETS:
        return True
    at = hit.at - 1
    while at >= 0 and words[at] in _OF:
        at -= 1
    return 0 <= at < hit.at - 1 and words[at] in _STREETS


def _is_acronym(segment: Segment, hit: Hit) -> bool:
    """Whether a city is more likely an acronym: capitals among words that are not, such as "CERMICS and LAMI"."""
    printed = segment.printed
    text = printed[hit.at]
    return (
        hit.end == hit.at + 1
        and text.isascii()
        and text.isupper()
        and len(text) <= 6
        and not any(len(word) > 3 and word.isupper() for at, word in enumerate(printed) if at != hit.at)
    )


CITIES = (Kind.CITY, Kind.TOWN)
LOCAL = (*PLACES, Kind.ORGANIZATION)


def _all_places(segment: Segment, last: Hit) -> bool:
    """Whether the words before a hit are cities, states and numbers: "F 59655 Lille France"."""
    placed: set[int] = set()
    for hit in segment.hits:
        if hit.end <= last.at and hit.name.kind in PLACES:
            placed.update(range(hit.at, hit.end))
    abbreviations = load_gazetteer().abbreviations
    return all(
        at in placed or not word.isalpha() or word in _SILENT or segment.printed[at] in abbreviations
        for at, word in enumerate(segment.words[: last.at])
    ) and bool(placed)


def _is_canadian(word: str) -> bool:
    return len(word) in (3, 6) and word.isalnum() and not word.isalpha() and word[0].isalpha() and word[1].isdigit()
