"""Append-only writer: one line, one flush, so that a killed run leaves whole lines and at most one torn one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

import msgspec

from thetadot.errors import RunFolderError

if TYPE_CHECKING:
    from pathlib import Path

    from thetadot.records.schema import Entry


class Writer:
    """Write entries to ``path``, cutting the file to ``offset`` bytes first (0 begins anew).

    A checkpoint stores :attr:`offset`; resuming from it drops what was written after the checkpoint.

    Raises:
        RunFolderError: the file cannot be written, or is shorter than ``offset``.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        try:
            self._file = path.open("r+b" if path.exists() else "w+b")
        except OSError as error:
            raise RunFolderError(f"{path} cannot be written ({error.strerror}). Name a folder that you may write to.") from error
        size = self._file.seek(0, os.SEEK_END)
        if size < offset:
            self._file.close()
            raise RunFolderError(f"{path} has {size} bytes, its checkpoint expects {offset}. Restore the file or start a new run.")
        self._file.seek(offset)
        self._file.truncate()
        self._encoder = msgspec.json.Encoder()

    @property
    def offset(self) -> int:
        """Bytes written so far."""
        return self._file.tell()

    def write(self, entry: Entry) -> None:
        """Append one entry and flush it to the operating system."""
        self._file.write(self._encoder.encode(entry) + b"\n")
        self._file.flush()

    def sync(self) -> None:
        """Force what was written onto the disk, before a checkpoint that refers to it."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
