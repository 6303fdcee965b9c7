"""Standard output and standard error as a command may find them: closed, full, gone, or of ASCII alone.

What cannot be said never ends the work it is about: a stream that fails is given up, and the exit code tells.
"""

from __future__ import annotations

import codecs
import errno
import os
import sys
import unicodedata
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

SPELLED = "thetadot.spelled"
_SIGNS = {"–": "-", "—": "-", "−": "-", "×": "x", "±": "+-", "→": "->", "≤": "<=", "≥": ">=", "∞": "inf", "·": "*"}
_PIPE = 128 + 13
"""The exit code that a shell gives to a process whose reader has gone."""


def spelled(error: UnicodeError) -> tuple[str, int]:
    r"""An error handler for codecs: letters that an encoding lacks, in those that every one has.

    Example:
        >>> "momentum (β₁ of adam), λ² ± 1 …".encode("ascii", SPELLED)
        b'momentum (beta1 of adam), lambda2 +- 1 ...'
        >>> "日".encode("ascii", SPELLED)
        b'\\u65e5'
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_spelled, error.object[error.start : error.end])), error.end


def _spelled(letter: str) -> str:
    if letter in _SIGNS:
        return _SIGNS[letter]
    kind, _, name = unicodedata.name(letter, "").partition(" LETTER ")
    if kind.startswith("GREEK") and " " not in name:
        name = name.replace("LAMDA", "LAMBDA")  # Unicode's own spelling
        return name.title() if "CAPITAL" in kind else name.lower()
    plain = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return plain or letter.encode("ascii", "backslashreplace").decode()


codecs.register_error(SPELLED, spelled)


class Enduring:
    """A text stream whose failure silences the stream and not the program.

    Attributes:
        lost: why it was given up; None while it is heard.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        """Write text, or nothing once the stream has failed."""
        if self.lost is None:
            try:
                self._stream.write(text)
            except OSError as error:
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        if self.lost is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._give_up(error)

    def writelines(self, lines: Any) -> None:
        """Write several lines to the guarded stream."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _give_up(self, error: OSError) -> None:
        self.lost = error
        with suppress(OSError, ValueError):  # ValueError: a stream without a file
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # the interpreter flushes once more at its end
            os.close(nowhere)


class Streams:
    """Standard output and standard error together."""

    def __init__(self, out: Enduring, said: Enduring) -> None:
        self.out, self.said = out, said

    def code(self) -> tuple[int, str | None]:
        """The exit code that standard output asks for, and what to say of it: 141 where its reader has gone."""
        _hand_on(self.out)
        lost = self.out.lost
        if lost is None:
            return 0, None
        if isinstance(lost, BrokenPipeError) or lost.errno == errno.EPIPE:
            return _PIPE, None
        reason = lost.strerror or str(lost)
        return 2, f"standard output cannot be written ({reason}). What the command made is whole; print it elsewhere."


@contextmanager
def enduring() -> Iterator[Streams]:
    """Within, ``sys.stdout`` and ``sys.stderr`` are there and raise no error; afterwards they are as they were."""
    _occupy()
    before = sys.stdout, sys.stderr
    wrapped, undo = [], []
    for number, stream in enumerate(before, start=1):
        # None: closed when the interpreter began
        heard = cast("TextIO", stream) if stream is not None else os.fdopen(number, "w", closefd=False)
        undo.append((heard, getattr(heard, "encoding", None), getattr(heard, "errors", None)))
        _configure(heard, errors=SPELLED)
        wrapped.append(Enduring(heard))
    sys.stdout, sys.stderr = cast("TextIO", wrapped[0]), cast("TextIO", wrapped[1])
    try:
        yield Streams(*wrapped)
    finally:
        for stream in wrapped:
            _hand_on(stream)
        sys.stdout, sys.stderr = before
        for heard, encoding, errors in undo:
            _configure(heard, encoding=encoding, errors=errors)


def _hand_on(stream: Enduring) -> None:
    """Flush at the end, where an interrupt has nothing left to end."""
    with suppress(KeyboardInterrupt):
        stream.flush()


def for_data() -> None:
    """Let standard output be UTF-8, as the same data in a file would be."""
    _configure(sys.stdout, encoding="utf-8", errors="replace")


def _configure(stream: Any, **how: Any) -> None:
    with suppress(AttributeError, OSError, ValueError):  # what stands in for a stream may have no encoding
        stream.reconfigure(**how)


def _occupy() -> None:
    """Open what was closed on nothing, so that no file of ours becomes descriptor 1 or 2 and gets what others print."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
