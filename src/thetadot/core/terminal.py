"""Consoles of commands and of calls in Python, kept light so that short answers load little."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from typing import TextIO


def console(stream: TextIO) -> Console:
    """A console on a stream; a log gets lines of at most 120 characters instead of a terminal's width."""
    return Console(file=stream, highlight=False, soft_wrap=not stream.isatty())


def watched() -> bool:
    """Whether somebody sees what a call in Python says on stderr: in a terminal, or in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules
