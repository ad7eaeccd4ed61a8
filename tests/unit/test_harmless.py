"""Text of a source, wherever people read it: on a page it is no markup and no address, in a terminal no command."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.harmless import as_code, harmless, safe
from tests.pages import outside_code

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![i](http://127.0.0.1/x.png)",
    "https://example.org",
    "(WWW.example.org)",
    "someone@example.org",
    "a `tick` and ``` three",
    "\x1b[31mred\x1b[0m \u202eleft",
    "line\n# heading\n\n- list",
    "<https://example.org>",
    "&lt;b&gt;",
    "[x]: http://example.org",
    "<``img src=x onerror=alert(1) >",
    "<` `img src=x onerror=alert(1) >",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_markup_and_addresses_become_code(text):
    assert not re.search(r"<\w", outside_code(harmless(text)))
    assert not set(re.sub(" [<>](?= |$)", "", f" {outside_code(harmless(text))}")) & set("<>[]!@&#*~|\\\n\x1b\u202e")
    assert "//" not in outside_code(harmless(text))
    assert "www." not in outside_code(harmless(text)).lower()


@given(st.text() | st.text("`<[]:/ a.,w"))
def test_any_text_is_harmless(text):
    assert "``" not in harmless(text)
    seen = outside_code(harmless(text))
    assert seen.isprintable()
    words = seen.split()
    assert all(word in ("->", "<", "<=", ">", ">=") or not set(word) & set("<>[]!@&#*~|\\") for word in words)
    assert not any("//" in word or "www." in word.lower() for word in words)


def test_plain_words_stay_and_length_is_bounded():
    text = "quarantined_share is 1, limit at most 0.05 (1900 <= year) -> run again"
    assert harmless(text) == text
    assert harmless("see `collab status`, then go on") == "see `collab status`, then go on"
    assert len(harmless("x" * 10_000_000)) < 2_100
    assert as_code("") == as_code(None) == ""


def test_text_of_the_source_cannot_command_a_terminal():
    assert safe("\x1b[31mred\x00") == "\\x1b[31mred\\x00"
    assert len(safe("x" * 10_000)) < 200
