"""Reads files below one root: a local folder, s3://bucket/prefix (anonymous unless the usual variables say
otherwise) or https://."""

from __future__ import annotations

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
MOST_BYTES = 1 << 30  # of a file that is read whole: a manifest, the list of deleted works


class Root:
    """A place where files are read by their path below it."""

    def __init__(self, address: str) -> None:
        """Open a root.

        Raises:
            UsageError: the scheme is unknown or its driver is not installed.
            SourceError: a local root does not exist.
        """
        self.address = address.rstrip("/") or "/"
        options: dict[str, Any] = {"anon": True} if address.startswith("s3://") else {}
        try:
            self._fs, self._base = url_to_fs(self.address, **options)
        except (ValueError, ImportError) as exc:
            raise UsageError(
                f"cannot open {self.address}: {exc}", "use a folder, s3://bucket or https://address"
            ) from None
        if "file" in protocols(self._fs) and not Path(self._base).is_dir():
            raise SourceError(
                f"no folder {self._base}", "give the root of a snapshot: the folder that holds data/jsonl/works"
            )

    def exists(self, path: str) -> bool:
        """Whether a file is there."""
        try:
            return bool(self._fs.exists(f"{self._base}/{path}"))
        except OSError as exc:
            raise self._failed(path, exc) from None

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
            with self._fs.open(f"{self._base}/{path}", "rb") as file:
                while block := file.read(BLOCK):
                    yield block
        except (OSError, ValueError) as exc:
            raise self._failed(path, exc) from None

    def _failed(self, path: str, exc: Exception) -> SourceError:
        return failure(f"{self.address}/{path}", exc)


def failure(address: str, exc: Exception) -> SourceError:
    """What an error of a file system means to the operator."""
    cause = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    is_lasting = isinstance(exc, (FileNotFoundError, PermissionError, IsADirectoryError, ValueError))
    kind = SourceError if is_lasting else SourceUnavailable
    return kind(f"{address}: {cause}", "check the address, then run again")


def protocols(fs: fsspec.AbstractFileSystem) -> tuple[str, ...]:
    """Names of the kinds of address that a file system serves."""
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
