"""CSV that is harmless in a spreadsheet: the one place where CSV for people is written."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TextIO

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the beginning of a formula (OWASP)


def write_csv(file: TextIO, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
    """Write a header and rows; returns the number of rows.

    Text that begins like a formula gets an apostrophe in front, numbers stay numbers (-3 too), null is empty. The file
    must have been opened with newline="".
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([harmless(name) for name in columns])
    written = 0
    for row in rows:
        writer.writerow([harmless(value) for value in row])
        written += 1
    return written


def harmless(value: object) -> object:
    """A cell that no spreadsheet executes."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Decimal):
        return f"{value:f}"
    text = str(value)
    text = f"'{text}" if text.startswith(FORMULA) else text
    return text.replace("\r\n", "\n").replace("\r", "\n")  # the csv module leaves a lone \r unquoted: a new row
