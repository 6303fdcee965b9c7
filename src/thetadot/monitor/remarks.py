"""What cannot be measured is said once, in the record and to the user, and left out from then on."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from thetadot.records import Remark

if TYPE_CHECKING:
    from collections.abc import Callable

    from thetadot.monitor.progress import Progress
    from thetadot.records import Entry


class Remarks:
    """Remarks of one watch.

    Args:
        write: receives them.
        progress: tells the step.
        rank: of this process; the first alone warns.
    """

    def __init__(self, write: Callable[[Entry], None], progress: Progress, rank: int) -> None:
        self.write = write
        self.progress = progress
        self.rank = rank
        self.silent: set[str] = set()  # what is no longer measured

    def lack(self, name: str, why: str) -> None:
        """Leave this out from here on, and say so in the record."""
        if name not in self.silent:
            self.silent.add(name)
            self.note(name, why)

    def note(self, about: str, why: str) -> None:
        """In the record alone."""
        self.write(Remark(self.progress.step, about, why))

    def say(self, about: str, why: str) -> None:
        """In the record, and once to the user."""
        if f"said {about}" in self.silent:
            return
        self.silent.add(f"said {about}")
        self.note(about, why)
        if self.rank == 0:
            warnings.warn(f"thetadot.watch, {about}: {why}.", stacklevel=2)

    def unseen(self, missing: dict[str, str]) -> None:
        """Warn of what the first step did not show."""
        for name, why in missing.items():
            self.lack(name, why)
            if self.rank == 0:
                warnings.warn(f"thetadot.watch does not see the {name}: {why}.", stacklevel=2)

    def state_dict(self) -> dict[str, Any]:
        """Return what is no longer measured."""
        return {"silent": sorted(self.silent)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what is no longer measured."""
        self.silent = {str(name) for name in state["silent"]}

    def guarded(self, name: str, act: Callable[[], None]) -> None:
        """An error of a measurement is said once and ends that measurement, not the run."""
        if name in self.silent:
            return
        try:
            act()
        except Exception as error:  # noqa: BLE001 - whatever a model or a device throws
            why = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:500]
            self.lack(name, why)
            warnings.warn(f"thetadot.watch no longer measures {name} ({why}). Training goes on.", stacklevel=3)
