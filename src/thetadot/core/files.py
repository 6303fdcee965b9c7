"""Files written whole or not at all, in a folder that others may have touched.

A file is written beside its place under a name of our own, and moved there in one step: readers never see half of it,
and a link that stands at its place is replaced, not followed. A file that grows is opened without following links. What
a killed process left is swept away by the next one that has the folder to itself. A sealed file ends with a digest of
its content, by which any damage is seen before anything is read from it.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from thetadot.errors import DamagedFile, RunFolderError

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    import fcntl
except ImportError:  # not a POSIX system: one process a folder is the user's care
    fcntl = None  # type: ignore[assignment]

_PART = ".part"
_SEAL = b"\nthetadot sha256 "
_SEALED = len(_SEAL) + 64 + 1  # bytes of a seal
_PIECE = 1 << 20
_LEFT = re.compile(
    r"\.(checkpoint\.pt|report\.html|simulation\.json|trajectory\.npz|comparison\.json|result\.json|[\w.-]+-seed\d+\.json)"
    r"\.[a-z0-9_]{8}\.part|\.checkpoint\.part"
)
"""What :func:`placed` names its files until they are whole, in the folders of runs, simulations and comparisons."""


@contextmanager
def placed(place: Path, *, durable: bool = False) -> Iterator[IO[bytes]]:
    """A binary stream whose content is at ``place`` once the body has ended, and nowhere if it raises.

    Args:
        place: of the file; a link there is replaced by the file.
        durable: forced onto the disk before it is moved, so that it outlives a power cut.

    Raises:
        OSError: it cannot be written; what was at the place is still there.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> with placed(folder / "a") as stream:
        ...     _ = stream.write(b"all of it")
        >>> [path.name for path in folder.iterdir()], (folder / "a").read_bytes()
        (['a'], b'all of it')
    """
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name[:100]}.", suffix=_PART)
    try:
        with os.fdopen(handle, "w+b") as stream:
            yield stream
            stream.flush()
            os.fchmod(stream.fileno(), 0o666 & ~_umask())  # mkstemp's own mode would hide the file from a group
            if durable:
                os.fsync(stream.fileno())
        os.replace(name, place)  # noqa: PTH105 - one atomic call
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def place_text(place: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises:
        OSError: it cannot be written; an older one is still there.
    """
    with placed(place) as stream:
        stream.write(text.encode("utf-8", "replace"))


def put_text(target: Path, text: str) -> None:
    """Write to what a user names: a file whole or not at all; a device or a pipe as it is."""
    with suppress(OSError):
        if not stat.S_ISREG(target.stat().st_mode) and not target.is_dir():
            target.write_text(text, encoding="utf-8", errors="replace")
            return
    place_text(target, text)


def open_plain(place: Path) -> IO[bytes]:
    """Open a file for reading and writing, unbuffered; made where there is none.

    Raises:
        OSError: it is a link, a second name of a file elsewhere, a folder or a device, or cannot be opened.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        handle = os.open(place, flags | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0), 0o666)
    except OSError as error:
        if place.is_symlink():
            raise OSError(error.errno, "it is a link, which is not followed") from error
        raise
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(handle)
        second = stat.S_ISREG(found.st_mode)
        raise OSError(22, "it is a second name of a file elsewhere" if second else "it is no ordinary file")
    return os.fdopen(handle, "r+b", buffering=0)


def sweep(folder: Path) -> None:
    """Remove the half-written files of killed processes; requires sole ownership of the folder."""
    _remove(folder, _LEFT)


def sweep_beside(place: Path) -> None:
    """Remove what killed processes left half written of ``place``; requires that no other writes there."""
    half = re.compile(re.escape(f".{place.name[:100]}.") + r"[a-z0-9_]{8}" + re.escape(_PART))
    _remove(place.parent, half)


def _remove(folder: Path, named: re.Pattern[str]) -> None:
    with suppress(OSError):
        for path in folder.iterdir():
            if named.fullmatch(path.name) and not path.is_dir():
                with suppress(OSError):
                    path.unlink()


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


# One process a folder.


class Claim:
    """A folder that this process has to itself, until it is closed or the process ends, however it ends.

    Raises:
        RunFolderError: another one has it.
    """

    def __init__(self, folder: Path) -> None:
        self._handle: int | None = None
        if fcntl is None:
            return
        with suppress(OSError, ValueError):  # no such folder yet, or no name of one
            self._handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        if self._handle is None:
            return
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise RunFolderError(
                f"{folder} is in use by another process. Wait until it ends, or end it, and try again."
            ) from error
        except OSError:  # a file system without locks
            self.close()
            return
        sweep(folder)
        _held.append(self)

    def close(self) -> None:
        """Release the lock on the folder."""
        if self in _held:
            _held.remove(self)
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_held: list[Claim] = []


def _let_go() -> None:
    """A forked loader must not hold the folder of a parent that was killed."""
    for claim in _held:
        claim.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


# Sealed files.


@contextmanager
def sealed(place: Path, *, durable: bool = False) -> Iterator[IO[bytes]]:
    """Open a file as :func:`placed` does, and end it with a digest of its content."""
    with placed(place, durable=durable) as stream:
        yield stream
        size = stream.seek(0, os.SEEK_END)
        stream.write(_seal(stream, size))


def _seal(stream: IO[bytes], size: int) -> bytes:
    """Return the closing seal of a file whose content has ``size`` bytes."""
    stream.seek(0)
    found, left = hashlib.sha256(), size
    while left > 0 and (piece := stream.read(min(_PIECE, left))):
        found.update(piece)
        left -= len(piece)
    return _SEAL + found.hexdigest().encode() + b"\n"


@contextmanager
def unsealed(place: Path, remedy: str) -> Iterator[IO[bytes]]:
    """The content of a sealed file, checked, without its seal.

    Args:
        place: of the file.
        remedy: what to do where it is damaged, a sentence.

    Raises:
        OSError: it cannot be opened.
        DamagedFile: it has no digest, or another content than was written.
    """
    with open(place, "rb") as stream:  # noqa: PTH123 - Path.open says less of odd names
        size = os.fstat(stream.fileno()).st_size - _SEALED
        stream.seek(max(0, size))
        seal = stream.read(_SEALED + 1)
        if size < 0 or not seal.startswith(_SEAL):
            raise DamagedFile(f"{place} has no digest at its end, by which damage would be seen. {remedy}")
        if seal != _seal(stream, size):
            raise DamagedFile(f"{place} is damaged: its content is not what was written. {remedy}")
        yield io.BufferedReader(_Part(stream, size))


class _Part(io.RawIOBase):
    """The first bytes of a file, as if they were all of it."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream, self._size = stream, size
        stream.seek(0)

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(min(len(buffer), max(0, self._size - self._stream.tell())))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._stream.tell(), os.SEEK_END: self._size}[whence]
        return self._stream.seek(base + offset)

    def tell(self) -> int:
        return self._stream.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
