"""The command line. Commands are in flows/commands; they stand in `collab --help` in the order of these imports.

Each command calls exactly what the schedule calls; expected failures are one line and an exit code (schemas/errors.py).
"""

from __future__ import annotations

# isort: off
import flows.commands.run
import flows.commands.inspect
import flows.commands.recover
import flows.commands.warehouse
import flows.commands.country
import flows.commands.ask
import flows.commands.export
import flows.commands.deploy  # noqa: F401

# isort: on
from flows.commands.base import all_is_written, app


def main() -> None:
    """Entry point of the `collab` script."""
    with all_is_written():
        app()


if __name__ == "__main__":
    main()
