"""A server of Prefect that goes away during a run: one line with cause and remedy, and an end without waiting."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from schemas.errors import CollabError, PrefectLost

CLIENT = ("httpx", "httpcore", "h11")  # what Prefect asks its server with; importing it would cost every command 0.2 s


@contextmanager
def lost_server() -> Iterator[None]:
    """Tell what ends a run because the server of Prefect does not answer; everything else passes.

    Raises:
        PrefectLost: it does not. Where the run had failed by itself before that, the message says both.
    """
    try:
        yield
    except Exception as exc:
        found = _because_of_server(exc)
        if found is None:
            raise
        raise found from None


def _because_of_server(exc: Exception) -> PrefectLost | None:
    """None for an error of another cause, also when the server could not be told of that."""
    chain = list(_chain(exc))
    cut = next((one for one in chain if _is_of_client(one)), None)
    own = next((one for one in chain if isinstance(one, CollabError)), None)
    if cut is None or not (own or _is_of_client(chain[-1]) or isinstance(chain[-1], OSError)):
        return None
    from prefect.settings import get_current_settings

    gone = f"the Prefect server at {get_current_settings().api.url or 'its own address'} does not answer ({cut})"
    if own is None:
        remedy = (
            "start it and run again, or run again with --no-prefect; what is committed stays, `collab status` tells"
        )
        return PrefectLost(gone, remedy)
    return PrefectLost(f"{own.message}; also {gone}", own.hint, own.exit_code)


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """An error, what it came from, and so on."""
    left: BaseException | None = exc
    while left is not None:
        yield left
        left = left.__cause__ or left.__context__


def _is_of_client(exc: BaseException) -> bool:
    return type(exc).__module__.partition(".")[0] in CLIENT


def leave_at_once(exit_code: int) -> None:
    """End this process without Prefect's own end, which would try for a minute each to deliver every event of the run
    to a server that is away. Its temporary server is ended."""
    from prefect.server.api.server import SubprocessASGIServer

    SubprocessASGIServer().stop()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)
