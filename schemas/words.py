"""Words of a printed text in their compare form: no case, no accents, no punctuation. Names and addresses are compared
word by word, so never by a part of a word."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# Letters and digits, with the vowel signs that Indic and South-East Asian scripts write after a letter.
LETTERS = (
    r"[^\W_]|[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0963\u0966-\u0dff\u0e31-\u0e4e\u0eb1-\u0ece"
    r"\u1000-\u109f\u1780-\u17d3\u3099\u309a]"
)
_word = re.compile(f"(?:{LETTERS})+|&")
_accents = re.compile("[\u0300-\u036f]")
_WITHOUT_ACCENT = str.maketrans(
    {"ø": "o", "đ": "d", "ł": "l", "ı": "i", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th", "ħ": "h", "ə": "e"}
)


@lru_cache(maxsize=100_000)
def fold_word(word: str) -> str:
    """Compare form of one word."""
    folded = word.casefold()
    if folded.isascii():
        return "and" if folded == "&" else folded
    bare = _accents.sub("", unicodedata.normalize("NFKD", folded))
    return unicodedata.normalize("NFC", bare).translate(_WITHOUT_ACCENT)


def printable(text: str) -> str:
    """Text that neither a terminal nor a reader's eye mistakes for something else: control characters, escapes, line
    breaks and marks that turn the direction of reading are written out."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun: `1 batch`, `2,000 batches`; `many` is the plural where it is not `one` with an s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def is_utf8(text: str) -> bool:
    """Whether a text can be written as UTF-8: names of files and options of commands may hold any bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def words_of(text: str) -> list[str]:
    """Words of a text in compare form."""
    return [fold_word(word) for word in _word.findall(text)]


def fold(text: str) -> str:
    """Compare form of a name: its words, single blanks between them."""
    if text.isascii() and text.replace(" ", "").isalnum():  # most of 60,000 names, in a tenth of the time
        return " ".join(text.lower().split())
    return " ".join(words_of(text))
