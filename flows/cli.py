"""The command line. Commands are in flows/*_commands.py; they stand in `collab --help` in the order of these imports.

Each command calls exactly what the schedule calls; expected failures are one line and an exit code (schemas/errors.py).
"""

from __future__ import annotations

# isort: off
import flows.run_commands
import flows.inspect_commands
import flows.recover_commands
import flows.warehouse_commands
import flows.country_commands
import flows.ask_commands
import flows.export_commands
import flows.deploy_commands  # noqa: F401

# isort: on
from flows.commands import all_is_written, app


def main() -> None:
    """Entry point of the `collab` script."""
    with all_is_written():
        app()


if __name__ == "__main__":
    main()
