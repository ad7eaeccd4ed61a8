"""Finds organisations of ROR in printed strings, offline, from arrays that processes share.

Names that stand in the string word by word come first. Where there is none, the published single-search idea:
candidates by rare words, similarity by rapidfuzz, a threshold tuned for precision. Candidates in different countries
decide nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rapidfuzz import fuzz

from schemas.words import words_of
from tasks.countries.ror import Organization, countries_of
from tasks.reading.parsed import hash64

SIMILAR = 92.0
"""Least similarity (0 to 100) of a name to what stands in the string."""
COVERED = 0.8
"""Least part of a name's weight, in rare words, that the string holds."""
NEAR = 4.0
"""Candidates this much less similar than the best are still in the running."""
TELLING = 0.75
"""A word tells where an organisation is if this share of those with it in their names are in one country: "Nankai"
does, "hydrobiology" does not. A name without such a word, "Center of Excellence", decides nothing."""
RARE = 5.0
"""Least weight of a telling word."""
WHOLE = 10.0
"""Least weight of a name that fills a segment and has no telling word, such as "Southeast University"."""
POSTS = 300
"""Names that a word may stand in to lead to candidates."""
CANDIDATES, MOST_CANDIDATES = 15, 200
LONGEST_NAME = 12
SHORTEST_NAME = 5
LONGEST_STRING = 1_000

# One word for what strings abbreviate and spell in several ways.
SPELLINGS = {
    variant: word
    for word, variants in {
        "university": "univ univer universit universite universidad universidade universita universitat uni",
        "institute": "inst instit institut instituto istituto",
        "science": "sci sciences",
        "technology": "technol tech technologies",
        "national": "natl nat nacional nationale",
        "laboratory": "lab labs laboratories",
        "academy": "acad",
        "hospital": "hosp hospitals",
        "college": "coll",
        "center": "ctr centre centers",
        "medical": "med",
        "engineering": "eng engn engg",
        "research": "res",
        "saint": "st",
        "": "the of and de la le les des du for del do da di in at und y et e",
    }.items()
    for variant in variants.split()
}
_segments = re.compile(r"[,;，；、()\[\]{}<>:\n|/。]|\s[-–—]\s")
Arrays = Mapping[str, npt.NDArray[Any]]


class Match(NamedTuple):
    """An organisation found in a string."""

    ror: str
    country: str
    name: str
    """Its name in compare form."""
    score: float
    """Similarity, 0 to 100; 100 where the name stands there word by word."""


_Scored = tuple[int, float]
"""Number of a name and its similarity."""


class _Word(NamedTuple):
    """What the index knows of a word."""

    weight: float
    """ln(names / names with the word)."""
    share: float
    """Of the organisations with the word in a name, the part in the one country that has most of them."""
    names: list[int]
    """Names with the word; none for a word in so many that it leads nowhere."""


def _canonical(text: str) -> list[str]:
    return [spelled for word in words_of(text) if (spelled := SPELLINGS.get(word, word))]


