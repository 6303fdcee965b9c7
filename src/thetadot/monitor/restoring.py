"""Plain state of a part of the monitor, put back as the kinds that it was of."""

from __future__ import annotations

from typing import Any

from thetadot.errors import DamagedFile


def restore(part: object, state: dict[str, Any]) -> None:
    """Set a part's attributes to saved numbers of the same kinds.

    Raises:
        DamagedFile: there are others than it has, or of another kind.

    Example:
        >>> from types import SimpleNamespace
        >>> part = SimpleNamespace(step=0, usual=None)
        >>> restore(part, {"step": 3, "usual": 16})
        >>> part.step, part.usual
        (3, 16)
    """
    for name, value in state.items():
        now = getattr(part, name, part)
        numbers = int | float | None
        if now is part or not (
            isinstance(value, type(now)) or (isinstance(value, numbers) and isinstance(now, numbers))
        ):
            raise DamagedFile(f"the monitor's state has {name!r} of type {type(value).__name__}. Begin the run anew.")
        setattr(part, name, value)
