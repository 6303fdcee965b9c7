"""Check before a simulation that its saved states fit into memory."""

from __future__ import annotations

import os
from pathlib import Path

from thetadot.errors import TooLarge

_SHARE = 0.8  # of what is free
_LITTLE = 1 << 26  # bytes that are not worth asking for, which takes as long as some steps


def require_room(needed: int, what: str) -> None:
    """Raise TooLarge where ``needed`` bytes are more than can be had.

    Example:
        >>> require_room(1, "one byte")
    """
    if needed < _LITTLE:
        return
    free = available()
    if free is not None and needed > _SHARE * free:
        raise TooLarge(
            f"{what} takes {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free. Save statistics instead of "
            "states (save=function), or fewer times or paths."
        )


def available() -> int | None:
    """Return the free bytes; None where the system does not report any."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None
