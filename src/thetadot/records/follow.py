"""Follow a record while it is written: read what is new, and only whole lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from thetadot.core.signatures import checked
from thetadot.errors import DamagedFile
from thetadot.records.reader import Body, pieces, refused, require_modest

if TYPE_CHECKING:
    from typing import BinaryIO

    from thetadot.records.reader import Record

REMEMBERED = 512


@checked
class Follower:
    """Reads a record again and again; each time, only the lines that came since.

    A line that is not ended yet is left for the next time: it is being written, or its writer was killed. A file that
    was replaced, or cut as a resumed run does, is read anew.

    Args:
        path: ``record.jsonl``, or its folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._forget()

    def _forget(self) -> None:
        self._offset = 0
        self._last = b""  # what stood before the offset: a file that has something else there is another
        self._body: Body | None = None

    @property
    def file(self) -> Path:
        """Path of the record file."""
        return self.path / "record.jsonl" if self.path.is_dir() else self.path

    @property
    def stamp(self) -> str:
        """Differs when the file does; "" where there is none."""
        try:
            status = self.file.stat()
        except (OSError, ValueError):
            return ""
        return f"{status.st_ino}.{status.st_size}.{status.st_mtime_ns}"

    def read(self) -> Record:
        """The record as far as it is written.

        Raises:
            DamagedFile: there is no such file, it is too large, or its first line is not a header of this schema.
        """
        try:
            file = self.file
            require_modest(file)
            with file.open("rb") as stream:
                self._begin(stream)
                self._take(stream, file)
        except DamagedFile:
            self._forget()
            raise
        except (OSError, ValueError) as error:  # ValueError: a null byte in the name
            self._forget()
            raise refused(self.path, error) from error
        if self._body is None or self._body.header is None:
            raise DamagedFile(f"{file} has no whole line, so no header. Pass the record.jsonl of a thetadot run.")
        return self._body.record()

    def _begin(self, stream: BinaryIO) -> None:
        """To where reading ended, if what stood before is still there; else to the beginning."""
        stream.seek(self._offset - len(self._last))
        if stream.read(len(self._last)) != self._last:
            self._forget()
            stream.seek(0)

    def _take(self, stream: BinaryIO, file: Path) -> None:
        before, self._body = self._offset, self._body or Body(file)
        for piece in pieces(stream):
            if piece.whole:
                self._body.take(piece.lines)
                self._offset += piece.size
        if self._offset > before:
            stream.seek(max(self._offset - REMEMBERED, 0))
            self._last = stream.read(self._offset - stream.tell())
