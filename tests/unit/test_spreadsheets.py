"""CSV for people: nothing that a spreadsheet would execute, and numbers stay numbers."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.releases.spreadsheets import FORMULA, write_csv


def written(*rows) -> list[list[str]]:
    file = io.StringIO(newline="")
    assert write_csv(file, ["a", "=b"], rows) == len(rows)
    return list(csv.reader(io.StringIO(file.getvalue(), newline="")))[1:]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-cmd|' /C calc'!A0", "@SUM(A1)", "\tx"])
def test_formulas_are_text(text):
    assert written((text, 1)) == [["'" + text, "1"]]


def test_a_carriage_return_ends_no_row():
    assert written(("\r=x", "a\rb"), ("a\r\nb", 1)) == [["'\n=x", "a\nb"], ["a\nb", "1"]]


def test_numbers_stay_numbers():
    row = (-3, -0.5, Decimal("-1.500000000"), Decimal("1E-9"), None, True, "Côte d'Ivoire, 5", 'a"b')
    expected = ["-3", "-0.5", "-1.500000000", "0.000000001", "", "True", "Côte d'Ivoire, 5", 'a"b']
    assert written(row) == [expected]


@settings(max_examples=50)
@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=3))
def test_any_text_comes_back_and_begins_harmlessly(texts):
    (row,) = written([*texts, 1])
    for text, cell in zip(texts, row[:-1], strict=True):
        assert not cell.startswith(FORMULA)
        plain = text.replace("\r\n", "\n").replace("\r", "\n")
        assert cell in (plain, "'" + plain)
