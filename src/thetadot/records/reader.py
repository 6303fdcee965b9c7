"""Reader for records, which are taken as hostile: sizes bounded, lines validated, unreadable ones reported."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec

from thetadot.core.formatting import html_table, plain
from thetadot.core.signatures import checked
from thetadot.errors import DamagedFile
from thetadot.records.entries import Entries, GrowingEntries
from thetadot.records.schema import SCHEMA, VERSION, Entry, Extension, Header, Result
from thetadot.records.table import frame, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    import pandas as pd

    from thetadot.records.rows import Rows
    from thetadot.records.table import Column

MOST_BYTES = 512 * 2**20
LONGEST_LINE = 2**20
MOST_NAMED = 3
"""Runs that are named where a folder of runs is given in place of one."""
PIECE = 2**19
"""Bytes that are read, and entries made of, at a time; no more than a line may have."""

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

E = TypeVar("E", bound=msgspec.Struct)


class _Stamp(msgspec.Struct):
    """Header fields common to all versions."""

    schema: str = ""
    version: int = 0


@dataclass(frozen=True)
class Record:
    """A run as it was recorded: the header, the entries after it, and what could not be read.

    Entries are kept as columns, and each is made when it is asked for: two that are asked for at one place are equal,
    and not the same.
    """

    header: Header
    entries: Sequence[Entry]
    damage: tuple[str, ...] = field(default=())
    path: Path | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.entries, Entries):
            object.__setattr__(self, "entries", Entries.of(self.entries))

    @property
    def columns(self) -> Entries:
        """The entries as columns."""
        assert isinstance(self.entries, Entries)  # noqa: S101 - made so
        return self.entries

    @checked
    def of(self, kind: type[E]) -> Rows[E]:
        """Return all entries of one kind, in order, as a sequence."""
        return self.columns.of_kind(kind)

    def table(self, kind: type[msgspec.Struct]) -> dict[str, Column]:
        """Return one kind as columns for numpy; see :func:`thetadot.records.table.table`."""
        return table(self.columns, kind)

    def frame(self, kind: type[msgspec.Struct]) -> pd.DataFrame:
        """Return one kind as a pandas frame; see :func:`thetadot.records.table.frame`."""
        return frame(self.columns, kind)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers' names, in the order of every list by layer."""
        watched = self.header.watched
        return self.header.layers or (watched.layers if watched is not None else ())

    @property
    def result(self) -> Result | None:
        """The closing line; None while the run, or its extension, is in progress or after it was cut off."""
        results = self.of(Result)
        if not results or self._places(Extension) > self._places(Result):
            return None
        return results[-1]

    @property
    def epochs(self) -> int | None:
        """Epochs that are planned, extensions included; None where that is not known."""
        extensions = self.of(Extension)
        return extensions[-1].epoch + extensions[-1].epochs if extensions else self.header.epochs

    def _places(self, kind: type[msgspec.Struct]) -> int:
        """The place of the last entry of a kind; -1 where there is none."""
        found = self.columns.places(kind)
        return int(found[-1]) if len(found) else -1

    def _repr_html_(self) -> str:
        header = self.header
        rows = [("task", f"{header.task}, seed {header.seed}"), ("parameters", plain(header.parameters))]
        rows += [("entries", plain(len(self.entries))), ("unreadable", "; ".join(self.damage))]
        rows += [("file", "" if self.path is None else str(self.path))]
        return html_table((name, value) for name, value in rows if value)


@checked
def read(path: str | Path) -> Record:
    """Read ``record.jsonl``, or the one in the folder ``path``.

    Raises:
        DamagedFile: there is no such file, it is too large, or its first line is not a header of this schema.
            Damaged lines after the header are skipped and listed in :attr:`Record.damage`.
    """
    file = Path(path)
    try:
        file = file / "record.jsonl" if file.is_dir() else file
        require_modest(file)
        with file.open("rb") as stream:
            body = Body(file)
            for piece in pieces(stream):
                body.take(piece.lines)
    except DamagedFile:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise refused(Path(path), error) from error
    return body.record()


def refused(path: Path, error: Exception) -> DamagedFile:
    """Make the error of a path that names no record: a folder without one is told from what is not there.

    Args:
        path: as it was given, a folder or a file.
        error: of reading it.
    """
    try:
        inside = sorted(each.parent.name for each in path.glob("*/record.jsonl")) if path.is_dir() else None
    except (OSError, ValueError):
        inside = None
    if inside is None or not isinstance(error, FileNotFoundError):
        reason = getattr(error, "strerror", None) or error
        return DamagedFile(f"{path} cannot be read ({reason}). Pass the folder of a run.")
    shown = ", ".join(str(path / name) for name in inside[:MOST_NAMED]) + (" ..." if len(inside) > MOST_NAMED else "")
    return DamagedFile(
        f"the folder {path} has no record.jsonl. Pass the folder of a run{f', such as {shown}' if inside else ''}."
    )


