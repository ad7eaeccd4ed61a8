"""Commands as a user types them: a night over a snapshot, and the one line of an expected failure."""

from __future__ import annotations


def run(collab, snapshot, *more):
    return collab("run", "--snapshot", snapshot, "--no-prefect", *more)


def error(code: int, output: str, expected: int = 1) -> str:
    """The one line of an expected failure."""
    assert code == expected, output
    lines = [line for line in output.splitlines() if line.startswith("collab ")]
    assert len(lines) == 1, output
    assert "Traceback" not in output
    return lines[0]
