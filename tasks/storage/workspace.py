"""A folder of a run's own for what is not finished yet, and the clearing away of those that killed runs left.

Several runs may share a COLLAB_HOME where the warehouse is a server: each holds a lock on its folder for as long as it
lives, so a folder whose lock is free belongs to nobody.
"""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from schemas.errors import UsageError

LOCK = ".lock"


class Workspace(AbstractContextManager["Workspace"]):
    """Folder of this run below `root`, removed when it ends."""

    def __init__(self, root: Path) -> None:
        """Make the folder, and remove those of runs that were killed.

        Raises:
            UsageError: `root` cannot be written.
        """
        self.folder = root / uuid4().hex[:12]
        self._lock = _lock_of(self.folder)
        try:
            root.mkdir(parents=True, exist_ok=True)
            clear_abandoned(root)
            self._lock.acquire()  # before there is a folder that another run could take for abandoned
            self.folder.mkdir()
        except OSError as exc:
            raise UsageError(
                f"cannot make folder {self.folder}: {exc.strerror or exc}", "set COLLAB_HOME to a folder you may write"
            ) from None

    def __exit__(self, *exc: object) -> None:
        _remove(self.folder)
        self._lock.release()


def is_alive(folder: Path) -> bool | None:
    """Whether the run that a folder belongs to still lives; None if there is nothing of it here."""
    lock = _lock_of(folder)
    if not Path(lock.lock_file).exists():
        return None
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True


def clear_abandoned(root: Path) -> None:
    """Remove folders whose run has ended."""
    for folder in [entry for entry in root.iterdir() if entry.suffix != LOCK]:
        try:
            with _lock_of(folder).acquire(timeout=0):
                _remove(folder)
        except Timeout:
            continue


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    Path(_lock_of(folder).lock_file).unlink(missing_ok=True)


def _lock_of(folder: Path) -> FileLock:
    return FileLock(folder.with_name(folder.name + LOCK), thread_local=False)