def opened(record: Record | str | Path) -> Record:
    """Return a record as it is, or the one that a folder or a path names.

    Raises:
        DamagedFile: there is none.
    """
    return record if isinstance(record, Record) else read(record)


def require_modest(file: Path) -> None:
    """Refuse a file that is not ordinary, or larger than a record may be."""
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DamagedFile(f"{file} is not an ordinary file. Pass the folder of a run.")
    if status.st_size > MOST_BYTES:
        raise DamagedFile(f"{file} is larger than {MOST_BYTES // 2**20} MiB. Pass the record.jsonl of a run.")


class LinePiece(NamedTuple):
    """Some lines of a file, without their ends.

    Attributes:
        lines: one that is too long to be an entry is cut to LONGEST_LINE.
        size: bytes that they take in the file.
        whole: whether each is ended; else it is the one that ends the file.
    """

    lines: list[bytes]
    size: int
    whole: bool


def pieces(stream: BinaryIO) -> Iterator[LinePiece]:
    """Iterate over the lines of a file, from its current position."""
    rest, size = b"", 0
    while read := stream.read(PIECE):  # so only a line that began before can be too long
        size += len(read)
        *lines, rest = (rest + read).split(b"\n")
        if lines:
            lines[0] = lines[0][:LONGEST_LINE]
            yield LinePiece(lines, size - len(rest), whole=True)
            size = len(rest)
        rest = rest[:LONGEST_LINE]
    if rest:
        yield LinePiece([rest], size, whole=False)


def _header(line: bytes, file: Path) -> Header:
    try:
        stamp = msgspec.json.decode(line, type=_Stamp)
    except _UNREADABLE:
        stamp = _Stamp()
    if stamp.schema == SCHEMA and stamp.version > VERSION:
        raise DamagedFile(
            f"{file} has schema version {stamp.version}, this thetadot reads up to {VERSION}. Update thetadot."
        )
    if stamp.schema == SCHEMA and stamp.version >= 1:
        try:
            return msgspec.json.decode(line, type=Header)
        except _UNREADABLE:
            pass
    raise DamagedFile(f"{file} does not begin with a {SCHEMA} header. Pass the record.jsonl of a thetadot run.")


class Body:
    """A record as far as it was read.

    Args:
        file: where it lies.

    Attributes:
        header: None before the first line.
    """

    def __init__(self, file: Path) -> None:
        self.header: Header | None = None
        self._file = file
        self._entries = GrowingEntries()
        self._damage: list[str] = []
        self._lines = 0
        self._waiting: list[Entry] = []
        self._size = 0
        self._decode = msgspec.json.Decoder(Entry).decode

    def take(self, lines: list[bytes]) -> None:
        """Read further lines; note the faults of lines that are no entries.

        Raises:
            DamagedFile: the first line is no header of this schema.
        """
        if self.header is None:
            self.header = _header(lines[0] if lines else b"", self._file)
        try:
            found = list(map(self._decode, lines))
        except _UNREADABLE:
            found = []
        if len(found) < len(lines) or Header in set(map(type, found)):
            found = self._one_by_one(lines)
        self._waiting += found
        self._lines += len(lines)
        self._size += sum(map(len, lines))
        if self._size >= PIECE // 2:
            self._pack()

    def _one_by_one(self, lines: list[bytes]) -> list[Entry]:
        found: list[Entry] = []
        for number, line in enumerate(lines, self._lines + 1):
            try:
                entry = self._decode(line)
            except _UNREADABLE as error:
                long = len(line) >= LONGEST_LINE
                self._damage.append(f"line {number}: {f'longer than {LONGEST_LINE} bytes' if long else error}")
                continue
            if type(entry) is not Header:
                found.append(entry)
            elif number > 1:
                self._damage.append(f"line {number}: a second header")
        return found

    def _pack(self) -> None:
        self._entries.take(self._waiting)
        self._waiting, self._size = [], 0

    def record(self) -> Record:
        """Return the record read so far.

        Raises:
            DamagedFile: there was no line.
        """
        if self.header is None:
            self.header = _header(b"", self._file)
        self._pack()
        return Record(self.header, self._entries.entries(), tuple(self._damage), self._file)