class RorIndex:
    """Names of organisations and where these are, as arrays by name, by word and by organisation."""

    def __init__(self, arrays: Arrays) -> None:
        self._a = arrays
        self._names = len(arrays["owner"])
        self.find = lru_cache(maxsize=50_000)(self._find)
        self._word = lru_cache(maxsize=50_000)(self._look_up)

    @classmethod
    def build(cls, organizations: Iterable[Organization]) -> RorIndex:
        """Index organisations; those without a known country, or in several, have no names in it."""
        held = {organization.ror: organization for organization in organizations}
        countries = countries_of(held)
        placed = [ror for ror in sorted(held) if len(countries[ror]) == 1]
        texts: list[str] = []
        owners: list[int] = []
        for number, ror in enumerate(placed):
            names = [*held[ror].names, *(name for name in held[ror].acronyms if len(name) >= SHORTEST_NAME)]
            for text in dict.fromkeys(" ".join(_canonical(name)) for name in names):
                if len(text) >= SHORTEST_NAME or not text.isascii():
                    texts.append(text)
                    owners.append(number)
        words, at, posts = _inverted(texts)
        where = {country: number for number, country in enumerate(sorted({countries[ror][0] for ror in placed}))}
        homes = np.array([where[countries[placed[owner]][0]] for owner in owners], np.int16)
        exact = np.array([hash64(text.encode()) for text in texts], np.int64)
        order = np.argsort(exact, kind="stable")
        encoded = [text.encode() for text in texts]
        return cls(
            {
                "ror": np.array(placed, "S9"),
                "country": np.array([countries[ror][0] for ror in placed], "S2"),
                "owner": np.array(owners, np.int32),
                "text": np.frombuffer(b"".join(encoded), np.uint8),
                "text_at": np.cumsum([0, *map(len, encoded)]),
                "exact": exact[order],
                "exact_name": order.astype(np.int32),
                "word": words,
                "posts_at": at,
                "posts": posts,
                "share": _largest_shares(homes[posts], np.array(owners, np.int64)[posts], at),
            }
        )

    def save(self, folder: Path) -> None:
        """Write the arrays into a folder, one file each."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in self._a.items():
            np.save(folder / f"{name}.npy", array)

    @classmethod
    def load(cls, folder: Path) -> RorIndex:
        """Map the arrays of a folder into memory: processes that do so share it."""
        return cls({path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")})

    def country_of(self, ror: str) -> str | None:
        """Country of an organisation; None if it is unknown or in several."""
        rors, key = self._a["ror"], ror.encode()
        at = int(np.searchsorted(rors, key))
        return str(self._a["country"][at].decode()) if at < len(rors) and rors[at] == key else None

    def _find(self, raw: str) -> Match | None:
        if not self._names:
            return None
        segments = [found for part in _segments.split(raw[:LONGEST_STRING]) if (found := _canonical(part))]
        printed, has_telling = self._printed(segments)
        if not printed:
            return self._agreed(self._similar(segments, tells=True))
        if not has_telling:  # "St. Mary Hospital": other spellings of the name may be elsewhere
            printed += self._similar(segments, tells=False)
        return self._agreed(printed)

    def _printed(self, segments: list[list[str]]) -> tuple[list[_Scored], bool]:
        """Names that stand in the string, the longest of those within each other; and whether a word of them tells."""
        found: list[tuple[int, int, int, int]] = []  # segment, first word, end, hash of the name
        has_telling = False
        grams = [
            (number, at, end, " ".join(words[at:end]))
            for number, words in enumerate(segments)
            for at in range(len(words))
            for end in range(min(at + LONGEST_NAME, len(words)), at, -1)
            if end - at > 1 or len(words) == 1
        ]
        if not grams:
            return [], False
        keys = np.array([hash64(gram.encode()) for *_, gram in grams], np.int64)
        exact = self._a["exact"]
        for gram in np.nonzero(exact[np.minimum(np.searchsorted(exact, keys), len(exact) - 1)] == keys)[0]:
            number, at, end, text = grams[gram]
            words = text.split(" ")
            is_whole = end - at == len(segments[number]) > 1
            is_telling = self._tells(words)
            has_telling = has_telling or is_telling
            if is_telling or (is_whole and sum(self._word(word).weight for word in words) >= WHOLE):
                found.append((number, at, end, int(keys[gram])))
        longest = [
            hit
            for hit in found
            if not any(
                other[0] == hit[0] and other[1] <= hit[1] and hit[2] <= other[2] and other[:3] != hit[:3]
                for other in found
            )
        ]
        return [(name, 100.0) for hit in longest for name in self._named(hit[3])], has_telling

    def _named(self, key: int) -> npt.NDArray[Any]:
        exact = self._a["exact"]
        return self._a["exact_name"][np.searchsorted(exact, key) : np.searchsorted(exact, key, "right")]

    def _similar(self, segments: list[list[str]], *, tells: bool) -> list[_Scored]:
        """Names that are most like something in the string; with `tells`, only by a word that tells."""
        held = {word for words in segments for word in words}
        weights: dict[int, float] = {}
        for word in held:
            found = self._word(word)
            for name in found.names:
                weights[name] = weights.get(name, 0.0) + found.weight
        printed = [" ".join(words) for words in segments]
        scored: list[_Scored] = []
        for name in _heaviest(weights):
            text = self._text(name)
            words = text.split(" ")
            whole = sum(self._word(word).weight for word in words)
            present = [word for word in words if word in held]
            if len(words) < 2 or sum(self._word(word).weight for word in present) < COVERED * whole:
                continue
            if tells and not self._tells(present):
                continue
            score = max(_similarity(text, line) for line in printed)
            if score >= SIMILAR:
                scored.append((name, score))
        best = max((score for _, score in scored), default=0.0)
        return [(name, score) for name, score in scored if score >= best - NEAR]

    def _agreed(self, found: list[_Scored]) -> Match | None:
        """The best of some names, if their organisations are all in one country."""
        countries = {self._country(name) for name, _ in found}
        if len(countries) != 1:
            return None
        name, score = max(found, key=lambda item: (item[1], -item[0]))
        return Match(self._a["ror"][self._a["owner"][name]].decode(), countries.pop(), self._text(name), score)

    def _country(self, name: int) -> str:
        return str(self._a["country"][self._a["owner"][name]].decode())

    def _text(self, name: int) -> str:
        at = self._a["text_at"]
        return self._a["text"][at[name] : at[name + 1]].tobytes().decode()

    def _tells(self, words: Iterable[str]) -> bool:
        """Whether one of the words says where an organisation is."""
        return any(found.share >= TELLING and found.weight >= RARE for found in map(self._word, words))

    def _look_up(self, word: str) -> _Word:
        key = hash64(word.encode())
        words = self._a["word"]
        at = int(np.searchsorted(words, key))
        if at == len(words) or words[at] != key:
            return _Word(float(np.log(self._names + 1)), 0.0, [])
        first, end = self._a["posts_at"][at : at + 2].tolist()
        names = self._a["posts"][first:end].tolist() if end - first <= POSTS else []
        return _Word(float(np.log(self._names / (end - first))), float(self._a["share"][at]), names)


def _heaviest(weights: dict[int, float]) -> list[int]:
    """Names with the most weight in common with a string, with all that weigh as much as the last of them: of namesakes
    none may be left out."""
    ordered = sorted(weights, key=lambda name: -weights[name])
    least = weights[ordered[CANDIDATES - 1]] if len(ordered) >= CANDIDATES else 0.0
    return [name for name in ordered[:MOST_CANDIDATES] if weights[name] >= least - 1e-9]


def _similarity(name: str, line: str) -> float:
    """Of a name to the part of a line that is most like it; lines shorter than the name are compared as a whole."""
    return fuzz.partial_ratio(name, line) if len(line) >= len(name) else fuzz.ratio(name, line)


def _inverted(texts: list[str]) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Words, where the names of each begin, and the names, by the word's hash."""
    hashes: dict[str, int] = {}
    keys: list[int] = []
    names: list[int] = []
    for number, text in enumerate(texts):
        for word in set(text.split(" ")):
            key = hashes.get(word)
            if key is None:
                key = hashes[word] = hash64(word.encode())
            keys.append(key)
            names.append(number)
    column = np.array(keys, np.int64)
    order = np.argsort(column, kind="stable")
    words, at = np.unique(column[order], return_index=True)
    return words, np.append(at, len(column)), np.array(names, np.int32)[order]


def _largest_shares(homes: npt.NDArray[Any], owners: npt.NDArray[Any], at: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Per word: of the organisations with it in a name, the part in the one country that has most of them."""
    out = np.empty(len(at) - 1, np.float32)
    for number, (first, end) in enumerate(pairwise(at.tolist())):
        if end - first == 1:
            out[number] = 1.0
            continue
        _, once = np.unique(owners[first:end], return_index=True)
        counts = np.bincount(homes[first:end][once])
        out[number] = counts.max() / counts.sum()
    return out
