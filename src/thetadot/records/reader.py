"""Reader: a record is treated as hostile. Sizes are bounded, every line is validated, a torn tail is left out and said."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from thetadot.errors import DamagedFile
from thetadot.records.schema import SCHEMA, VERSION, Entry, Header, Result

MOST_BYTES = 512 * 2**20
LONGEST_LINE = 2**20

E = TypeVar("E", bound=msgspec.Struct)


@dataclass(frozen=True)
class Record:
    """A run as it was recorded: the header, the entries after it, and what could not be read."""

    header: Header
    entries: tuple[Entry, ...]
    damage: tuple[str, ...] = field(default=())
    path: Path | None = None

    def of(self, kind: type[E]) -> tuple[E, ...]:
        """All entries of one kind, in order."""
        return tuple(entry for entry in self.entries if isinstance(entry, kind))

    @property
    def result(self) -> Result | None:
        """The closing line; None while the run goes on or after it was cut off."""
        results = self.of(Result)
        return results[-1] if results else None


def read(path: str | Path) -> Record:
    """Read ``record.jsonl``, or the one in the folder ``path``.

    Raises:
        DamagedFile: there is no such file, it is too large, or its first line is not a header of this schema.
            Damaged lines after the header are skipped and listed in :attr:`Record.damage`.
    """
    path = Path(path)
    file = path / "record.jsonl" if path.is_dir() else path
    try:
        if file.stat().st_size > MOST_BYTES:
            raise DamagedFile(f"{file} is larger than {MOST_BYTES // 2**20} MiB. Pass the record.jsonl of a run.")
        with file.open("rb") as stream:
            lines = list(iter(lambda: stream.readline(LONGEST_LINE), b""))
    except OSError as error:
        if isinstance(error, DamagedFile):
            raise
        raise DamagedFile(f"{file} cannot be read ({error.strerror}). Pass the folder of a run.") from error
    decoder = msgspec.json.Decoder(Entry)
    entries: list[Entry] = []
    damage: list[str] = []
    for number, line in enumerate(lines, start=1):
        try:
            entries.append(decoder.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if number == 1:
                break
            damage.append(f"line {number}: {error}")
    header = entries[0] if entries else None
    if not isinstance(header, Header) or header.schema != SCHEMA:
        raise DamagedFile(f"{file} does not begin with a {SCHEMA} header. Pass the record.jsonl of a thetadot run.")
    if header.version > VERSION:
        raise DamagedFile(f"{file} has schema version {header.version}, this thetadot reads up to {VERSION}. Update thetadot.")
    return Record(header, tuple(entries[1:]), tuple(damage), file)
