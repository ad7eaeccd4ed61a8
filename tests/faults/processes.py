"""Commands in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def collab(settings, *arguments: object, **environment: str) -> subprocess.Popen:
    """A command that was started with some settings; its output, errors included, is still to be read."""
    named = {
        "COLLAB_HOME": settings.home,
        "COLLAB_SCOPE": settings.scope,
        "COLLAB_WORKERS": 1,
        "COLLAB_BATCH_WORKS": settings.batch_works,
        "COLLAB_SNAPSHOT": settings.snapshot,
        "COLLAB_WAREHOUSE_URL": settings.warehouse_url or "",
        "PYTHONPATH": ROOT,
    }
    environment = {**os.environ, **{name: str(value) for name, value in named.items()}, **environment}
    command = [sys.executable, "-m", "flows.cli", *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, cwd=settings.home.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
