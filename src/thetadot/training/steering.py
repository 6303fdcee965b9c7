"""Steering: what changes the rate of a run on the way, by evidence that the run itself makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.nn import Parameter

    from thetadot.monitor.monitor import Monitor
    from thetadot.records import Entry, Epoch
    from thetadot.training.levels import Guard
    from thetadot.training.plan import TrainingPlan
    from thetadot.training.progress import TrainingProgress


class Steered(Protocol):
    """A run as what steers it sees it; :class:`thetadot.training.loop.Loop` is one.

    Attributes:
        plan: by which settings it runs.
        progress: where it stands.
        parameters: all that is trained.
        total: samples of the whole run.
        guard: the levels beyond which a run counts as lost.
        monitor: measures it.
        write: receives record entries.
    """

    plan: TrainingPlan
    progress: TrainingProgress
    parameters: list[Parameter]
    total: int
    guard: Guard
    monitor: Monitor
    write: Callable[[Entry], None]

    @property
    def seen(self) -> int:
        """Samples seen by this plan."""

    @property
    def spent(self) -> float:
        """Gradient evaluations so far, in samples."""

    def batch_at(self, seen: float) -> int:
        """Return the batch size after so many samples of this plan."""

    def highest(self) -> float:
        """Return the highest factor on the plan's rate."""

    def branch(self) -> dict[str, Any]:
        """Return what tells one branch of the run from another."""

    def take_branch(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`branch`."""

    def loss_on(self, indices: list[int]) -> float:
        """Return the mean loss on training samples."""


class Steering:
    """A run that is not steered, since its rate was given; the base of those that are."""

    places: tuple[float, ...] = ()
    """Shares of the run at which something is decided."""

    @property
    def hidden(self) -> bool:
        """Whether the steps that are taken may be undone: they are neither guarded nor recorded one by one."""
        return False

    def due(self, loop: Steered) -> bool:
        """Whether a place is reached; it is then passed."""
        progress = loop.progress
        if progress.forks >= len(self.places) or loop.seen < self.places[progress.forks] * loop.total:
            return False
        progress.forks += 1
        return True

    def begin(self, loop: Steered) -> None:
        """Called before every step."""

    def took(self, loop: Steered, loss: float) -> None:
        """Called after every step; may raise Rewound."""

    def failed(self, loop: Steered) -> None:
        """Called where a loss is not finite; raises Rewound where only a branch is lost by that."""

    def write_epoch(self, loop: Steered, epoch: Epoch) -> None:
        """Write an epoch's end, now or when it is certain to stand."""
        loop.write(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return what the next decision depends on, as plain containers."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned."""
