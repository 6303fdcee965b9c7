"""Signals that end a command as Ctrl-C does: finished work is kept, and the exit code names the signal.

Batch systems and containers end a job by SIGTERM and, some seconds later, by SIGKILL; a terminal that goes away sends
SIGHUP. Only the command listens: a library call leaves the process's handlers alone.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@dataclass
class Ending:
    """The signal that asked the command to end, if any.

    Attributes:
        number: of the first signal; None while there was none.
    """

    number: int | None = None

    @property
    def code(self) -> int | None:
        """The exit code that a shell gives to a process that such a signal ended: 143 for SIGTERM."""
        return None if self.number is None else 128 + self.number


@contextmanager
def ending() -> Iterator[Ending]:
    """Within, the first such signal raises KeyboardInterrupt and later ones are passed over: state is being kept.

    A handler that is there already stays (``nohup`` ignores SIGHUP); all are put back at the end.
    """
    found, owner = Ending(), os.getpid()

    def interrupt(number: int, _: FrameType | None) -> None:
        if os.getpid() != owner:  # a forked worker ends as it would have without us
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif found.number is None:
            found.number = int(number)
            raise KeyboardInterrupt

    listening = threading.current_thread() is threading.main_thread()
    ours = [number for number in SIGNALS if listening and signal.getsignal(number) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, interrupt)
    try:
        yield found
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
