"""Append-only writer: one line, one write, so that a killed run leaves whole lines and at most one torn one."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from thetadot.core.files import open_plain
from thetadot.core.signatures import checked
from thetadot.errors import InadmissibleValue, RunFolderError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from thetadot.records.schema import Entry


@checked
class Writer:
    """Write entries to ``path``, cutting the file to ``offset`` bytes first (0 begins anew).

    A checkpoint stores :attr:`offset`; resuming from it drops what was written after the checkpoint.

    Raises:
        RunFolderError: the file cannot be written, or is shorter than ``offset``.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._path = path = Path(path)
        try:
            self._file = open_plain(path)
        except OSError as error:
            raise self._unwritable(error) from error
        size = self._file.seek(0, os.SEEK_END)
        if not 0 <= offset <= size:
            self._file.close()
            raise RunFolderError(
                f"{path} has {size} bytes, its checkpoint expects {offset}. Restore the file or start a new run."
            )
        self._file.seek(offset)
        self._file.truncate()
        self._encoder = msgspec.json.Encoder()

    @property
    def offset(self) -> int:
        """Bytes written so far."""
        return self._file.tell()

    def write(self, entry: Entry) -> None:
        """Append one entry and hand it to the operating system.

        Raises:
            InadmissibleValue: a number is NaN or infinite. JSON has no such numbers, so that the line would be lost on
                reading: leave the entry out, or pass None where the schema allows it.
            RunFolderError: the file cannot be written; it ends with the last whole line.
        """
        for name in entry.__struct_fields__:
            for value in _numbers(getattr(entry, name)):
                if not math.isfinite(value):
                    raise InadmissibleValue(
                        f"{name}={value} in a {type(entry).__name__} entry is not finite. "
                        "Leave the entry out, or pass None where the schema allows it."
                    )
        line = memoryview(self._encoded(entry) + b"\n")
        start = self._file.tell()
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.seek(start)
                self._file.truncate()
            raise self._unwritable(error) from error

    def sync(self) -> None:
        """Force what was written onto the disk, before a checkpoint that refers to it."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Close the record file."""
        self._file.close()

    def _encoded(self, entry: Entry) -> bytes:
        try:
            return self._encoder.encode(entry)
        except UnicodeEncodeError:  # a file name that is no text
            texts = {name: value for name in entry.__struct_fields__ if isinstance(value := getattr(entry, name), str)}
            plain = {name: text.encode(errors="backslashreplace").decode() for name, text in texts.items()}
            return self._encoder.encode(msgspec.structs.replace(entry, **plain))

    def _unwritable(self, error: OSError) -> RunFolderError:
        return RunFolderError(
            f"{self._path} cannot be written ({error.strerror or error}). "
            "Free space, or name a folder that you may write to."
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _numbers(value: object) -> Iterator[float]:
    """The floats of a field: itself, or those it is a list or a table of."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, tuple | list):
        yield from (x for x in value if isinstance(x, float))
    elif isinstance(value, dict):
        yield from (x for x in value.values() if isinstance(x, float))
