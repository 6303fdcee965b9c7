"""What a measurement on the reference is: name, cost, share of the work, when it is due, entries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from thetadot.monitor.cadence import Every

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from thetadot.core.reading import Reading
    from thetadot.monitor.cadence import Level, Plan
    from thetadot.monitor.reference import Reference
    from thetadot.monitor.reference_state import ReferenceState
    from thetadot.records import Entry


@dataclass(frozen=True)
class Moment:
    """The moment of a measurement.

    Attributes:
        step: the step just made.
        reading: of the optimizer.
        batch: samples of a usual step; None where they are not known.
        cost: gradient evaluations so far, in samples.
    """

    step: int
    reading: Reading
    batch: int | None
    cost: float


class Measurement(ABC):
    """One measurement on the reference batch. A file of this package is one, and is found by being there.

    Attributes:
        name: as remarks and ``every=`` call it.
        order: what is due at once is paid in this order.
        shares: of the run's gradient work, by level.
        from_start: whether it comes early, or only at whole periods.
        in_its_metric: whether it is taken in the optimizer's metric P, and waits until P is of many gradients.
        in_parts: whether it needs a reference that can be cut.
        told_by_passes: whether passes of the steps themselves may tell it instead.
    """

    name: ClassVar[str]
    order: ClassVar[int]
    shares: ClassVar[Mapping[Level, float]]
    from_start: ClassVar[bool] = False
    in_its_metric: ClassVar[bool] = False
    in_parts: ClassVar[bool] = False
    told_by_passes: ClassVar[bool] = False

    def __init__(self, state: ReferenceState) -> None:
        self.state = state

    @property
    def reference(self) -> Reference:
        """The batch that is measured on."""
        assert self.state.reference is not None  # noqa: S101 - planned only with one
        return self.state.reference

    @abstractmethod
    def cost(self, size: float) -> float:
        """Cost of the measurement on so many samples, in samples' gradients."""

    @abstractmethod
    def measure(self, moment: Moment) -> list[Entry]:
        """Measure; what it took is added to the state's ``spent``."""

    def wait(self, size: float, pays: Callable[[float], int]) -> int:
        """Steps until the run's work pays for it; ``pays`` tells it of a cost."""
        return pays(self.cost(size))

    def every(self, plan: Plan, size: float, *, preconditioned: bool, steps: int) -> Every:
        """When it is due, in a run of so many steps, or of unknown length (0)."""
        if self.name in plan.every:
            return Every.fixed(self.cost(size), plan.every[self.name])
        share = plan.share(self.name, self.shares)
        if not self.from_start:
            return Every(self.cost(size), share, self.state.batch, early=False, first=0)
        first = plan.settled if preconditioned and self.in_its_metric else 1
        return Every(self.cost(size), share, self.state.batch, early=plan.early, first=first, steps=steps)
