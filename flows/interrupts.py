"""Ctrl-C and SIGTERM end a run in one line, with and without Prefect; like SIGKILL they leave no process behind."""

from __future__ import annotations

import atexit
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts() -> Iterator[None]:
    """SIGTERM, as systemd and cron send it, ends what runs inside like Ctrl-C: with KeyboardInterrupt, whatever errors
    follow from it on the way."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        del frame
        came.append(number)
        raise KeyboardInterrupt

    former = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except Exception:
        if came:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def start_temporary_server() -> None:
    """Start the server that Prefect would start itself, where none is set, but deaf to Ctrl-C.

    A terminal sends Ctrl-C to all its processes. The server would be gone first, and Prefect would try for minutes to
    tell it that the run was interrupted. It is ended by Prefect when we leave, and with us where we are killed.
    """
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import get_current_settings

    found = get_current_settings()
    server = SubprocessASGIServer()  # one for all runs of this process
    if found.api.url is None and found.server.ephemeral.enabled and not server.running:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited by what is started now
        try:
            server.start()
            if server.server_process:
                ends_with_us(server.server_process.pid)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def ends_with_us(process: int) -> None:
    """End a process should this one be killed, which runs nothing any more: a shell waits on a pipe from here.

    Told that we leave by ourselves, the shell ends nothing: Prefect does, and the number may be another's by then.
    """
    shell = subprocess.Popen(  # noqa: S603 (a fixed text and a number)
        ["/bin/sh", "-c", 'read -r leaving || kill "$1"', "sh", str(process)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,  # whoever reads what we print must not wait for it
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us
    )
    atexit.register(shell.communicate, b"leaving\n")
