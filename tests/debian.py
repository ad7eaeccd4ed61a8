"""Programs that tests need and a machine lacks, installed as Debian packages where that is possible."""

from __future__ import annotations

import os
import shutil
import subprocess


class Missing(Exception):
    """What is not on this machine, and could not be installed."""


def install(*packages: str) -> None:
    """Install packages; without apt-get, or for another user than root, do nothing. Whoever calls this looks again."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", *command], env=environment, capture_output=True, timeout=600, check=False)
