"""Who parses and locates: processes of this machine, or an existing Dask cluster. Both are executors of the standard
library's kind, so what they run is the same."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from typing_extensions import override

from schemas.errors import UsageError
from schemas.reviewed import code_version, definitions_digest
from schemas.settings import Settings
from tasks.countries.reference import receive_reference

T = TypeVar("T")
PRELOADED = ["tasks.staging.worker_process"]
SECONDS_TO_CONNECT = 10


class Workers(ABC):
    """Processes that calls are sent to, `count` at the same time; they start with the first call."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._executor: Executor | None = None
        self._is_closed = False

    @abstractmethod
    def _start(self) -> Executor:
        """Start or reach the processes."""

    @abstractmethod
    def prepare(self) -> None:
        """Begin what takes seconds before the first call, without waiting for it."""

    def submit(self, call: Callable[..., T], *args: Any) -> Future[T]:
        """Run a call of an importable function somewhere.

        Raises:
            RuntimeError: they were given up, such as by a run that ends while a batch is derived ahead.
        """
        if self._is_closed:
            raise RuntimeError("the workers were closed")
        if self._executor is None:
            self._executor = self._start()
        return self._executor.submit(call, *args)

    @abstractmethod
    def provide(self, reference: str | None) -> None:
        """Make a folder of reference data known to the processes."""

    def close(self) -> None:
        """Give up calls that wait and let the processes go; none start again."""
        self._is_closed = True
        if self._executor is not None:
            self._stop(self._executor)
            self._executor = None

    def _stop(self, executor: Executor) -> None:
        executor.shutdown(cancel_futures=True)


class LocalWorkers(Workers):
    """Processes of this machine."""

    @override
    def prepare(self) -> None:
        if self.count > 1 and _has_fork_server():
            _context()
            forkserver.ensure_running()

    @override
    def provide(self, reference: str | None) -> None:
        pass  # they see the folder

    @override
    def _start(self) -> Executor:
        pool = ProcessPoolExecutor(self.count, mp_context=_context(), initializer=_follow_parent)
        with _no_main_module():  # a worker is started by each call that finds none idle
            for call in [pool.submit(os.getpid) for _ in range(self.count)]:
                call.result()
        return pool


class DaskWorkers(Workers):
    """Threads of the workers of a Dask cluster that somebody runs. Records go there and come back as Arrow: no shared
    file system is needed, but this release with these definitions on every worker."""

    def __init__(self, address: str) -> None:
        """Connect to the scheduler.

        Raises:
            UsageError: it does not answer or asks for a certificate that Dask was not given, has no workers, or they
                have other definitions.
        """
        try:
            from distributed import Client, Security
        except ImportError:
            raise UsageError(
                "COLLAB_DASK_ADDRESS is set, but dask is not installed", 'pip install "collab-atlas[dask]"'
            ) from None
        if address.startswith("tls:") and Security().get_connection_args("client")["ssl_context"] is None:
            raise UsageError(
                f"there is no certificate to reach {address} with",
                "name one in Dask's own configuration, distributed.comm.tls, or unset COLLAB_DASK_ADDRESS",
            )
        try:
            self._client = Client(address, timeout=SECONDS_TO_CONNECT, set_as_default=False)
        except (OSError, ValueError) as exc:
            raise UsageError(
                f"no Dask scheduler answers at {address}: {exc}", "start it, or unset COLLAB_DASK_ADDRESS"
            ) from None
        try:
            self._check()
        except UsageError:
            self._client.close()
            raise
        self._provided: str | None = None
        super().__init__(sum(int(threads) for threads in self._client.ncores().values()))

    def _check(self) -> None:
        """Works derived by other rules would make tables that no rebuild can explain."""
        found = self._client.run(rules, on_error="return")
        if not found:
            raise UsageError("the Dask cluster has no workers", "start some, or unset COLLAB_DASK_ADDRESS")
        for worker, has in sorted(found.items()):
            if has != rules():
                raise UsageError(
                    f"Dask worker {worker} has {has}, this is {rules()}",
                    "install this release of collab-atlas on every worker",
                )

    @override
    def prepare(self) -> None:
        pass  # they run

    @override
    def provide(self, reference: str | None) -> None:
        if reference and reference != self._provided:
            files = {str(path.relative_to(reference)): path.read_bytes() for path in Path(reference).rglob("*.*")}
            self._client.run(receive_reference, reference, files)
            self._provided = reference

    @override
    def _start(self) -> Executor:
        executor: Executor = self._client.get_executor(pure=False)
        return executor

    @override
    def _stop(self, executor: Executor) -> None:
        executor.shutdown(wait=False)  # it knows no other option; the scheduler forgets calls whose client is gone

    @override
    def close(self) -> None:
        super().close()
        self._client.close()


def rules() -> str:
    """What this process derives works by."""
    return f"collab-atlas {code_version()} with definitions {definitions_digest()}"


def workers_for(settings: Settings) -> Workers:
    """Workers that the settings ask for.

    Raises:
        UsageError: see DaskWorkers.
    """
    return DaskWorkers(settings.dask_address) if settings.dask_address else LocalWorkers(settings.processes)


def _has_fork_server() -> bool:
    return "forkserver" in multiprocessing.get_all_start_methods()


def _context() -> multiprocessing.context.BaseContext:
    """Workers are forked from a clean process that has imported the parser only: fork is unsafe beside the threads of
    Prefect and Arrow."""
    if not _has_fork_server():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


@contextmanager
def _no_main_module() -> Iterator[None]:
    """Workers need the parser, not the program that started them: they would import Prefect, 100 MB and seconds
    each."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _follow_parent() -> None:
    """A worker whose parent was killed would wait for work for ever; one that is interrupted leaves it to its parent to
    say so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def follow() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()
