"""Pages of runs, as a renderer of Markdown looks at them."""

from __future__ import annotations


def outside_code(text: str) -> str:
    """What a renderer looks at: text without spans of code."""
    pieces = text.split("`")
    assert len(pieces) % 2, f"a span of code is left open: {text}"
    return " ".join(pieces[::2])
