"""Reads files below one root: a local folder, https:// or s3://bucket/prefix (without an account, unless fsspec is
given one in the environment, as by FSSPEC_S3_PROFILE)."""

from __future__ import annotations

import errno
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
from fsspec.core import url_to_fs
from isal.igzip_lib import IsalError

from schemas.errors import SourceError, SourceUnavailable, UsageError

BLOCK = 1 << 20
# Of a damaged or cut gzip file. isal's stub calls its error an instance.
UNPACKING_ERRORS: tuple[type[Exception], ...] = (EOFError, OverflowError, zlib.error, OSError, IsalError)  # type: ignore[assignment]
NOT_THERE, ASK_LATER = (404, 410), (408, 429)  # statuses of HTTP
MOST_BYTES = 1 << 30  # of a file that is read whole: a manifest, the list of deleted works


class NoRegularFile(OSError):
    """A pipe, a socket or a device: opening one may never end."""


LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, NoRegularFile, ValueError)


class Root:
    """A place where files are read by their path below it."""

    def __init__(self, address: str) -> None:
        """Open a root.

        Raises:
            UsageError: the scheme is unknown or its driver is not installed.
            SourceError: a local root does not exist.
        """
        self.address = address.rstrip("/") or "/"
        self._fs, self._base = file_system(self.address)
        try:
            is_missing = "file" in protocols(self._fs) and not Path(self._base).is_dir()
        except OSError as exc:
            raise failure(self.address, exc) from None
        if is_missing:
            raise SourceError(
                f"no folder {self._base}", "give the root of a snapshot: the folder that holds data/jsonl/works"
            )

    def exists(self, path: str) -> bool:
        """Whether a file is there.

        Raises:
            SourceError, SourceUnavailable: the source does not say. fsspec's own `exists` takes any answer of a web
                server but a good one for no.
        """
        try:
            self._fs.info(f"{self._base}/{path}")
        except Exception as exc:
            if _is_missing(exc):
                return False
            raise self._failed(path, exc) from None
        return True

    def read(self, path: str) -> bytes:
        """A whole small file.

        Raises:
            SourceError: it is missing, cannot be read, or is larger than MOST_BYTES.
        """
        content = bytearray()
        for block in self.blocks(path):
            content += block
            if len(content) > MOST_BYTES:
                raise SourceError(
                    f"{self.address}/{path} is larger than {MOST_BYTES:,} bytes", "check that the address is right"
                )
        return bytes(content)

    def blocks(self, path: str) -> Iterator[bytes]:
        """A file in blocks of at most 1 MiB.

        Raises:
            SourceError: it is missing or may not be read.
            SourceUnavailable: the connection broke.
        """
        try:
            with open_file(self._fs, f"{self._base}/{path}") as file:
                while block := file.read(BLOCK):
                    yield block
        except Exception as exc:  # each kind of address has errors of its own
            raise self._failed(path, exc) from None

    def _failed(self, path: str, exc: Exception) -> SourceError:
        return failure(f"{self.address}/{path}", exc)


def file_system(address: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """File system that an address lies in, and its path there.

    Raises:
        UsageError: the scheme is unknown, its driver is not installed, or it does not understand the address.
    """
    is_public = address.startswith("s3://") and not fsspec.config.conf.get("s3")  # what is given here overrules that
    options: dict[str, Any] = {"anon": True} if is_public else {}
    try:
        found: tuple[fsspec.AbstractFileSystem, str] = url_to_fs(address, **options)
    except Exception as exc:  # each driver refuses in its own way
        cause = str(exc) or type(exc).__name__
        raise UsageError(
            f"cannot open {address}: {cause}", "use a file or folder, s3://bucket or https://address"
        ) from None
    return found


def open_file(fs: fsspec.AbstractFileSystem, path: str) -> Any:
    """Open a file to read; on disk, only a regular one. Each kind of address raises errors of its own: see failure."""
    if "file" in protocols(fs):
        refuse_unless_regular(Path(path))
    return fs.open(path, "rb")


def refuse_unless_regular(path: Path) -> None:
    """Raise NoRegularFile for what is no file and no folder, OSError for what is not there."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise NoRegularFile(errno.EINVAL, "it is no regular file; save it as one", str(path))


def _is_missing(exc: Exception) -> bool:
    """Whether a file is known not to be there."""
    exc = _said_by(exc)
    return isinstance(exc, (FileNotFoundError, NotADirectoryError)) or getattr(exc, "status", None) in NOT_THERE


def _said_by(exc: Exception) -> Exception:
    """The error behind one: fsspec says of every failure over HTTP that the file was not found."""
    cause = exc.__cause__
    return cause if isinstance(exc, FileNotFoundError) and isinstance(cause, Exception) else exc


def failure(address: str, exc: Exception) -> SourceError:
    """What an error of a file system means to the operator."""
    exc = _said_by(exc)
    cause = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    status = getattr(exc, "status", None)  # of an answer over HTTP
    if status is not None:
        cause = f"the server answered {status}"
    is_refused = isinstance(status, int) and 400 <= status < 500 and status not in ASK_LATER
    is_lasting = is_refused or isinstance(exc, LASTING)
    kind = SourceError if is_lasting else SourceUnavailable
    return kind(f"{address}: {cause}", "check the address, then run again")


def protocols(fs: fsspec.AbstractFileSystem) -> tuple[str, ...]:
    """Names of the kinds of address that a file system serves."""
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
