"""Reader: records are taken as hostile. Sizes bounded, lines validated; what cannot be read is left out and said."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from thetadot.errors import DamagedFile
from thetadot.records.schema import SCHEMA, VERSION, Entry, Header, Result
from thetadot.records.table import frame, table
from thetadot.signatures import checked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    import pandas as pd

    from thetadot.records.table import Column

MOST_BYTES = 512 * 2**20
LONGEST_LINE = 2**20

E = TypeVar("E", bound=msgspec.Struct)


class _Stamp(msgspec.Struct):
    """Header fields common to all versions."""

    schema: str = ""
    version: int = 0


@dataclass(frozen=True)
class Record:
    """A run as it was recorded: the header, the entries after it, and what could not be read."""

    header: Header
    entries: tuple[Entry, ...]
    damage: tuple[str, ...] = field(default=())
    path: Path | None = None

    def of(self, kind: type[E]) -> tuple[E, ...]:
        """All entries of one kind, in order."""
        known: dict[type, tuple[Any, ...]] = vars(self).setdefault("_known", {})
        if kind not in known:  # a page asks for the same kinds dozens of times
            known[kind] = tuple(entry for entry in self.entries if isinstance(entry, kind))
        return known[kind]

    def table(self, kind: type[msgspec.Struct]) -> dict[str, Column]:
        """One kind as columns for numpy; see :func:`thetadot.records.table.table`."""
        return table(self, kind)

    def frame(self, kind: type[msgspec.Struct]) -> pd.DataFrame:
        """One kind as a pandas frame; see :func:`thetadot.records.table.frame`."""
        return frame(self, kind)

    @property
    def result(self) -> Result | None:
        """The closing line; None while the run goes on or after it was cut off."""
        results = self.of(Result)
        return results[-1] if results else None


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
        _require_modest(file)
        with file.open("rb") as stream:
            lines = _lines(stream)
            header = _header(next(lines, b""), file)
            entries, damage = _entries(lines)
    except DamagedFile:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or error
        raise DamagedFile(f"{file} cannot be read ({reason}). Pass the folder of a run.") from error
    return Record(header, entries, damage, file)


def _require_modest(file: Path) -> None:
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DamagedFile(f"{file} is not an ordinary file. Pass the folder of a run.")
    if status.st_size > MOST_BYTES:
        raise DamagedFile(f"{file} is larger than {MOST_BYTES // 2**20} MiB. Pass the record.jsonl of a run.")


def _lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """Lines; None for one that is too long to be an entry."""
    while line := stream.readline(LONGEST_LINE):
        if line.endswith(b"\n") or len(line) < LONGEST_LINE:
            yield line
            continue
        while (rest := stream.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
            pass
        yield None


def _header(line: bytes | None, file: Path) -> Header:
    try:
        stamp = msgspec.json.decode(line or b"", type=_Stamp)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        stamp = _Stamp()
    if stamp.schema == SCHEMA and stamp.version > VERSION:
        raise DamagedFile(
            f"{file} has schema version {stamp.version}, this thetadot reads up to {VERSION}. Update thetadot."
        )
    if stamp.schema == SCHEMA and stamp.version >= 1:
        try:
            return msgspec.json.decode(line or b"", type=Header)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    raise DamagedFile(f"{file} does not begin with a {SCHEMA} header. Pass the record.jsonl of a thetadot run.")


def _entries(lines: Iterable[bytes | None], start: int = 2) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """The entries after the header, and what is wrong with the lines that are none."""
    decoder = msgspec.json.Decoder(Entry)
    entries: list[Entry] = []
    damage: list[str] = []
    for number, line in enumerate(lines, start):
        if line is None:
            damage.append(f"line {number}: longer than {LONGEST_LINE} bytes")
            continue
        try:
            entry = decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            damage.append(f"line {number}: {error}")
            continue
        if isinstance(entry, Header):
            damage.append(f"line {number}: a second header")
        else:
            entries.append(entry)
    return tuple(entries), tuple(damage)
