"""Makes text that others wrote harmless, for a terminal and for a page that renders Markdown.

Titles, names of windows, samples of broken rules and words of a source's answer are data: they must not move a cursor,
make a link, load a picture or fill the screen.
"""

from __future__ import annotations

import re

from schemas.words import printable

LONGEST_CELL = 120
LONGEST_TEXT = 2_000
# A word that no Markdown renderer takes for anything else: no HTML, link, address, picture or code.
PLAIN = re.compile(r"(?!.*(?://|www\.))(?:[-+(]?\w[\w.,;:%/()'=+-]*\??|[.,;:)]+|[=+-]|->|[<>]=?)", re.IGNORECASE)
QUOTED = re.compile(r"`([^`]*)`")


def safe(value: object, longest: int = LONGEST_CELL) -> str:
    """Text that a terminal cannot mistake for commands, cut at `longest` characters."""
    text = "" if value is None else printable(str(value)[: longest + 1])
    return text if len(text) <= longest else text[:longest] + "..."


def as_code(value: object, longest: int = LONGEST_CELL) -> str:
    """Text as a span of code in Markdown: shown letter by letter, whatever it holds."""
    text = safe(value, longest).replace("`", "'").strip()
    return f"`{text}`" if text else ""


def harmless(value: object, longest: int = LONGEST_TEXT) -> str:
    """Text for a page that may or may not render Markdown (the old Prefect UI does so in cells, the new one does not):
    plain words stay as they are, all others become code."""
    pieces = QUOTED.split(safe(value, longest))
    # an empty quotation must not join what it parts: <``img would become a tag
    shown = "".join(as_code(piece, longest) or " " if at % 2 else _words(piece) for at, piece in enumerate(pieces))
    return shown.replace("``", "` `")  # two spans side by side would be the fence of a third


def _words(text: str) -> str:
    return " ".join(
        word if not word or PLAIN.fullmatch(word) else as_code(word, LONGEST_TEXT) for word in text.split(" ")
    )
