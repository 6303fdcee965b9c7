"""Steering: what changes the rate of a run on the way, by evidence that the run itself makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thetadot.records import Epoch
    from thetadot.training.loop import Loop


class Steering:
    """A run that is not steered, since its rate was given; the base of those that are."""

    places: tuple[float, ...] = ()
    """Shares of the run at which something is decided."""

    @property
    def hidden(self) -> bool:
        """Whether the steps that are taken may be undone: they are neither guarded nor recorded one by one."""
        return False

    def due(self, loop: Loop) -> bool:
        """Whether a place is reached; it is then passed."""
        progress = loop.progress
        if progress.forks >= len(self.places) or loop.seen < self.places[progress.forks] * loop.total:
            return False
        progress.forks += 1
        return True

    def begin(self, loop: Loop) -> None:
        """Called before every step."""

    def took(self, loop: Loop, loss: float) -> None:
        """Called after every step; may raise Rewound."""

    def failed(self, loop: Loop) -> None:
        """Called where a loss is not finite; raises Rewound where only a branch is lost by that."""

    def write_epoch(self, loop: Loop, epoch: Epoch) -> None:
        """Write an epoch's end, now or when it is certain to stand."""
        loop.write(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return what the next decision depends on, as plain containers."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned."""
