"""How messages name an argument: as Python takes it, or as an option of the command."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMON = ("paths", "time", "step", "tolerance", "temperature", "friction", "integrator", "seed", "save")
"""Arguments of every scene; all others are parameters of a scene, which the command takes by ``--set``."""
_AS_OPTIONS: ContextVar[bool] = ContextVar("whether messages name options of the command", default=False)


@contextmanager
def as_options() -> Iterator[None]:
    """Within, messages name options of ``thetadot simulate``.

    Example:
        >>> argument("paths", 10)
        'paths=10'
        >>> with as_options():
        ...     argument("paths", 10), argument("barrier", 0.5), argument("time")
        ('--paths 10', '--set barrier=0.5', '--time')
    """
    token = _AS_OPTIONS.set(True)
    try:
        yield
    finally:
        _AS_OPTIONS.reset(token)


def either(*, command: str, python: str) -> str:
    """Return the text for users of the command, or of Python."""
    return command if _AS_OPTIONS.get() else python


def argument(name: str, value: object = None) -> str:
    """Return an argument's name, with a value if there is one."""
    if name in COMMON:
        text = "" if value is None else f" {value}"
        return either(command=f"--{name}{text}", python=name if value is None else f"{name}={value}")
    text = name if value is None else f"{name}={value}"
    return either(command=f"--set {text}", python=text)


def word(text: str) -> str:
    """Return a word as it is written as a value: in quotation marks in Python."""
    return either(command=text, python=repr(text))
